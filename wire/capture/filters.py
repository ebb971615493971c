"""Filters over messages: expressions such as ``procedure == "LOOKUP" and status != "NI_OK"``, by rule-engine.

That library has a grammar of its own and knows only the names and types it is given (`values.NAMES`): no
Python is evaluated. As in SQL, a comparison with a name that a message does not have is neither true nor
false, so that the example gives failed answers and not calls; ``status == null`` asks for exactly that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import rule_engine
from rule_engine import ast

from wire.capture.messages import Message
from wire.capture.values import NAMES

_TYPES = {
    float: rule_engine.DataType.FLOAT,
    str: rule_engine.DataType.STRING,
    bool: rule_engine.DataType.BOOLEAN,
}


class FilterError(ValueError):
    """An expression that cannot be used; the text says why, for the person who typed it."""


@attrs.frozen
class _Nullable:
    """A message asked whether it has a name at all."""

    message: Message


def _resolve(subject: Message | _Nullable, name: str) -> Any:
    if isinstance(subject, _Nullable):
        return NAMES[name].get(subject.message)
    value = NAMES[name].get(subject)
    if value is None:
        raise rule_engine.SymbolResolutionError(name)
    return value


def message_filter(expression: str) -> Callable[[Message], bool]:
    """The test that *expression* is. Raises FilterError if it is not one."""
    types = {name: _TYPES[known.type] for name, known in NAMES.items()}
    context = rule_engine.Context(type_resolver=types, resolver=_resolve)
    try:
        tree = rule_engine.Rule(expression, context=context).statement.expression
    except rule_engine.SymbolResolutionError as error:
        known = ", ".join(NAMES)
        raise FilterError(f"there is no {error.symbol_name!r} to ask about; there are: {known}") from error
    except rule_engine.EngineError as error:
        raise FilterError(f"{expression!r} is not a filter: {error.message}") from error
    return lambda message: bool(_holds(tree, message))


def _holds(node: Any, message: Message) -> bool | None:
    """Whether an expression holds for a message; None if it asks for something that the message does not
    have.
    """
    if isinstance(node, ast.LogicExpression):
        decisive = node.type == "or"
        left = _holds(node.left, message)
        if left is decisive:
            return decisive
        right = _holds(node.right, message)
        if right is decisive:
            return decisive
        return None if left is None or right is None else not decisive
    if isinstance(node, ast.UnaryExpression) and node.type == "not":
        inner = _holds(node.right, message)
        return None if inner is None else not inner
    asks_null = isinstance(node, ast.ComparisonExpression) and (
        isinstance(node.left, ast.NullExpression) or isinstance(node.right, ast.NullExpression)
    )
    try:
        return bool(node.evaluate(_Nullable(message) if asks_null else message))
    except rule_engine.EngineError:
        return None
