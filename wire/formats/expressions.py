"""Conditions of formats: Construct's `this` expressions, taken apart so that visitors can read them.

Only field names, session parameters (``this._params.version``), literals, comparisons, `&` and `~` occur in formats.
`&` between conditions stops at the first false one, so that a field can be tested once it is known to be there.
"""

from __future__ import annotations

from typing import Any

import attrs
from construct import expr as construct_expr
from construct.expr import BinExpr, ExprMixin, Path, UniExpr

_SYMBOLS: dict[Any, str] = vars(construct_expr)["opnames"]


@attrs.frozen
class Name:
    """A field of the record, or a parameter of the parse."""

    name: str
    parameter: bool


@attrs.frozen
class Not:
    operand: Any


@attrs.frozen
class Operation:
    """symbol: one of & == != < <= > >=, with Python's meaning; `apply` carries it out."""

    symbol: str
    left: Any
    right: Any
    apply: Any

    @property
    def condition(self) -> bool:
        """True for what is true or false; False for a number whose bits are taken."""
        return self.symbol != "&" or isinstance(self.left, Not) or getattr(self.left, "condition", False)


def shape(expression: Any) -> Name | Not | Operation | Any:
    """What *expression* is made of; a literal is itself. Raises TypeError for what formats do not use."""
    if isinstance(expression, Path):
        inner = vars(expression)
        parent = vars(inner["_Path__parent"])
        return Name(inner["_Path__field"], parameter=parent["_Path__field"] == "_params")
    if isinstance(expression, UniExpr):
        return Not(shape(vars(expression)["operand"]))
    if isinstance(expression, BinExpr):
        inner = vars(expression)
        return Operation(_SYMBOLS[inner["op"]], shape(inner["lhs"]), shape(inner["rhs"]), inner["op"])
    if isinstance(expression, ExprMixin):
        raise TypeError(f"a format cannot use the expression {expression!r}")
    return expression


def evaluate(expression: Any, context: Any) -> Any:
    """The value of a `this` expression in a Construct context."""
    return _evaluate(shape(expression), context)


def _evaluate(node: Any, context: Any) -> Any:
    match node:
        case Name(name, parameter):
            return (context._params if parameter else context)[name]
        case Not(operand):
            return not _evaluate(operand, context)
        case Operation(symbol, left, right, apply):
            value = _evaluate(left, context)
            if symbol == "&" and node.condition and not value:
                return False
            return apply(value, _evaluate(right, context))
        case literal:
            return literal
