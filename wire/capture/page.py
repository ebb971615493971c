"""A page that explains messages: one HTML file with everything in it, for a browser without a network.

The page itself is ``page.html`` beside this module; here its data is made: messages, conversations, and the
field tree of each message with every sentence said once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from wire.capture.explanation import explanation
from wire.capture.messages import Conversation, Message, RpcMessage
from wire.capture.text import detail, doc_of, moment, plain, remarks, says_of, summary
from wire.explain import Node

MAX_MESSAGES = 5_000
"""Messages in one page; a browser is slow with more, and --follow and --where choose."""
MAX_BYTES = 4_096
"""Bytes of one message that are shown in hex."""
MAX_PARTS = 500
"""Parts of one field that are shown; a list of a million names says no more than its first five hundred."""


def page(messages: Iterable[Message], title: str) -> str:
    """The HTML of a page with *messages*, at most `MAX_MESSAGES` of them; *title* stands above them."""
    made = _Page()
    left_out = 0
    for message in messages:
        if len(made.messages) < MAX_MESSAGES:
            made.add(message)
        else:
            left_out += 1
    template = files("wire.capture").joinpath("page.html").read_text(encoding="utf-8")
    text = json.dumps(made.data(left_out), ensure_ascii=False, separators=(",", ":"))
    # In a script element, "<" could only begin its end or a comment; in JSON it is only ever part of a
    # string.
    data = Markup(text.replace("<", "\\u003c"))  # noqa: S704
    return Environment(autoescape=True).from_string(template).render(title=plain(title), data=data)


class _Page:
    """The data of a page under construction."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._conversations: dict[int, Conversation] = {}
        self._docs: dict[str, int] = {"": 0}
        self._start = 0.0

    def add(self, message: Message) -> None:
        """Puts a message into the page, under the short names that its script uses."""
        if not self.messages:
            self._start = message.time
        if message.conversation.number:
            self._conversations[message.conversation.number] = message.conversation
        tree = explanation(message)
        shown = message.raw[:MAX_BYTES]
        self.messages.append(
            {
                "n": message.number,
                "c": message.conversation.number,
                "t": round(message.time - self._start, 6),
                "f": message.from_client,
                "p": message.protocol,
                "k": message.kind,
                "w": _what(message),
                "s": message.status,
                "l": None if message.latency is None else round(message.latency, 6),
                "x": message.failed,
                "d": detail(message),
                "r": [note for note in (remarks(message),) if note],
                "h": shown.hex(),
                "o": message.size - len(shown),
                "e": None if tree is None else self._node(tree, len(shown)),
                "line": summary(message, self._start),
            }
        )

    def _node(self, node: Node, size: int) -> list[Any]:
        """A field as an array: name, first byte, byte after its last, meaning, sentence, damage, parts."""
        doc = self._docs.setdefault(doc_of(node), len(self._docs))
        start, end = min(node.start, size), min(node.end, size)
        parts = [self._node(child, size) for child in node.children[:MAX_PARTS]]
        if len(node.children) > MAX_PARTS:
            rest = len(node.children) - MAX_PARTS
            place = min(node.children[MAX_PARTS].start, size)
            parts.append([f"… {rest:,} more", place, end, "", 0, False, []])
        return [plain(node.name), start, end, says_of(node), doc, node.damage is not None, parts]

    def data(self, left_out: int) -> dict[str, Any]:
        """Everything the page's script needs."""
        about = f"{len(self.messages):,} messages"
        if self.messages:
            about += f" from {moment(self._start)} on"
        if left_out:
            about += f"; {left_out:,} more are left out: choose with --follow or --where"
        return {
            "about": about,
            "messages": self.messages,
            "docs": list(self._docs),
            "conversations": {
                number: {
                    "client": talk.client_text,
                    "server": talk.server_text,
                    "protocol": talk.protocol,
                    "transport": talk.transport,
                    "service": plain(talk.service),
                }
                for number, talk in self._conversations.items()
            },
        }


def _what(message: Message) -> str:
    """What a message is called in the list."""
    if message.kind == "notice":
        return "notice"
    return f"{message.name} {message.kind}" if isinstance(message, RpcMessage) else message.name
