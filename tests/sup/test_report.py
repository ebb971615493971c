"""What is told, when, and what is kept of it."""

import pytest

from sup.report import MOST, Report, printable, type_name


def test_the_heading_comes_with_the_first_line_only() -> None:
    said: list[str] = []
    report = Report(said.append, "heading")
    report.detail("not shown")
    assert said == []
    report.note("a note")
    report.warning("a warning")
    assert said == ["heading", "SUP a note", "SUP: a warning"]
    assert report.problems == []


def test_details_are_for_the_verbose() -> None:
    said: list[str] = []
    Report(said.append, verbose=True).detail("a detail")
    assert said == ["SUP a detail"]


def test_problems_are_told_and_kept_but_not_without_end() -> None:
    said: list[str] = []
    report = Report(said.append)
    for number in range(MOST + 5):
        report.problem(f"problem {number}")
    assert len(said) == MOST + 5
    assert report.problems == [f"problem {number}" for number in range(MOST)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"plain name", "plain name"),
        ("größe".encode(), "größe"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        (b"two\nlines", "two\\nlines"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
    ],
)
def test_nothing_that_a_terminal_obeys(text: bytes, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        (0o100644, "regular file"),
        (0o040755, "directory"),
        (0o120777, "symbolic link"),
        (0o010644, "unknown file"),
    ],
)
def test_types(mode: int, name: str) -> None:
    assert type_name(mode) == name
