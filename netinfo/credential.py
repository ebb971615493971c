"""How a NetInfo client proves who it is: AUTH_UNIX with the password as the machine's name (NETINFO 3.3)."""

from __future__ import annotations

import os
import time

from wire.formats.rpc import Auth, AuthFlavor, AuthUnix

LONGEST = 255
"""Bytes of a machine's name."""
_INVERTED = bytes(255 - byte for byte in range(256))


def complement(password: bytes) -> bytes:
    """The password with every bit inverted: no secret, only not readable at a glance; twice it is itself."""
    return password.translate(_INVERTED)


def credential(uid: int, password: str | bytes) -> Auth:
    """The credential of a user, with the present time as its stamp.

    Raises ValueError for a password that the form cannot carry.
    """
    secret = os.fsencode(password)
    if len(secret) > LONGEST or b"\xff" in secret:
        raise ValueError(f"a NetInfo password is at most {LONGEST} bytes, none of them 0xff")
    return Auth(AuthFlavor.AUTH_SYS, AuthUnix(int(time.time()), complement(secret), uid & 0xFFFFFFFF, 0, ()))


def password_of(presented: AuthUnix) -> bytes:
    """The password in a credential; it ends at its first NUL, as the originals' C strings did."""
    return complement(presented.machine).split(b"\0", 1)[0]
