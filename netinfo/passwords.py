"""Whether a password fits a stored hash, without a domain's call ever waiting for it; and who has tried too often.

The originals' hashes are those of crypt(3) of their day, DES (NETINFO 3.3). Computing one takes milliseconds, so it is
done on another thread, and the verdict remembered.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict

from passlib.hash import des_crypt


def crypt_matches(password: bytes, stored: bytes) -> bool:
    """Whether DES crypt of the password is the stored hash. Takes milliseconds; False for what is no such hash."""
    try:
        return bool(des_crypt.verify(password, stored))
    except (ValueError, TypeError):
        return False


def crypt_hash(password: bytes, salt: str) -> bytes:
    """The DES crypt hash of a password (its first 8 bytes) under a salt of two characters."""
    return bytes(des_crypt.using(salt=salt).hash(password), "ascii")


class UnverifiedError(Exception):
    """A verdict is needed that nobody has computed yet; compute `crypt_matches(password, stored)` and call again."""

    def __init__(self, password: bytes, stored: bytes) -> None:
        super().__init__("a password verdict is needed")
        self.password = password
        self.stored = stored


class Passwords:
    """Remembers verdicts, so that a domain's call never waits for DES crypt.

    Used as a domain's `verify`: raises `UnverifiedError` when the verdict is not known. A call that ends so has
    changed nothing; the server computes the verdict on a thread, `learn`s it and makes the call again. Passwords are
    kept as keyed digests only.
    """

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._key = os.urandom(32)
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()

    def _digest(self, password: bytes, stored: bytes) -> bytes:
        text = len(password).to_bytes(4) + password + stored
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()

    def __call__(self, password: bytes, stored: bytes) -> bool:
        digest = self._digest(password, stored)
        if digest not in self._verdicts:
            raise UnverifiedError(password, stored)
        self._verdicts.move_to_end(digest)
        return self._verdicts[digest]

    def learn(self, password: bytes, stored: bytes, verdict: bool) -> None:
        self._verdicts[self._digest(password, stored)] = verdict
        while len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)


class Throttle:
    """Counts failures for each address: after `burst` of them, one more try every `pause` seconds."""

    def __init__(self, burst: int = 5, pause: float = 2.0, size: int = 4096) -> None:
        self._burst, self._pause, self._size = burst, pause, size
        self._ready: OrderedDict[str, float] = OrderedDict()
        """Address -> the time at which all its failures will be forgotten."""

    def blocks(self, address: str, now: float) -> bool:
        return self._ready.get(address, now) - now > (self._burst - 1) * self._pause

    def failed(self, address: str, now: float) -> None:
        self._ready[address] = max(self._ready.pop(address, now), now) + self._pause
        while len(self._ready) > self._size:
            self._ready.popitem(last=False)
