"""Messages as records of named fields: what turns an attrs class into a format.

``@message`` makes a frozen attrs class and derives its Construct object from the wire types that ``wire(...)`` put on
its fields. Nobody writes a Struct beside it: the generated codec, the explanation, the Wireshark dissector, the
reference tables and the Hypothesis strategies are visitors over the same objects (`VOCABULARY`, `complete`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, dataclass_transform

import attrs
from construct import Construct, Container

from wire.formats.errors import Damage, FormatError
from wire.formats.expressions import evaluate

T = TypeVar("T")

if TYPE_CHECKING:
    _Construct = Construct[Any, Any]
else:
    _Construct = Construct

VOCABULARY: list[type[WireType]] = []
"""Every wire type there is. A visitor that does not know one of them fails at import (`complete`)."""


class View(Enum):
    """How a person reads a number or a string; the layout is the wire type's affair."""

    PLAIN = "plain"
    HEX = "hexadecimal"
    IPV4 = "IPv4 address"
    TIME = "seconds since 1970"
    MODE = "octal file mode"
    PROGRAM = "ONC RPC program"
    PROTOCOL = "IP protocol"
    COMPLEMENT = "bytes with every bit inverted"


class Tracer(Protocol):
    """Listens to a parse: the explanation of a capture is made from what it hears."""

    base: int

    def enter(self, name: str, field: Field | None, kind: WireType, start: int) -> None: ...

    def leave(self, end: int, value: Any) -> None: ...

    def fail(self, error: FormatError) -> None: ...


