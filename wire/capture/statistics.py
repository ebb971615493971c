"""What a capture amounts to: calls, failures, bytes and latencies by procedure, and round trips that were
wasted.

A round trip is counted as wasted where the same could have been had without it: a call sent again; a reading
call whose answer the same conversation had already got, nothing having been written since; READPROP after
LISTPROPS of the same directory, which one READ answers (NETINFO 2.6); and in SUP every SEND that waited for
the RECV before it although it could have been under way already (SUP 10.2). Memory does not grow with the
capture.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from typing import Any

import attrs

from wire.capture.messages import Message, Notice, RpcMessage, SupMessage
from wire.formats import netinfo

STEPS = 50
"""Buckets of a histogram per factor e, so that a percentile is exact to about two percent."""
MAX_KNOWN = 1024
"""Conversations, and answers of each, that are remembered to recognise what was asked twice."""
MAX_NAMES = 1000
"""Procedures, and statuses, that are counted apart; real programs have a hundred, hostile bytes any number."""
OTHERS = "others"


class Latencies:
    """A histogram of seconds with logarithmic buckets."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, seconds: float) -> None:
        self._buckets[round(math.log(max(seconds, 1e-7)) * STEPS)] += 1
        self.count += 1

    def merge(self, other: Latencies) -> None:
        """Adds those of another histogram."""
        self._buckets += other._buckets
        self.count += other.count

    def percentile(self, part: float) -> float | None:
        """The latency, in seconds, that *part* (0 to 1) of all stay below; None without any."""
        wanted = math.ceil(self.count * part)
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                return math.exp(bucket / STEPS)
        return None


@attrs.define
class Row:
    """The figures of one procedure, or of one type of SUP message."""

    protocol: str
    name: str
    calls: int = 0
    replies: int = 0
    failed: int = 0
    bytes: int = 0
    wasted: int = 0
    latencies: Latencies = attrs.field(factory=Latencies)

    def merge(self, other: Row) -> None:
        """Adds the figures of the same row of another capture."""
        for name in ("calls", "replies", "failed", "bytes", "wasted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies.merge(other.latencies)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; latencies in seconds."""
        made = {
            field.name: getattr(self, field.name) for field in attrs.fields(Row) if field.name != "latencies"
        }
        return made | {"p50": self.latencies.percentile(0.5), "p99": self.latencies.percentile(0.99)}


@attrs.define
class _Talk:
    """What is remembered of one conversation."""

    answers: OrderedDict[int, int] = attrs.field(factory=OrderedDict)  # digest of a question -> of its answer
    asked: dict[int, int] = attrs.field(factory=dict)  # xid -> digest of the question
    listed: int | None = None  # directory whose properties were just listed
    outstanding: int = 0  # SENDs without their RECV
    sends: int = 0


class Statistics:
    """Counts messages as they come."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.statuses: Counter[tuple[str, str]] = Counter()
        self.messages = 0
        self.notices = 0
        self.damaged = 0
        self.bytes = 0
        self.first: float | None = None
        self.last = 0.0
        self._last_conversation = 0
        self.conversations = 0
        self._talks: OrderedDict[int, _Talk] = OrderedDict()

    @property
    def seconds(self) -> float:
        """From the first message to the last."""
        return 0.0 if self.first is None else self.last - self.first

    def merge(self, other: Statistics) -> None:
        """Adds the figures of another capture."""
        for key, row in other.rows.items():
            self.rows.setdefault(key, Row(*key)).merge(row)
        self.statuses += other.statuses
        self.messages += other.messages
        self.notices += other.notices
        self.damaged += other.damaged
        self.bytes += other.bytes
        self.conversations += other.conversations
        if other.first is not None:
            self.first = other.first if self.first is None else min(self.first, other.first)
            self.last = max(self.last, other.last)

    def add(self, message: Message) -> None:
        """Takes the next message."""
        self.first = message.time if self.first is None else min(self.first, message.time)
        self.last = max(self.last, message.time)
        if message.conversation.number > self._last_conversation:
            self._last_conversation = message.conversation.number
            self.conversations += 1
        if isinstance(message, Notice):
            self.notices += 1
            return
        self.messages += 1
        self.damaged += message.damage is not None
        self.bytes += message.size
        key = (message.protocol, message.name)
        row = self.rows.get(key)
        if row is None:
            if len(self.rows) >= MAX_NAMES:
                key = (message.protocol, OTHERS)
            row = self.rows.setdefault(key, Row(*key))
        row.bytes += message.size
        if message.from_client:
            row.calls += 1
        else:
            row.replies += 1
        if message.status:
            status = (message.protocol, message.status)
            if len(self.statuses) >= MAX_NAMES and status not in self.statuses:
                status = (message.protocol, OTHERS)
            self.statuses[status] += 1
        row.failed += message.failed
        if message.latency is not None and message.latency >= 0:
            row.latencies.add(message.latency)
        row.wasted += self._wasted(message)

    def as_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {
            "messages": self.messages,
            "conversations": self.conversations,
            "notices": self.notices,
            "damaged": self.damaged,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 6),
            "rows": [row.as_dict() for row in self.sorted_rows()],
            "statuses": [
                {"protocol": protocol, "status": status, "count": count}
                for (protocol, status), count in self.statuses.most_common()
            ],
        }

    def sorted_rows(self) -> list[Row]:
        """Rows by protocol, most messages first."""
        return sorted(self.rows.values(), key=lambda row: (row.protocol, -row.calls - row.replies, row.name))

    # ------------------------------------------------------------------------------------- wasted round trips

    def _wasted(self, message: Message) -> int:
        number = message.conversation.number
        talk = self._talks.get(number)
        if talk is None:
            talk = self._talks[number] = _Talk()
            if len(self._talks) > MAX_KNOWN:
                self._talks.popitem(last=False)
        if isinstance(message, RpcMessage):
            return _rpc_wasted(message, talk)
        return _sup_wasted(message, talk) if isinstance(message, SupMessage) else 0


def _rpc_wasted(message: RpcMessage, talk: _Talk) -> int:
    procedure, xid = message.procedure, message.xid
    if procedure is None or xid is None:
        return 0
    if message.kind == "call":
        if message.again:
            return 1
        if procedure.mutates:
            talk.answers.clear()
        else:
            if len(talk.asked) >= MAX_KNOWN:
                talk.asked.clear()
            talk.asked[xid] = hash((procedure.number, message.record[message.start :]))
        return _listed_before(message, talk)
    question = talk.asked.pop(xid, None)
    if question is None:
        return 0
    answer = hash(message.record[message.start :])
    known = talk.answers.get(question)
    talk.answers[question] = answer
    if len(talk.answers) > MAX_KNOWN:
        talk.answers.popitem(last=False)
    return int(known == answer)


def _listed_before(message: RpcMessage, talk: _Talk) -> int:
    """Whether READPROP fetches what one READ in place of LISTPROPS would have brought."""
    before, talk.listed = talk.listed, None
    if message.program is netinfo.NETINFO:
        if message.name == "LISTPROPS" and isinstance(message.body, netinfo.NiId):
            talk.listed = message.body.object
        elif message.name == "READPROP" and isinstance(message.body, netinfo.PropArgs):
            return int(message.body.id.object == before)
    return 0


def _sup_wasted(message: SupMessage, talk: _Talk) -> int:
    if message.type == "SEND":
        talk.outstanding += 1
        talk.sends += 1
        return int(talk.outstanding == 1 and talk.sends > 1)
    if message.type == "RECV":
        talk.outstanding = max(0, talk.outstanding - 1)
    return 0
