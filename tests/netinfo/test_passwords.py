"""Password hashes, remembered verdicts, and how failures are slowed down (NETINFO 3.2, 8)."""

from __future__ import annotations

import pytest

from netinfo.passwords import Passwords, Throttle, UnverifiedError, crypt_hash, crypt_matches
from tests.netinfo.base import PW


def test_des_crypt_is_crypt() -> None:
    """Known hashes of crypt(3): 8 bytes count, the salt is the first two characters."""
    assert crypt_hash(b"password", "ab") == b"abJnggxhB/yWI"
    assert crypt_matches(b"password", b"abJnggxhB/yWI")
    assert crypt_matches(b"password and more", b"abJnggxhB/yWI")
    assert not crypt_matches(b"Password", b"abJnggxhB/yWI")


@pytest.mark.parametrize(
    "stored", [b"*", b"", b"x", b"$6$rounds=999999999$a$b", b"\xff" * 13, b"ab" + b"!" * 11]
)
def test_what_is_no_hash_fits_no_password(stored: bytes) -> None:
    assert not crypt_matches(b"secret", stored)
    assert not crypt_matches(b"", stored)


def test_verdicts_are_asked_for_once_and_forgotten_in_order() -> None:
    passwords = Passwords(size=2)
    for password in (b"one", b"two", b"three"):
        with pytest.raises(UnverifiedError) as asked:
            passwords(password, PW)
        assert (asked.value.password, asked.value.stored) == (password, PW)
        assert password not in str(asked.value).encode()
        passwords.learn(password, PW, password == b"one")
        if password == b"two":
            assert passwords(b"one", PW)
    assert passwords(b"one", PW)
    assert not passwords(b"three", PW)
    with pytest.raises(UnverifiedError):
        passwords(b"two", PW)
    with pytest.raises(UnverifiedError):
        passwords(b"one", PW + b"x")


def test_throttle_lets_a_burst_through_and_then_one_every_pause() -> None:
    throttle = Throttle(burst=3, pause=2.0, size=2)
    for _ in range(3):
        assert not throttle.blocks("a", 100.0)
        throttle.failed("a", 100.0)
    assert throttle.blocks("a", 100.0)
    assert throttle.blocks("a", 101.9)
    assert not throttle.blocks("a", 102.0)
    throttle.failed("a", 102.0)
    assert throttle.blocks("a", 103.9)
    assert not throttle.blocks("b", 102.0)
    assert not throttle.blocks("a", 1000.0)
    throttle.failed("b", 102.0)
    throttle.failed("c", 102.0)  # only so many addresses are remembered
    assert not throttle.blocks("a", 102.5)
