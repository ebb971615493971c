"""wire.capture.statistics: figures, and round trips that were wasted."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import call, datagrams, messages, record, reply, talk
from tests.capture.test_sup import session
from wire.capture import statistics
from wire.capture.messages import Message
from wire.capture.statistics import Latencies, Statistics
from wire.formats.netinfo import NamelistBody, NiId, NiStatus, PropArgs, Result, WriteArgs

ROOT = NiId(0, 0)


def figures(found: list[Message]) -> Statistics:
    made = Statistics()
    for message in found:
        made.add(message)
    json.dumps(made.as_dict())
    return made


def wasted(*pieces: tuple[str, bytes]) -> int:
    made = figures(messages(talk(*((who, record(data)) for who, data in pieces))))
    return sum(row.wasted for row in made.rows.values())


def read(xid: int, answer: bytes = b"x") -> list[tuple[str, bytes]]:
    result = Result(NiStatus.NI_OK, NamelistBody((answer,), ROOT))
    return [
        ("client", call("READPROP", PropArgs(ROOT, 1), xid)),
        ("server", reply("READPROP", result, xid)),
    ]


def test_counts() -> None:
    made = figures(
        messages(
            talk(
                ("client", record(call("ROOT", None, 1)) + record(call("PING", None, 2))),
                ("server", record(reply("ROOT", Result(NiStatus.NI_STALE, None), 1))),
            )
        )
    )
    row = made.rows["netinfo", "ROOT"]
    assert (row.calls, row.replies, row.failed, row.bytes) == (1, 1, 1, 44 + 32)
    assert row.latencies.percentile(0.5) == pytest.approx(0.1, rel=0.02)
    assert (made.messages, made.conversations, made.bytes) == (3, 1, 44 + 44 + 32)
    assert made.statuses == {("netinfo", "NI_STALE"): 1}
    assert [one.name for one in made.sorted_rows()] == ["ROOT", "PING"]


def test_an_empty_capture() -> None:
    made = figures([]).as_dict()
    assert (made["messages"], made["seconds"], made["rows"]) == (0, 0.0, [])


def test_the_same_question_twice() -> None:
    assert wasted(*read(1), *read(2), *read(3)) == 2
    assert wasted(*read(1), *read(2, b"another")) == 0
    write = [
        ("client", call("WRITE", WriteArgs(ROOT, ()), 5)),
        ("server", reply("WRITE", Result(NiStatus.NI_OK, ROOT), 5)),
    ]
    assert wasted(*read(1), *write, *read(2)) == 0


def test_a_call_sent_again() -> None:
    found = messages(datagrams(("client", call("PING")), ("client", call("PING")), ("server", reply("PING"))))
    assert figures(found).rows["netinfo", "PING"].wasted == 1


def test_listprops_and_readprop_where_one_read_would_do() -> None:
    listed = [
        ("client", call("LISTPROPS", ROOT, 8)),
        ("server", reply("LISTPROPS", Result(NiStatus.NI_OK, NamelistBody((b"name",), ROOT)), 8)),
    ]
    assert wasted(*listed, *read(1)) == 1
    assert wasted(*read(1)) == 0


def test_sup_in_lock_step_and_in_a_window() -> None:
    said = session()
    assert figures(messages(talk(*said))).rows["sup", "SEND"].wasted == 2
    sends = [piece for piece in said[14:] if piece[0] == "client"][:-1]
    others = [piece for piece in said[14:] if piece not in sends]
    assert figures(messages(talk(*said[:14], *sends, *others))).rows["sup", "SEND"].wasted == 0


def test_notices_are_counted_apart() -> None:
    made = figures(messages(talk(*session()[:5], ("client", b"\x99" * 8))))
    assert (made.notices, made.messages) == (1, 5)


def test_memory_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_KNOWN", 5)
    made = Statistics()
    for port in range(20):
        pieces = [("client", record(call("SELF", NiId(number, 0), number))) for number in range(20)]
        for message in messages(talk(*pieces, port=1000 + port)):
            message.conversation.number = port + 1
            made.add(message)
    assert len(made._talks) == 5
    assert all(len(talk.asked) <= 5 for talk in made._talks.values())
    assert made.conversations == 20


def test_names_without_end_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_NAMES", 5)
    asked = [
        call("PING", None, number)[:20] + number.to_bytes(4, "big") + bytes(16) for number in range(100, 140)
    ]
    answers = [reply("SELF", Result(cast(NiStatus, number), None), number) for number in range(200, 220)]
    calls = [call("SELF", NiId(0, 0), number) for number in range(200, 220)]
    made = figures(
        messages(
            datagrams(*(("client", one) for one in [*asked, *calls]), *(("server", one) for one in answers))
        )
    )
    assert len(made.rows) <= 7
    assert made.rows["netinfo", "others"].calls >= 35
    assert sum(row.calls for row in made.rows.values()) == 60
    assert sum(made.statuses.values()) == 20
    assert made.statuses["netinfo", "others"] == 15


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_percentiles_are_nearly_exact(values: list[float], part: float) -> None:
    import math

    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[math.ceil(len(values) * part) - 1]
    assert latencies.percentile(part) == pytest.approx(exact, rel=0.011)


def test_no_latency_has_no_percentile() -> None:
    assert Latencies().percentile(0.5) is None
    latencies = Latencies()
    latencies.add(0.0)
    assert latencies.percentile(0.99) == pytest.approx(1e-7, rel=0.02)
