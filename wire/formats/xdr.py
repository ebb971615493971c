"""XDR, the external data representation (RFC 4506): the wire types of ONC RPC and everything that rides on it.

Every item takes a multiple of four bytes, big-endian. A limit is part of the type and is checked before anything is
allocated; padding is skipped unread, as the historic decoders did, and written as zeros.
"""

from __future__ import annotations

import io
import struct
from enum import IntEnum, IntFlag
from typing import Any

from wire.formats.errors import Damage, FormatError
from wire.formats.record import (
    VOID,
    Field,
    Format,
    Record,
    Union,
    View,
    WireType,
    as_format,
    message,
    of,
    part,
    read,
    remaining,
    wire,
)

__all__ = [
    "BOOL", "HYPER", "I32", "U32", "UHYPER", "VOID", "Array", "Bool", "EnumOf", "Field", "FixedOpaque", "FlagsOf",
    "Integer", "LinkedList", "Opaque", "OptionalOf", "Record", "Union", "View", "WireType", "Within",
    "message", "of", "padding", "wire",
]  # fmt: skip


def padding(size: int) -> int:
    """How many bytes bring *size* to a multiple of four (RFC 4506 3)."""
    return -size & 3


def write_number(code: str, value: Any, stream: Any, path: str) -> None:
    """Write one number in `struct` notation; FormatError VALUE if it does not fit."""
    try:
        stream.write(struct.pack(code, value))
    except struct.error:
        raise FormatError(Damage.VALUE, path, stream.tell()) from None


class Integer(WireType):
    """int, unsigned int, hyper or unsigned hyper (RFC 4506 4.1, 4.2, 4.5), by its `struct` letter."""

    def __init__(self, letter: str) -> None:
        super().__init__()
        self.letter = letter
        self.size = struct.calcsize(">" + letter)

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        return struct.unpack(">" + self.letter, read(stream, self.size, path))[0]

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        write_number(">" + self.letter, obj, stream, path)


U32, I32, HYPER, UHYPER = Integer("I"), Integer("i"), Integer("q"), Integer("Q")


class Bool(WireType):
    """bool (RFC 4506 4.4): the unsigned number 0 or 1."""

    def _parse(self, stream: Any, context: Any, path: str) -> bool:
        start = stream.tell()
        number = U32._parse(stream, context, path)
        if number > 1:
            raise FormatError(Damage.BOOL, path, start)
        return bool(number)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, bool):
            raise FormatError(Damage.VALUE, path, stream.tell())
        U32._build(int(obj), stream, context, path)


BOOL = Bool()


class EnumOf(WireType):
    """A number with names (RFC 4506 4.3). One that has no name stays a number, as the historic decoders let it."""

    def __init__(self, enum: type[IntEnum], base: WireType = I32) -> None:
        super().__init__()
        self.enum = enum
        self.base = base
        self.members = {int(member): member for member in enum}

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        number = self.base._parse(stream, context, path)
        return self.members.get(number, number)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        self.base._build(obj, stream, context, path)


class FlagsOf(WireType):
    """A number whose bits have names; bits without a name are kept."""

    def __init__(self, flags: type[IntFlag], base: WireType) -> None:
        super().__init__()
        self.flags = flags
        self.base = base

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        return self.base._parse(stream, context, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        self.base._build(obj, stream, context, path)


def read_padded(stream: Any, context: Any, path: str, size: int, start: int) -> bytes:
    """*size* bytes and their padding, heard by a tracer as two parts."""
    with part(context, "bytes", FixedOpaque(size), stream) as heard:
        heard[0] = data = read(stream, size, path, start)
    read_padding(stream, context, path, size, start)
    return data


def read_padding(stream: Any, context: Any, path: str, size: int, start: int) -> None:
    """Skip what fills an item of *size* bytes up to a multiple of four."""
    if padding(size):
        with part(context, "padding", FixedOpaque(padding(size)), stream) as heard:
            heard[0] = read(stream, padding(size), path, start)


def read_length(stream: Any, context: Any, path: str, limit: int) -> int:
    start = stream.tell()
    with part(context, "length", U32, stream) as heard:
        heard[0] = count = U32._parse(stream, context, path)
        if count > limit:
            raise FormatError(Damage.LIMIT, path, start)
    return int(count)


def write_length(count: int, limit: int, stream: Any, context: Any, path: str) -> None:
    if count > limit:
        raise FormatError(Damage.LIMIT, path, stream.tell())
    U32._build(count, stream, context, path)


class FixedOpaque(WireType):
    """opaque[size] (RFC 4506 4.9)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        start = stream.tell()
        data = read(stream, self.size, path)
        read(stream, padding(self.size), path, start)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, bytes) or len(obj) != self.size:
            raise FormatError(Damage.VALUE, path, stream.tell())
        stream.write(obj + bytes(padding(self.size)))


class Opaque(WireType):
    """opaque<limit> and string<limit> (RFC 4506 4.10, 4.11): both are bytes here."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        start = stream.tell()
        return read_padded(stream, context, path, read_length(stream, context, path, self.limit), start)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, bytes):
            raise FormatError(Damage.VALUE, path, stream.tell())
        write_length(len(obj), self.limit, stream, context, path)
        stream.write(obj + bytes(padding(len(obj))))


