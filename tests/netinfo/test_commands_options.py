"""The command lines of the ni* tools (NETINFO 6.5)."""

from __future__ import annotations

import pytest

from netinfo.commands.options import (
    COMMON,
    JSON,
    TAGGED,
    TIMEOUT,
    USER,
    UsageError,
    describe,
    index_in,
    manual,
    parse,
    parse_around,
)


def test_options_come_before_operands() -> None:
    found = parse(["-t", "-u", "ann", "srv/network", "-t"], COMMON)
    assert found.has(TAGGED)
    assert found.get(USER) == "ann"
    assert found.operands == ["srv/network", "-t"]
    assert parse(["-T", "2.5", "--", "-t"], COMMON).operands == ["-t"]
    assert parse(["-"], COMMON).operands == ["-"]


def test_some_tools_take_options_after_the_first_operand_too() -> None:
    found = parse_around(["passwd", "-t", "srv/network"], COMMON)
    assert (found.operands, found.has(TAGGED)) == (["passwd", "srv/network"], True)
    assert parse_around(["-t"], COMMON).operands == []


def test_numbers() -> None:
    assert parse(["-T", "2.5"], COMMON).number(TIMEOUT, 30.0) == 2.5
    assert parse([], COMMON).number(TIMEOUT, 30.0) == 30.0
    assert index_in(b"12") == 12
    assert index_in(b"9" * 10_000) > 1 << 32


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [(["-x"], "-x is not an option here"), (["-u"], "-u takes USER"), (["--json"], "--json is not")],
)
def test_what_is_no_option_is_named(argv: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse(argv, COMMON)


def test_what_is_no_number_is_named() -> None:
    for seconds in ("soon", "0", "-1", "nan", "inf", "1e9"):
        with pytest.raises(UsageError, match=f"-T takes seconds, up to 86400, not '{seconds}'"):
            parse(["-T", seconds], COMMON).number(TIMEOUT, 30.0)
    for word in (b"x", b"-1", b"", b"\xff"):
        with pytest.raises(UsageError, match="an index is a number from 0"):
            index_in(word)


def test_help_has_options_surroundings_and_examples_in_a_page_s_width() -> None:
    page = manual("usage: x", "Does x.", f"Options:\n{describe([*COMMON, JSON])}", examples="x -t a\nx b")
    assert page.startswith("usage: x\n\nDoes x.\n\nOptions:\n  -t ")
    assert page.endswith("Examples:\n  x -t a\n  x b\n")
    assert "NETINFO_PASSWORD" in page
    assert max(map(len, page.splitlines())) < 100
