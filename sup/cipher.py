"""The historic cipher of SUP (SUP 5.2), for peers of builds that encrypt.

It protects nothing: a rotor machine as in Unix crypt(1), whose wheels start anew for every string, so that
equal beginnings look equal. It is here so that such peers can be met, and so that a class can break it.
"""

import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar, cast

from sup.channel import Channel, ChannelAround
from wire.formats.sup import Deny, List, ListEntry, Need, NeedEntry, Recv, Refuse

PLAIN_KEY = b"SuperMan"
"""The key that means no encryption at all in builds without the cipher, such as Debian's."""
CHUNK = 2048
"""The wheels start anew after so many bytes of a file."""

T = TypeVar("T")


class UnusableKey(ValueError):
    """A key that the key setup cannot work with."""


class Cipher:
    """Encrypts and decrypts under one key: both are the same transformation."""

    def __init__(self, key: bytes) -> None:
        self._tables = _tables(key)

    def text(self, text: bytes) -> bytes:
        """A string, of any length up to the limit of strings; the wheels start anew after each CHUNK bytes."""
        tables = self._tables
        return bytes([tables[at % CHUNK][byte] for at, byte in enumerate(text)])

    def name(self, text: bytes | None) -> bytes | None:
        """A string that may be NULL, which stays NULL."""
        return None if text is None else self.text(text)

    def file(self) -> Callable[[bytes], bytes]:
        """What transforms the pieces of one file, one after another, however it is cut up."""
        at = 0

        def transform(piece: bytes) -> bytes:
            nonlocal at
            start, at = at, at + len(piece)
            return self._from(piece, start)

        return transform

    def _from(self, piece: bytes, start: int) -> bytes:
        """`piece`, which begins at byte `start` of a file: every 2048th byte goes through the same table."""
        done = bytearray(piece)
        for offset in range(min(CHUNK, len(piece))):
            done[offset::CHUNK] = done[offset::CHUNK].translate(self._tables[(start + offset) % CHUNK])
        return bytes(done)

    def message(self, message: T) -> T:
        """A message with all its strings transformed; numbers, and other messages, travel as they are (SUP 5.2)."""
        return cast(T, self._transformed(message))

    def _transformed(self, message: object) -> object:
        match message:
            case Refuse(names):
                return Refuse(tuple(map(self.text, names)))
            case List(entries, scantime):
                return List(tuple(self._entry(entry) for entry in entries), scantime)
            case Need(wanted):
                return Need(tuple(NeedEntry(self.text(entry.name), entry.update) for entry in wanted))
            case Deny(names):
                return Deny(tuple(map(self.text, names)))
            case Recv(name, mode, flags, user, group, mtime, links, commands, size):
                return Recv(
                    self.name(name),
                    mode,
                    flags,
                    self.name(user),
                    self.name(group),
                    mtime,
                    None if links is None else tuple(map(self.text, links)),
                    None if commands is None else tuple(map(self.text, commands)),
                    size,
                )
        return message

    def _entry(self, entry: ListEntry) -> ListEntry:
        return ListEntry(self.text(entry.name), entry.mode, entry.flags, entry.mtime)


class EncryptedChannel(ChannelAround):
    """A channel whose messages and files are encrypted under a key, once LOGIN is granted (SUP 5.2)."""

    def __init__(self, channel: Channel, cipher: Cipher) -> None:
        super().__init__(channel)
        self._cipher = cipher

    async def receive(self, *types: type[T]) -> T:
        return self._cipher.message(await self._channel.receive(*types))

    def send(self, *messages: Any) -> None:
        self._channel.send(*map(self._cipher.message, messages))

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None:
        transform = self._cipher.file()
        await self._channel.receive_file(size, lambda piece: write(transform(piece)))

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        transform = self._cipher.file()

        async def transformed() -> AsyncIterator[bytes]:
            if isinstance(chunks, AsyncIterable):
                async for chunk in chunks:
                    yield transform(chunk)
            else:
                for chunk in chunks:
                    yield transform(chunk)

        await self._channel.send_file(self._cipher.message(recv), transformed())


_BYTES = bytes(range(256))


@functools.lru_cache(maxsize=16)
def _tables(key: bytes) -> tuple[bytes, ...]:
    """For each of 2048 positions, what becomes of each byte there.

    With n1 counting bytes modulo 256 and n2 full turns of it, a byte c becomes
    t2[t3[t1[c + n1] + n2] - n2] - n1, all modulo 256 (SUP 5.2).
    """
    first, second, third = _wheels(key)
    tables = []
    for n2 in range(CHUNK // 256):
        middle = bytes(second[(third[(first[byte] + n2) % 256] - n2) % 256] for byte in range(256))
        for n1 in range(256):
            back = _BYTES[256 - n1 :] + _BYTES[: 256 - n1]
            tables.append((middle[n1:] + middle[:n1]).translate(back))
    return tuple(tables)


def _wheels(key: bytes) -> tuple[bytes, bytes, bytes]:
    """The three permutations of 256 bytes that a key stands for (SUP 5.2). Raises UnusableKey."""
    from passlib.hash import des_crypt

    start = key[:8]
    try:
        text = des_crypt.using(salt=start[:2].decode("latin-1")).hash(start).encode("ascii")
    except ValueError:
        raise UnusableKey("A key must begin with two letters, digits, dots or slashes.") from None
    seed = 123
    for index, byte in enumerate(text):
        seed = _signed(seed * byte + index)
    first = list(range(256))
    third = [0] * 256
    for index in range(256):
        seed = _signed(5 * seed + text[index % 13])
        remainder = abs(seed) % 65521
        draw = (remainder if seed >= 0 else -remainder) % 0x100000000
        last = 255 - index
        chosen = (draw & 255) % (last + 1)
        draw >>= 8
        first[last], first[chosen] = first[chosen], first[last]
        if third[last] == 0:
            chosen = (draw & 255) % last
            while third[chosen] != 0:
                chosen = (chosen + 1) % last
            third[last], third[chosen] = chosen, last
    second = [0] * 256
    for index, byte in enumerate(first):
        second[byte] = index
    return bytes(first), bytes(second), bytes(third)


def _signed(number: int) -> int:
    """What a 32-bit C integer is left with."""
    return (number + 0x80000000) % 0x100000000 - 0x80000000
