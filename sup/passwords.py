"""Passwords of the file server's own accounts, kept as scrypt hashes in its configuration.

Hashing takes a few hundredths of a second on purpose: the server's shell calls it in a thread.
"""

from typing import cast

LONGEST = 4096
"""Bytes of a password that can be hashed."""


def hash_password(password: bytes) -> str:
    """A new scrypt hash of `password`, with a salt of its own, for the configuration's [users]."""
    from passlib.hash import scrypt

    return cast(str, scrypt.hash(password))


def verify(password: bytes, hashed: str) -> bool:
    """Whether `hashed` was made from `password`; compared in constant time.

    Raises ValueError for a text that is no scrypt hash.
    """
    from passlib.hash import scrypt

    return len(password) <= LONGEST and bool(scrypt.verify(password, hashed))


def is_hash(text: str) -> bool:
    """Whether `text` is what `hash_password` makes."""
    from passlib.hash import scrypt

    try:
        return bool(scrypt.from_string(text).checksum)
    except ValueError:
        return False
