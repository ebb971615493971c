"""One readable line in the log for each request: who called what, what came of it, how long it took.

SUP's server logs a line for each of its sessions itself; these are the lines of remote procedure calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs
from twisted.logger import Logger

from wire.capture.messages import Message, Notice, RpcMessage
from wire.capture.text import detail, duration, plain

log = Logger()

UNANSWERED = 5.0
"""Seconds after which a call is taken for one that gets no reply; a reply that is later has a line of its own."""
WAITING = 4096
"""Calls that wait for their reply at once; past it the oldest is told without."""
LINE = 180
"""Characters of arguments and of results that a line shows."""


def _say(line: str) -> None:
    log.info("{line}", line=line)


class RequestLog:
    """Listens to a `Watcher`; `sweep` is to be called about once a second."""

    def __init__(self, say: Callable[[str], None] = _say) -> None:
        self._say = say
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()

    def __call__(self, message: Message) -> None:
        if isinstance(message, Notice):
            self._say(f"{_who(message)}  {plain(message.text)}")
            return
        if not isinstance(message, RpcMessage):
            return
        if message.kind == "call":
            self._waiting[message.number] = _Waiting(message.time, _who(message), _asked(message))
            if len(self._waiting) > WAITING:
                self._unanswered(self._waiting.popitem(last=False)[1])
        elif message.kind == "reply":
            call = self._waiting.pop(message.call.number, None) if message.call is not None else None
            self._say(request_line(call.asked if call is not None else message.name, message))
        else:
            self._say(f"{_who(message)}  bytes that are no call: {message.damage}")

    def sweep(self, now: float) -> None:
        """Tell of the calls that have had no reply for too long; *now* in seconds since 1970."""
        while self._waiting:
            number, call = next(iter(self._waiting.items()))
            if now - call.time < UNANSWERED:
                return
            del self._waiting[number]
            self._unanswered(call)

    def _unanswered(self, call: _Waiting) -> None:
        self._say(f"{call.who}  {call.asked} → no reply")


@attrs.frozen
class _Waiting:
    """What is told of a call once its reply comes; not the call itself, which may be long."""

    time: float
    who: str
    asked: str


def request_line(asked: str, reply: RpcMessage) -> str:
    """The line of a call, of which *asked* tells what it asked, and its reply."""
    parts = [f"{_who(reply)}  {asked} → {reply.status}"]
    if reply.body is not None and (said := detail(reply)):
        parts.append(_cut(said))
    if reply.latency is not None:
        parts.append(f"({duration(reply.latency)})")
    return " ".join(parts)


def _who(message: Message) -> str:
    conversation = message.conversation
    return f"{conversation.service}  {conversation.client_text} {conversation.transport}"


def _asked(call: RpcMessage) -> str:
    arguments = detail(call)
    return f"{call.name} {_cut(arguments)}" if arguments else call.name


def _cut(text: str) -> str:
    return text if len(text) <= LINE else text[: LINE - 1] + "…"
