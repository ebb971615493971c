"""Python source in the making: lines, names, constants; and `this` expressions as source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wire.formats.expressions import Name, Not, Operation, shape

_IDENTITY = {"==": "is", "!=": "is not"}
"""How None is compared."""


class Source:
    """Lines of a function under construction, and the constants that it will find as globals."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.constants: dict[str, Any] = {}
        self.counter = 0

    def name(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def constant(self, prefix: str, value: Any) -> str:
        name = self.name(prefix.upper())
        self.constants[name] = value
        return name

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, heading: str) -> Iterator[None]:
        self.line(heading)
        self.depth += 1
        yield
        self.depth -= 1

    def function(self, signature: str, title: str) -> Any:
        """Compile the lines as the body of ``def signature``; *title* is what tracebacks and profiles show."""
        text = f"def {signature}:\n" + "\n".join(self.lines) + "\n"
        namespace = dict(self.constants)
        exec(compile(text, f"<{title}>", "exec"), namespace)  # noqa: S102 - source that the formats alone decide
        made = namespace[signature.split("(")[0]]
        made.__doc__ = text
        return made


class Constant:
    """A part of an expression that the parameters of the parse decide."""

    def __init__(self, value: Any) -> None:
        self.value = value


def expression(condition: Any, scope: Mapping[str, str], params: Mapping[str, Any]) -> str | Constant:
    """Source of a `this` expression over the fields in *scope*; a Constant where *params* alone decide it."""
    return _source(shape(condition), scope, params)


def _source(node: Any, scope: Mapping[str, str], params: Mapping[str, Any]) -> str | Constant:
    match node:
        case Name(name, parameter):
            return Constant(params[name]) if parameter else scope[name]
        case Not(operand):
            inner = _source(operand, scope, params)
            return Constant(not inner.value) if isinstance(inner, Constant) else f"(not {inner})"
        case Operation(symbol, first, second, apply):
            left, right = _source(first, scope, params), _source(second, scope, params)
            if isinstance(left, Constant) and isinstance(right, Constant):
                return Constant(apply(left.value, right.value))
            if symbol == "&" and node.condition:
                return _both(left, right)
            if symbol in _IDENTITY and isinstance(right, Constant) and right.value is None:
                symbol = _IDENTITY[symbol]
            return f"({_text(left)} {symbol} {_text(right)})"
        case literal:
            return Constant(literal)


def _both(left: str | Constant, right: str | Constant) -> str | Constant:
    if isinstance(left, Constant):
        return right if left.value else left
    if isinstance(right, Constant):
        return left if right.value else right
    return f"({left} and {right})"


def _text(part: str | Constant) -> str:
    return repr(part.value) if isinstance(part, Constant) else part
