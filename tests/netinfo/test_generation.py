"""The table of differences: whole, and documented line by line."""

from __future__ import annotations

import ast
import inspect
import re

import attrs

from netinfo import generation
from netinfo.generation import APPLE, GENERATIONS, NEXT, Generation


def test_every_line_of_the_table_says_what_differs() -> None:
    """Only what differs belongs in the table, and each line is explained with its source."""
    for field in attrs.fields(Generation):
        assert getattr(NEXT, field.name) != getattr(APPLE, field.name), field.name
    (table,) = [
        node
        for node in ast.parse(inspect.getsource(generation)).body
        if isinstance(node, ast.ClassDef) and node.name == "Generation"
    ]
    documented = [
        line.target.id
        for line, text in zip(table.body, table.body[1:], strict=False)
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and (line.target.id == "name" or re.search(r"\(NETINFO\s", str(text.value.value)))
    ]
    assert documented == [field.name for field in attrs.fields(Generation)]


def test_both_are_found_by_name() -> None:
    assert GENERATIONS == {"next": NEXT, "apple": APPLE}
