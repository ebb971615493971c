"""SUP's blocks (SUP 1.3): the wire types that its messages are made of.

A message is its type, blocks, and an end mark. A block is a count and that many bytes, with no tag: the reader must
know what comes. Integers are signed 32-bit in the client's byte order, which is a parameter of the parse (`order`).
"""

from __future__ import annotations

import struct
from typing import Any

from wire.formats.errors import Damage, FormatError
from wire.formats.record import Format, WireType, as_format, part, read
from wire.formats.xdr import write_number

END_COUNT = -1
NULL_COUNT = -2
STRING_LIMIT = 16 * 1024
ENTRY_LIMIT = 5_000_000
LINK_LIMIT = 65_535


def read_word(stream: Any, context: Any, path: str) -> int:
    """A bare 32-bit number in the session's byte order."""
    return int(struct.unpack(context._params.order + "i", read(stream, 4, path))[0])


def write_word(value: Any, stream: Any, context: Any, path: str) -> None:
    write_number(context._params.order + "i", value, stream, path)


class Word(WireType):
    """A bare 32-bit number, as tracers hear counts."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        return read_word(stream, context, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        write_word(obj, stream, context, path)


WORD = Word()


class Const(WireType):
    """A bare number that is always the same: a message's type, or its end mark."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        start = stream.tell()
        if read_word(stream, context, path) != self.number:
            raise FormatError(Damage.CONST, path, start)
        return self.number

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        write_word(self.number, stream, context, path)


END = Const(END_COUNT)


class Int(WireType):
    """INT: the count 4, then a signed number."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        start = stream.tell()
        with part(context, "count", WORD, stream) as heard:
            heard[0] = count = read_word(stream, context, path)
            if count != 4:
                raise FormatError(Damage.COUNT, path, start)
        with part(context, "number", WORD, stream) as heard:
            heard[0] = number = read_word(stream, context, path)
        return number

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        write_word(4, stream, context, path)
        write_word(obj, stream, context, path)


INT = Int()


class String(WireType):
    """STRING: a count and that many bytes; or, where *nullable*, the count -2 for NULL (None)."""

    def __init__(self, nullable: bool = False, limit: int = STRING_LIMIT) -> None:
        super().__init__()
        self.nullable = nullable
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> bytes | None:
        start = stream.tell()
        with part(context, "count", WORD, stream) as heard:
            heard[0] = count = read_word(stream, context, path)
            if count == NULL_COUNT and self.nullable:
                return None
            if count < 0:
                raise FormatError(Damage.COUNT, path, start)
            if count > self.limit:
                raise FormatError(Damage.LIMIT, path, start)
        with part(context, "bytes", self, stream) as heard:
            heard[0] = data = read(stream, count, path, start)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if obj is None and self.nullable:
            write_word(NULL_COUNT, stream, context, path)
            return
        if not isinstance(obj, bytes):
            raise FormatError(Damage.VALUE, path, stream.tell())
        if len(obj) > self.limit:
            raise FormatError(Damage.LIMIT, path, stream.tell())
        write_word(len(obj), stream, context, path)
        stream.write(obj)


STRING = String()
NULLABLE = String(nullable=True)


class UntilNull(WireType):
    """Items, each beginning with a STRING, until a NULL STRING stands where the next would begin; as a tuple."""

    def __init__(self, item: Format, limit: int) -> None:
        super().__init__()
        self.item = as_format(item)
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> tuple[Any, ...]:
        items: list[Any] = []
        while True:
            here, start = f"{path}[{len(items)}]", stream.tell()
            ends = read_word(stream, context, here) == NULL_COUNT
            stream.seek(start)
            if ends:
                with part(context, "end of list", WORD, stream) as heard:
                    heard[0] = read_word(stream, context, path)
                return tuple(items)
            if len(items) == self.limit:
                raise FormatError(Damage.LIMIT, path, start)
            with part(context, f"[{len(items)}]", self.item, stream) as heard:
                heard[0] = item = self.item._parse(stream, context, here)
            items.append(item)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, (tuple, list)):
            raise FormatError(Damage.VALUE, path, stream.tell())
        if len(obj) > self.limit:
            raise FormatError(Damage.LIMIT, path, stream.tell())
        for index, item in enumerate(obj):
            self.item._build(item, stream, context, f"{path}[{index}]")
        write_word(NULL_COUNT, stream, context, path)


class Counted(WireType):
    """An INT that says how many STRINGs follow (XPATCH, SUP 2.17); as a tuple."""

    def __init__(self, item: Format, limit: int) -> None:
        super().__init__()
        self.item = as_format(item)
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> tuple[Any, ...]:
        start = stream.tell()
        count = INT._parse(stream, context, path)
        if count < 0:
            raise FormatError(Damage.COUNT, path, start)
        if count > self.limit:
            raise FormatError(Damage.LIMIT, path, start)
        items = []
        for index in range(count):
            with part(context, f"[{index}]", self.item, stream) as heard:
                heard[0] = item = self.item._parse(stream, context, f"{path}[{index}]")
            items.append(item)
        return tuple(items)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, (tuple, list)):
            raise FormatError(Damage.VALUE, path, stream.tell())
        if len(obj) > self.limit:
            raise FormatError(Damage.LIMIT, path, stream.tell())
        INT._build(len(obj), stream, context, path)
        for index, item in enumerate(obj):
            self.item._build(item, stream, context, f"{path}[{index}]")


class FileSize(WireType):
    """The count of a FILE block; its bytes never enter Construct: the transport streams them."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        start = stream.tell()
        count = read_word(stream, context, path)
        if count < 0:
            raise FormatError(Damage.COUNT, path, start)
        return count

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, int) or obj < 0:
            raise FormatError(Damage.VALUE, path, stream.tell())
        write_word(obj, stream, context, path)
