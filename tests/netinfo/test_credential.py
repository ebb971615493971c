"""AUTH_UNIX as NetInfo uses it (NETINFO 3.3)."""

from __future__ import annotations

import pytest

from netinfo.credential import complement, credential, password_of
from wire.formats.rpc import AuthUnix


def test_password_travels_as_its_complement() -> None:
    """The credentials of NETINFO 1.5."""
    assert complement(b"next") == bytes.fromhex("919a878b")
    assert complement(b"checksum") == bytes.fromhex("9c979a9c948c8a92")
    assert password_of(AuthUnix(0, complement(b"next"), 0, 0, ())) == b"next"
    assert password_of(AuthUnix(0, complement(b"a\0b"), 0, 0, ())) == b"a"


def test_the_spec_s_credential() -> None:
    body = credential(0, "next").body
    assert isinstance(body, AuthUnix)
    assert body.machine == bytes.fromhex("919a878b")
    for impossible in ("x" * 256, b"\xff"):
        with pytest.raises(ValueError, match=r"at most 255 bytes"):
            credential(0, impossible)