class Array(WireType):
    """item<limit> (RFC 4506 4.13), as a tuple. A count that the bytes left cannot hold is damage at once."""

    def __init__(self, item: Format, limit: int) -> None:
        super().__init__()
        self.item = as_format(item)
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> tuple[Any, ...]:
        from wire.formats.sizes import smallest

        start = stream.tell()
        count = read_length(stream, context, path, self.limit)
        if count * smallest(self.item) > remaining(stream):
            raise FormatError(Damage.TRUNCATED, path, start)
        items = []
        for index in range(count):
            with part(context, f"[{index}]", self.item, stream) as heard:
                heard[0] = item = self.item._parse(stream, context, f"{path}[{index}]")
            items.append(item)
        return tuple(items)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, (tuple, list)):
            raise FormatError(Damage.VALUE, path, stream.tell())
        write_length(len(obj), self.limit, stream, context, path)
        for index, item in enumerate(obj):
            self.item._build(item, stream, context, f"{path}[{index}]")


class OptionalOf(WireType):
    """Optional data (RFC 4506 4.19): a bool, then the item if it is true; else None."""

    def __init__(self, item: Format) -> None:
        super().__init__()
        self.item = as_format(item)

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        with part(context, "present", BOOL, stream) as heard:
            heard[0] = present = BOOL._parse(stream, context, path)
        return self.item._parse(stream, context, path) if present else None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        BOOL._build(obj is not None, stream, context, path)
        if obj is not None:
            self.item._build(obj, stream, context, path)


class LinkedList(WireType):
    """A list linked by optional pointers (RFC 4506 4.19): { true, item } ..., false. Read in a loop."""

    def __init__(self, item: Format, limit: int) -> None:
        super().__init__()
        self.item = as_format(item)
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> tuple[Any, ...]:
        items: list[Any] = []
        while True:
            here, start = f"{path}[{len(items)}]", stream.tell()
            with part(context, "more", BOOL, stream) as heard:
                heard[0] = more = BOOL._parse(stream, context, here)
                if more and len(items) == self.limit:
                    raise FormatError(Damage.LIMIT, path, start)
            if not more:
                return tuple(items)
            with part(context, f"[{len(items)}]", self.item, stream) as heard:
                heard[0] = item = self.item._parse(stream, context, here)
            items.append(item)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, (tuple, list)):
            raise FormatError(Damage.VALUE, path, stream.tell())
        if len(obj) > self.limit:
            raise FormatError(Damage.LIMIT, path, stream.tell())
        for index, item in enumerate(obj):
            BOOL._build(True, stream, context, path)
            self.item._build(item, stream, context, f"{path}[{index}]")
        BOOL._build(False, stream, context, path)


class Within(WireType):
    """An opaque<limit> whose bytes are an item of their own and hold nothing but it (RFC 5531 8.2, AUTH_SYS)."""

    def __init__(self, item: Format, limit: int) -> None:
        super().__init__()
        self.item = as_format(item)
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream.tell()
        size = read_length(stream, context, path, self.limit)
        if size + padding(size) > remaining(stream):
            raise FormatError(Damage.TRUNCATED, path, start)
        inside = stream.tell()
        inner = io.BytesIO(stream.read(size))
        tracer = context._params.get("tracer")
        if tracer is not None:
            tracer.base += inside
        try:
            value = self.item._parse(inner, context, path)
            if remaining(inner):
                raise FormatError(Damage.TRAILING, path, inner.tell())
        except FormatError as error:
            raise FormatError(error.kind, error.path, error.offset + inside) from None
        finally:
            if tracer is not None:
                tracer.base -= inside
        read_padding(stream, context, path, size, start)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        inner = io.BytesIO()
        self.item._build(obj, inner, context, path)
        data = inner.getvalue()
        write_length(len(data), self.limit, stream, context, path)
        stream.write(data + bytes(padding(len(data))))