class WireType(_Construct):
    """One word of the closed vocabulary: a Construct that reads and writes itself and nothing else.

    Parameters of a parse (byte order, protocol version, session flags) stand in ``context._params``.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        VOCABULARY.append(cls)


def complete(visitor: Any) -> None:
    """Raise TypeError if the `functools.singledispatch` function *visitor* does not know the whole vocabulary."""
    missing = [kind.__name__ for kind in VOCABULARY if visitor.dispatch(kind) is visitor.dispatch(object)]
    if missing:
        raise TypeError(f"{visitor.__module__}.{visitor.__name__} does not know {', '.join(missing)}")


# --- what every wire type needs of a stream -------------------------------------------------------------------------


def read(stream: Any, size: int, path: str, start: int | None = None) -> bytes:
    """*size* bytes; FormatError TRUNCATED (at *start*, where the field began) if there are fewer."""
    at = stream.tell()
    data: bytes = stream.read(size)
    if len(data) != size:
        raise FormatError(Damage.TRUNCATED, path, at if start is None else start)
    return data


def remaining(stream: Any) -> int:
    """How many bytes are left; lets a count be checked before anything is allocated for it."""
    return int(cast(io.BytesIO, stream).getbuffer().nbytes - stream.tell())


def child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@contextmanager
def part(context: Container[Any], name: str, kind: WireType, stream: Any) -> Iterator[list[Any]]:
    """Let a listening tracer know of a part of a field: its length word, its bytes, an element."""
    tracer: Tracer | None = context._params.get("tracer")
    box: list[Any] = [None]
    if tracer is None:
        yield box
        return
    tracer.enter(name, None, kind, stream.tell())
    try:
        yield box
    except FormatError as error:
        tracer.fail(error)
        raise
    tracer.leave(stream.tell(), box[0])


# --- records --------------------------------------------------------------------------------------------------------


class Field(WireType):
    """A named place in a record. An anonymous one (a constant, an end mark) has no attribute in the value."""

    def __init__(
        self, name: str, subcon: WireType, doc: str, view: View = View.PLAIN, anonymous: bool = False
    ) -> None:
        super().__init__()
        self.name: str = name
        self.subcon = subcon
        self.docs = doc
        self.view = view
        self.anonymous = anonymous

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        path = child(path, self.name)
        tracer: Tracer | None = context._params.get("tracer")
        if tracer is None:
            return self.subcon._parse(stream, context, path)
        tracer.enter(self.name, self, self.subcon, stream.tell())
        try:
            value = self.subcon._parse(stream, context, path)
        except FormatError as error:
            tracer.fail(error)
            raise
        tracer.leave(stream.tell(), value)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return self.subcon._build(obj, stream, context, child(path, self.name))


class Record(WireType):
    """Fields in order; its value is an instance of *cls*."""

    def __init__(self, cls: type[Any], *fields: Field) -> None:
        super().__init__()
        self.cls = cls
        self.fields = fields

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        inner = Container(_=context, _params=context._params)
        values = {}
        for field in self.fields:
            value = field._parse(stream, inner, path)
            if not field.anonymous:
                inner[field.name] = values[field.name] = value
        return self.cls(**values)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, self.cls):
            raise FormatError(Damage.VALUE, path, stream.tell())
        inner = Container(_=context, _params=context._params)
        for field in self.fields:
            if not field.anonymous:
                inner[field.name] = getattr(obj, field.name)
        for field in self.fields:
            field._build(inner[field.name] if not field.anonymous else None, stream, inner, path)
        return obj


class When(WireType):
    """A field that is there only if the `this` expression *condition* is true.

    Otherwise it takes no bytes and its value is None; whatever value it has is not written.
    """

    def __init__(self, condition: Any, subcon: WireType) -> None:
        super().__init__()
        self.condition = condition
        self.subcon = subcon

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        return self.subcon._parse(stream, context, path) if evaluate(self.condition, context) else None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return self.subcon._build(obj, stream, context, path) if evaluate(self.condition, context) else None


def condition(field: Field) -> Any:
    """The expression under which *field* is there; None if it always is."""
    return field.subcon.condition if isinstance(field.subcon, When) else None


def runs(fields: tuple[Field, ...]) -> Iterator[tuple[Any, list[Field]]]:
    """Neighbouring fields that share one condition, and it (compared by identity: == would make an expression)."""
    for _, together in groupby(fields, lambda field: id(condition(field))):
        run = list(together)
        yield condition(run[0]), run


class Union(WireType):
    """One of several arms, chosen by the number in an earlier field of the same record (RFC 4506 4.15)."""

    def __init__(self, discriminant: str, arms: dict[int, WireType], default: WireType | None = None) -> None:
        super().__init__()
        self.discriminant = discriminant
        self.arms = arms
        self.default = default

    def arm(self, context: Any, path: str, offset: int) -> WireType:
        chosen = self.arms.get(context[self.discriminant], self.default)
        if chosen is None:
            raise FormatError(Damage.UNION, path, offset)
        return chosen

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        return self.arm(context, path, stream.tell())._parse(stream, context, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return self.arm(context, path, stream.tell())._build(obj, stream, context, path)


class Void(WireType):
    """No bytes at all; the value is None."""

    def _parse(self, stream: Any, context: Any, path: str) -> None:
        return None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if obj is not None:
            raise FormatError(Damage.VALUE, path, stream.tell())


VOID = Void()


# --- classes as formats ---------------------------------------------------------------------------------------------


def wire(kind: WireType, doc: str, *, view: View = View.PLAIN, default: Any = attrs.NOTHING) -> Any:
    """A field of a message: its wire type, what it means, and how a person reads it."""
    return attrs.field(default=default, metadata={"kind": kind, "doc": doc, "view": view})


def fields_of(cls: type[Any]) -> tuple[Field, ...]:
    """The fields of a message class in order, as its attributes carry them."""
    return tuple(
        Field(a.name, a.metadata["kind"], a.metadata["doc"], a.metadata["view"]) for a in attrs.fields(cls)
    )


@dataclass_transform(frozen_default=True, field_specifiers=(wire,))
def message(cls: type[T]) -> type[T]:
    """Make *cls* a frozen value class and its format, ``of(cls)``.

    Its base, ``THAWED``, is the same class not frozen: a parser makes an instance of that in a third of the time, and
    turns it into one of this class by assigning ``__class__``.
    """
    thawed = attrs.define(cls, eq=False)
    body = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "THAWED": thawed,
    }
    made: type[T] = attrs.frozen(repr=False)(type(cls.__name__, (thawed,), {**body, "__slots__": ()}))
    made.FORMAT = Record(made, *fields_of(made))  # type: ignore[attr-defined]
    return made


def evolve(value: T, **changes: Any) -> T:
    """A message like *value*, with some fields changed (`attrs.evolve`, for classes that type checkers know as
    dataclasses). Raises TypeError for a field that it does not have."""
    changed: T = attrs.evolve(cast(Any, value), **changes)
    return changed


def of(cls: type[Any]) -> Record:
    """The format of a message class."""
    return cast(Record, cls.FORMAT)


Format = WireType | type[Any]
"""What can be parsed: a wire type, or a message class standing for its own."""


def as_format(fmt: Format) -> WireType:
    return of(fmt) if isinstance(fmt, type) else fmt
