"""Formats made fast: parsers and builders generated from `wire.formats`, one per format and parameters.

    codec(LookupArgs).parse(data)             -> (value, position after it)
    codec(LookupArgs).build(value)            -> bytes
    codec(List, SupParams(order=">")).stream()   takes the bytes of a long message as they come

Interpreted Construct is the oracle: `Codec.interpret` and `Codec.interpret_build` read and write the same
formats slowly, and agree with the generated functions on every value and every damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import attrs
from construct import ConstructError

from wire.codec.building import make_builder
from wire.codec.parsing import make_parser, make_resumable
from wire.formats.errors import Damage, FormatError
from wire.formats.record import WireType, as_format

if TYPE_CHECKING:
    from wire.formats.sup import SupParams

__all__ = ["Codec", "Damage", "FormatError", "Stream", "codec"]

T = TypeVar("T")


class Stream(Generic[T]):
    """One message read as its bytes come. `feed` until it is True; then `value` is the message, `rest` what
    follows it.

    Elements of a long list are taken out of the buffer as soon as they are whole, so what waits in it is at
    most one element, and no byte is looked at more than once per element it belongs to.
    """

    def __init__(self, resume: Callable[..., Any]) -> None:
        self._resume = resume
        self._run: Any = None
        self._taken = 0  # bytes before those in `rest`
        self.rest = b""
        self.value: T

    def feed(self, data: bytes) -> bool:
        """Take *data*; True once the message is whole. Raises FormatError on damage."""
        buffer = self.rest + data if self.rest else data
        try:
            if self._run is None:
                self._run = self._resume(buffer, 0, len(buffer))
                done = next(self._run)
            else:
                done = self._run.send((buffer, 0, len(buffer)))
        except StopIteration as finished:
            self.value, end = finished.value
            self.rest = buffer[end:]
            return True
        except FormatError as error:
            error.offset += self._taken
            raise
        self.rest = buffer[done:]
        self._taken += done
        return False


@contextmanager
def _one_error() -> Iterator[None]:
    """FormatError and no other, its path without the word that Construct begins paths with."""
    try:
        yield
    except FormatError as error:
        path = error.path.removeprefix("(parsing)").removeprefix("(building)").removeprefix(".")
        raise FormatError(error.kind, path, error.offset) from None
    except (ConstructError, AttributeError, TypeError, KeyError) as leaked:
        raise FormatError(Damage.VALUE, str(leaked), 0) from leaked


class Codec(Generic[T]):
    """The generated functions of one format; made by `codec`, each on first use."""

    def __init__(self, kind: WireType, params: SupParams | None) -> None:
        self.format = kind
        self.params = params
        self._parameters = attrs.asdict(params) if params is not None else {}
        self._title = getattr(getattr(kind, "cls", None), "__name__", type(kind).__name__)

    @cached_property
    def parse(self) -> Callable[..., tuple[T, int]]:
        """``parse(data: bytes, pos: int = 0) -> (value, position after it)``; what follows is ignored.

        Raises FormatError.
        """
        return make_parser(self.format, self._parameters, self._title)

    def parse_exact(self, data: bytes) -> T:
        """The value that *data* is, to the last byte. Raises FormatError (TRAILING if bytes are left
        over)."""
        value, end = self.parse(data)
        if end != len(data):
            raise FormatError(Damage.TRAILING, "", end)
        return value

    @cached_property
    def _build(self) -> Callable[[T], bytes]:
        return make_builder(self.format, self._parameters, self._title)

    def build(self, value: T) -> bytes:
        """The bytes of *value*. Raises FormatError naming the field that does not fit."""
        try:
            return self._build(value)
        except Exception:
            return self.interpret_build(value)

    @cached_property
    def _resumable(self) -> Callable[..., Any]:
        return make_resumable(self.format, self._parameters, self._title)

    def stream(self) -> Stream[T]:
        """A reader of one message whose bytes come piece by piece."""
        return Stream(self._resumable)

    def interpret(self, data: bytes, **context: Any) -> T:
        """What `parse` gives, by interpreted Construct. Raises FormatError."""
        with _one_error():
            value: T = self.format.parse(data, **self._parameters, **context)
            return value

    def interpret_build(self, value: T) -> bytes:
        """What `build` gives, by interpreted Construct. Raises FormatError."""
        with _one_error():
            return self.format.build(value, **self._parameters)


@cache
def _codec(kind: WireType, params: SupParams | None) -> Codec[Any]:
    return Codec(kind, params)


@overload
def codec(fmt: type[T], params: SupParams | None = None) -> Codec[T]: ...
@overload
def codec(fmt: WireType, params: SupParams | None = None) -> Codec[Any]: ...
def codec(fmt: Any, params: SupParams | None = None) -> Codec[Any]:
    """The codec of a message class or wire type; *params* for SUP's messages, whose layout depends on the
    session."""
    return _codec(as_format(fmt), params)
