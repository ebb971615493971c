"""A lesson's page with what a capture shows in it: whatever the text says about bytes is made from a recording.

A page is Markdown. Where a comment such as ``<!-- explained: LOOKUP call -->`` stands, the code block after it is
generated, and so are the pages of the docs, from the capture beside them; `ghostports lesson run` makes the same text
from the exchange it has just played. There are three kinds of such blocks:

    <!-- exchange -->  <!-- exchange: NAME ... -->       a line for each message, or for those of these names
    <!-- explained: NAME KIND [NTH][, FIELD] -->         every byte of one message, or of one field of it
    <!-- figure: NAME -->                                what a function of the lesson draws from the capture
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap

from wire.capture.conversations import dissect
from wire.capture.explanation import explanation
from wire.capture.messages import Message
from wire.capture.text import detail, field_lines, remarks

Figure = Callable[[Path], str]
"""Draws something from the capture at that path."""

WIDTH = 94
"""Columns of a generated line: what a page of the manual shows."""
SAYS = 33
"""The column in which what a field says begins (`wire.capture.text`)."""
_BLOCK = re.compile(
    r"^<!-- (exchange|explained|figure)(?:: ([^>\n]+))? -->\n(?:```text\n.*?^```\n)?", re.M | re.S
)
_CHOICE = re.compile(r"(\w+) (call|reply|message)(?: (\d+))?(?:, ([\w. ]+))?")


class StoryError(ValueError):
    """A page that asks for what its capture does not hold; the sentence says which and where."""


def read(capture: Path) -> list[Message]:
    """The messages of a capture file. Raises OSError, CaptureError."""
    with capture.open("rb") as file:
        return list(dissect(file))


def tell(page: str, capture: Path, figures: Mapping[str, Figure]) -> str:
    """*page* with its blocks made anew from a capture. Raises StoryError."""
    messages = read(capture)

    def block(found: re.Match[str]) -> str:
        kind, wanted = found[1], (found[2] or "").strip()
        if kind == "exchange":
            made = "\n".join(_exchange(messages, wanted.split()))
        elif kind == "explained":
            made = "\n".join(_explained(messages, wanted))
        elif wanted in figures:
            made = figures[wanted](capture)
        else:
            raise StoryError(f"There is no figure {wanted!r}.")
        label = f"{kind}: {wanted}" if wanted else kind
        return f"<!-- {label} -->\n```text\n{made.rstrip()}\n```\n"

    return _BLOCK.sub(block, page)


def spoken(page: str) -> Iterator[tuple[str, bool]]:
    """A told page for a terminal: pieces of text, and whether each is a generated block, which must not be wrapped."""
    position = 0
    for found in _BLOCK.finditer(page):
        yield page[position : found.start()], False
        yield found[0].partition("```text\n")[2].removesuffix("```\n"), True
        position = found.end()
    yield page[position:], False


# --- the messages ---------------------------------------------------------------------------------------------------


def label(message: Message) -> str:
    """What a message is called in a page: ``LOOKUP call``, ``RECV message``."""
    return f"{message.name} {message.kind}"


def choose(messages: Sequence[Message], what: str, nth: int = 1) -> Message:
    """The *nth* message that is called *what*. Raises StoryError."""
    found = [message for message in messages if label(message) == what]
    if len(found) < nth:
        raise StoryError(f"The capture has {len(found)} of {what!r}, not {nth}.")
    return found[nth - 1]


def _exchange(messages: Sequence[Message], names: Sequence[str]) -> Iterator[str]:
    """A line for each message; equal ones in a row are counted."""
    start = messages[0].time if messages else 0.0
    chosen = (message for message in messages if not names or message.name in names)
    for _, row in groupby(
        chosen, lambda message: (message.conversation.number, label(message), detail(message))
    ):
        first, *others = row
        yield line(first, start) + (f" ({len(others)} more)" if others else "")


def line(message: Message, start: float) -> str:
    """One message in a line: milliseconds since *start*, who to whom, what."""
    service = message.conversation.service or "server"
    way = f"client → {service}" if message.from_client else f"{service} → client"
    kind = "" if message.kind == "message" else f" {message.kind}"
    noted = remarks(message)
    parts = [message.name + kind, message.status, detail(message), f"[{noted}]" if noted else ""]
    text = f"{(message.time - start) * 1000:8.2f} ms  {way:25}  {' '.join(filter(None, parts))}"
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _explained(messages: Sequence[Message], wanted: str) -> Iterator[str]:
    found = _CHOICE.fullmatch(wanted)
    if found is None:
        raise StoryError(f"{wanted!r} does not say which message is to be explained.")
    message = choose(messages, f"{found[1]} {found[2]}", int(found[3] or 1))
    tree = explanation(message)
    assert tree is not None
    node = next((node for node in tree.walk() if found[4] in (None, node.name)), None)
    if node is None:
        raise StoryError(f"{label(message)} has no field {found[4]!r}.")
    for each in field_lines(node, message.raw):
        yield from _wrapped(each)


def _wrapped(text: str) -> Iterator[str]:
    """A line of a field as lines that are not too long: the rest goes below what the field says."""
    says = text[SAYS:]
    indent = " " * (len(text) - len(says.lstrip()) + 4)
    yield from wrap(text, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)
