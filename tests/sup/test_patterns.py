"""Patterns of list files, in the sane and in the original's reading (SUP 6.1.1, 6.1.2)."""

import re
import time

import pytest

from sup.patterns import (
    MAX_ALTERNATIVES,
    PatternError,
    any_of,
    braces,
    component_expression,
    has_wildcard,
    omitany_expression,
)


@pytest.mark.parametrize(
    ("pattern", "name", "sane", "historic"),
    [
        (b"*.o", b"d/x.o", True, True),
        (b"*.o", b"d/.o", True, True),
        (b"*.o", b".o", True, False),
        (b"d/a*b", b"d/ab", True, False),
        (b"d/a*b", b"d/axb", True, True),
        (b"d/*", b"d/", True, True),
        (b"d/*", b"d/x/y", True, True),
        (b"*/CVS", b"a/b/CVS", True, True),
        (b"CVS", b"a/CVS", False, False),
        (b"CVS", b"CVS", True, True),
        (b"?", b"/", True, True),
        (b"[ab]x", b"ax", True, False),
        (b"[ab]x", b"bx", True, True),
        (b"[a-c]x", b"ax", True, False),
        (b"[a-c]x", b"bx", True, True),
        (b"[a-c]x", b"cx", True, True),
        (b"[a-c]x", b"dx", False, False),
        (b"[!a]x", b"bx", True, False),
        (b"[!a]x", b"ax", False, True),
        (b"[ab-]x", b"bx", True, True),
        (b"[ab-]x", b"-x", True, False),
        (b"[abx", b"bx", False, False),
        (b"[]x", b"x", False, False),
        (b"[", b"x", False, False),
        (b"[a", b"x", False, False),
        (b"[a-", b"x", False, False),
        (b"{a,b}", b"a", False, False),
        (b"{a,b}", b"{a,b}", True, True),
        (b"a**b", b"axb", True, False),
        (b"a**b", b"axxb", True, True),
        (b"*a*b*c*", b"xaxbxc", True, True),
        (b"*\xff", b"a\n\xff", True, True),
        (b"a.b", b"axb", False, False),
        (b"", b"", True, True),
        (b"", b"a", False, False),
    ],
)
def test_omitany(pattern: bytes, name: bytes, sane: bool, historic: bool) -> None:
    assert bool(omitany_expression(pattern).match(name)) is sane
    assert bool(omitany_expression(pattern, historic=True).match(name)) is historic


@pytest.mark.parametrize("historic", [False, True])
def test_many_stars_take_no_time(historic: bool) -> None:
    began = time.process_time()
    assert not omitany_expression(b"*a" * 20 + b"*b", historic).match(b"a" * 5000)
    assert time.process_time() - began < 1


def test_any_of_is_each_of_them() -> None:
    expression = any_of([b"*.o", b"x|y", b"*/CVS", b".//z"])
    assert expression is not None
    for name in (b"a.o", b"x|y", b"d/CVS", b"z"):
        assert expression.match(name)
    assert not expression.match(b"x")
    assert any_of([]) is None


@pytest.mark.parametrize(
    ("pattern", "name", "sane", "historic"),
    [
        (b"*", b"anything", True, True),
        (b"a*b", b"ab", True, True),
        (b"[a-c]x", b"ax", True, True),
        (b"[ab]x", b"ax", True, True),
        (b"[!a]", b"!", True, True),
        (b"[!a]", b"b", True, False),
        (b"[a", b"a", False, False),
        (b"?", b"ab", False, False),
        (b"a**", b"a", True, False),
        (b"[d*]", b"*", True, True),
        (b"a***", b"ab", True, True),
        (b".*", b".x", True, True),
    ],
)
def test_components(pattern: bytes, name: bytes, sane: bool, historic: bool) -> None:
    assert bool(component_expression(pattern).match(name)) is sane
    assert bool(component_expression(pattern, historic=True).match(name)) is historic


@pytest.mark.parametrize(
    ("operand", "operands"),
    [
        (b"a", [b"a"]),
        (b"a{b,c}d", [b"abd", b"acd"]),
        (b"{a,b}/{c,d}", [b"a/c", b"a/d", b"b/c", b"b/d"]),
        (b"{a,b{c,d}}", [b"a", b"bc", b"bd"]),
        (b"{a}", [b"a"]),
        (b"x{,y}", [b"x", b"xy"]),
        (b"{a,b", []),
        (b"a}", [b"a}"]),
        (b"{[,}],b}", [b"[,}]", b"b"]),
    ],
)
def test_braces(operand: bytes, operands: list[bytes]) -> None:
    assert list(braces(operand)) == operands


def test_braces_are_bounded() -> None:
    with pytest.raises(PatternError, match=re.escape(str(MAX_ALTERNATIVES))):
        list(braces(b"{a,b}" * 60))


def test_wildcards() -> None:
    assert has_wildcard(b"a*")
    assert has_wildcard(b"[a]")
    assert not has_wildcard(b"a{b}~")
