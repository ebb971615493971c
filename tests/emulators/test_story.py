"""Pages and their generated blocks: chosen by name, made anew, and errors that say what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.lessons.catalogue import LESSONS
from emulators.lessons.story import WIDTH, StoryError, choose, line, read, spoken, tell

CAPTURE = LESSONS[1].capture


def test_old_block_is_replaced_and_the_text_around_it_stays() -> None:
    page = "# 1. A\n\nbefore\n\n<!-- figure: one -->\n```text\nold\n```\n\nafter `<!-- exchange -->`\n"
    told = tell(page, CAPTURE, {"one": lambda capture: f"new {capture.name}\n\n"})
    assert told == page.replace("old", f"new {CAPTURE.name}")
    assert tell(told, CAPTURE, {"one": lambda capture: f"new {capture.name}"}) == told


def test_missing_block_is_made() -> None:
    told = tell("<!-- exchange -->\n\nafter\n", CAPTURE, {})
    first, second, *_ = told.splitlines()[2:]
    assert first.split()[2:6] == ["client", "→", "netinfod", "network"]
    assert first.endswith("LOOKUP call id=0.0 key=name value=users")
    assert second.split()[2:6] == ["netinfod", "network", "→", "client"]
    assert told.endswith("```\n\nafter\n")


def test_exchange_of_some_names_counts_equal_lines() -> None:
    told = tell("<!-- exchange: SEND DONE -->\n", LESSONS[6].capture, {})
    names = [row.split()[5:] for row in told.splitlines()[2:-1]]
    assert [row[0] for row in names] == ["SEND", "DONE", "SEND", "DONE"]
    assert names[2][1:] == ["(1", "more)"]


def test_lines_are_cut_at_their_width() -> None:
    messages = read(LESSONS[6].capture)
    lines = [line(message, messages[0].time) for message in messages]
    assert max(map(len, lines)) == WIDTH
    assert any(each.endswith("…") for each in lines)


def test_one_field_of_a_message_is_explained_alone() -> None:
    told = tell("<!-- explained: LOOKUP call, key -->\n", CAPTURE, {})
    assert told.splitlines()[2].split() == ["52", "key", '"name"', "—", "property", "name"]
    assert len(told.splitlines()) == 6


def test_long_explanations_go_on_below_what_they_explain() -> None:
    lines = tell("<!-- explained: LOOKUP call -->\n", CAPTURE, {}).splitlines()[2:-1]
    assert max(map(len, lines)) <= WIDTH
    (at,) = (place for place, each in enumerate(lines) if " word  0x" in each)
    assert lines[at + 1].index("the rest: bytes") == lines[at].index("word") + 4
    whole = " ".join(" ".join(lines).split())
    assert "top bit: last fragment of the record; the rest: bytes in this fragment" in whole


def test_message_is_chosen_by_name_kind_and_place() -> None:
    messages = read(LESSONS[4].capture)
    writes = [message for message in messages if message.name == "WRITEPROP" and message.kind == "call"]
    assert choose(messages, "WRITEPROP call", 3) is writes[2]
    with pytest.raises(StoryError, match="has 3 of 'WRITEPROP call', not 4"):
        choose(messages, "WRITEPROP call", 4)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("explained: LOOKUP", "'LOOKUP' does not say which message"),
        ("explained: LOOKUP call 2", "has 1 of 'LOOKUP call', not 2"),
        ("explained: LOOKUP call, colour", "LOOKUP call has no field 'colour'"),
        ("figure: nude", "no figure 'nude'"),
    ],
)
def test_block_that_cannot_be_made_is_an_error(wanted: str, sentence: str) -> None:
    with pytest.raises(StoryError, match=sentence):
        tell(f"<!-- {wanted} -->\n", CAPTURE, {})


def test_spoken_page_separates_text_and_blocks(tmp_path: Path) -> None:
    page = "a\n\n<!-- figure: one -->\n```text\nb\nb\n```\n\nc\n"
    assert list(spoken(page)) == [("a\n\n", False), ("b\nb\n", True), ("\nc\n", False)]
