"""Python source in the making: lines, names, constants; and `this` expressions as source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from construct.expr import BinExpr, ExprMixin, Path, UniExpr, opnames

from wire.formats.record import steps

_OPERATORS = {"&": "&", "==": "==", "!=": "!=", ">=": ">=", "<=": "<=", "<": "<", ">": ">"}


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
        exec(compile(text, f"<{title}>", "exec"), namespace)
        made = namespace[signature.split("(")[0]]
        made.__doc__ = text
        return made


class Constant:
    """A part of an expression that the parameters of the parse decide."""

    def __init__(self, value: Any) -> None:
        self.value = value


def expression(node: Any, scope: Mapping[str, str], params: Mapping[str, Any]) -> str | Constant:
    """Source of a `this` expression over the fields in *scope*; a Constant where *params* alone decide it."""
    if isinstance(node, Path):
        names = steps(node)
        return Constant(params[names[1]]) if names[0] == "_params" else scope[names[0]]
    if isinstance(node, UniExpr):
        operand = expression(node.operand, scope, params)
        return Constant(not operand.value) if isinstance(operand, Constant) else f"(not {operand})"
    if isinstance(node, BinExpr):
        left, right = expression(node.lhs, scope, params), expression(node.rhs, scope, params)
        operator = opnames[node.op]
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Constant(node.op(left.value, right.value))
        if operator == "&" and _is_condition(node.lhs):
            return _both(left, right)
        if operator in ("==", "!=") and isinstance(right, Constant) and right.value is None:
            return f"({left} {'is' if operator == '==' else 'is not'} None)"
        return f"({_text(left)} {_OPERATORS[operator]} {_text(right)})"
    if isinstance(node, ExprMixin):
        raise TypeError(f"a format cannot use the expression {node!r}")
    return Constant(node)


def _is_condition(node: Any) -> bool:
    """True for what is true or false; False for a number whose bits are taken."""
    if isinstance(node, UniExpr):
        return True
    if isinstance(node, BinExpr):
        return opnames[node.op] != "&" or _is_condition(node.lhs)
    return False


def _both(left: str | Constant, right: str | Constant) -> str | Constant:
    if isinstance(left, Constant):
        return right if left.value else Constant(False)
    if isinstance(right, Constant):
        return left if right.value else Constant(False)
    return f"({left} and {right})"


def _text(part: str | Constant) -> str:
    return repr(part.value) if isinstance(part, Constant) else part
