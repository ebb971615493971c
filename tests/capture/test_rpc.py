"""wire.capture.rpc: records and datagrams, calls and replies, and finding the way again after a loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import A, B, call, datagrams, messages, record, reply, segment, talk
from wire.capture import rpc as followed
from wire.capture.messages import Message, Notice, RpcMessage
from wire.capture.packets import Datagram
from wire.codec import codec
from wire.formats import rpc
from wire.formats.errors import Damage
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Result
from wire.formats.nibind import NIBIND, BindArgs
from wire.formats.portmap import PORTMAP, CallitArgs, CallitResult

ROOT = NiId(0, 0)
ASK = call("LOOKUP", LookupArgs(ROOT, b"name", b"machines"), xid=7)
ANSWER = reply("LOOKUP", Result(NiStatus.NI_OK, LookupBody((1,), ROOT)), xid=7)
UNSEEN = "not in the capture, although the receiver had them"
PING, PONG = call("PING", xid=8), reply("PING", xid=8)


def rpcs(found: list[Message]) -> list[RpcMessage]:
    return [message for message in found if isinstance(message, RpcMessage)]


def told(found: list[Message]) -> list[str]:
    return [message.text for message in found if isinstance(message, Notice)]


def test_a_call_and_its_reply() -> None:
    ask, answer = rpcs(messages(talk(("client", record(ASK)), ("server", record(ANSWER)))))
    assert (ask.kind, ask.protocol, ask.name, ask.status, ask.latency) == (
        "call",
        "netinfo",
        "LOOKUP",
        "",
        None,
    )
    assert ask.value == LookupArgs(ROOT, b"name", b"machines")
    assert (answer.kind, answer.name, answer.status) == ("reply", "LOOKUP", "NI_OK")
    assert answer.latency == pytest.approx(0.1)
    assert answer.value.body == LookupBody((1,), ROOT)
    assert answer.call is not None
    assert answer.call.number == ask.number
    assert (ask.source, ask.destination) == ("10.0.0.1:700", "10.0.0.2:877")
    assert answer.source == "10.0.0.2:877"


@pytest.mark.parametrize("size", [1, 3, 4, 16, 40])
def test_records_in_fragments_of_any_size(size: int) -> None:
    ask, answer = rpcs(messages(talk(("client", record(ASK, size)), ("server", record(ANSWER, size)))))
    assert (ask.record, answer.record) == (ASK, ANSWER)
    assert ask.raw == record(ASK, size)
    assert len(ask.marks) == -(-len(ASK) // size)


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 200))
def test_any_segmentation(cuts: list[int], size: int) -> None:
    stream = record(ASK, size) + record(PING) + record(ASK.replace(b"\0\0\0\7", b"\0\0\0\x09", 1), size)
    pieces = []
    for cut in cuts:
        pieces.append(("client", stream[:cut]))
        stream = stream[cut:]
    pieces.append(("client", stream))
    found = rpcs(messages(talk(*(piece for piece in pieces if piece[1]))))
    assert [message.name for message in found] == ["LOOKUP", "PING", "LOOKUP"]


def test_replies_out_of_order_find_their_calls() -> None:
    found = rpcs(
        messages(talk(("client", record(ASK) + record(PING)), ("server", record(PONG) + record(ANSWER))))
    )
    assert [message.name for message in found] == ["LOOKUP", "PING", "PING", "LOOKUP"]
    assert found[3].value.body == LookupBody((1,), ROOT)


def test_over_udp() -> None:
    ask, again, answer, second, late = rpcs(
        messages(
            datagrams(
                ("client", PING), ("client", PING), ("server", PONG), ("server", PONG), ("client", PING)
            )
        )
    )
    assert again.notes == ("sends call 1 again",)
    assert again.again == ask.number
    assert (answer.name, answer.notes) == ("PING", ())
    assert second.notes == ("reply 2 to call 1",)
    assert late.notes == ("sends call 1 again, which was answered",)


def test_an_xid_used_for_another_call_is_another_call() -> None:
    other = call("ROOT", xid=8)
    _, second, answer = rpcs(messages(datagrams(("client", PING), ("client", other), ("server", PONG))))
    assert second.notes == ()
    assert answer.call is not None
    assert answer.call.number == second.number


def test_the_second_reply_of_next_after_a_rejection() -> None:
    denied = rpc.Rejected(rpc.RejectStatus.AUTH_ERROR, rpc.AuthStatus.AUTH_TOOWEAK)
    refusal = codec(rpc.Message).build(
        rpc.Message(7, rpc.MsgType.REPLY, rpc.Reply(rpc.ReplyStatus.MSG_DENIED, denied))
    )
    _, first, second = rpcs(messages(datagrams(("client", ASK), ("server", refusal), ("server", ANSWER))))
    assert (first.status, first.failed) == ("AUTH_TOOWEAK", True)
    assert (second.status, second.notes) == ("NI_OK", ("reply 2 to call 1",))


def test_a_reply_without_its_call() -> None:
    _, answer = rpcs(messages(talk(("client", record(PING)), ("server", record(ANSWER)))))
    assert answer.notes == ("its call is not in the capture, so its results cannot be read",)
    assert (answer.name, answer.value, answer.damage) == ("?", None, None)


def test_a_broadcast_is_answered_from_elsewhere() -> None:
    everybody = bytes((255, 255, 255, 255))
    arguments = codec(BindArgs).build(BindArgs(0x0A000001, b"local", b"network"))
    ask = call("CALLIT", CallitArgs(NIBIND.number, 1, 8, arguments), 5, PORTMAP)
    answer = reply("CALLIT", CallitResult(1015, b""), 5, PORTMAP)
    found = messages(
        [
            Datagram(1, 0.1, A, everybody, 900, 111, ask, 0, ""),
            Datagram(2, 0.2, B, A, 111, 900, answer, 0, ""),
            Datagram(3, 0.3, B, A, 111, 900, answer, 0, ""),
        ]
    )
    assert [message.name for message in found] == ["CALLIT"] * 3
    assert found[1].value == CallitResult(1015, b"")
    assert found[1].source == "10.0.0.2:111"
    assert found[2].notes == ("reply 2 to call 1",)


def test_a_lost_reply_from_a_server_that_is_known() -> None:
    found = messages([*datagrams(("client", PING)), Datagram(2, 0.2, B, A, 877, 999, ANSWER, 0, "")])
    assert found[1].notes == ("its call is not in the capture, so its results cannot be read",)


@pytest.mark.parametrize(
    ("data", "name", "protocol"),
    [
        (call("ROOT")[:16] + bytes((0, 0, 0, 9)) + call("ROOT")[20:], "200100000.9.2", "netinfo"),
        (call("ROOT")[:20] + bytes((0, 0, 0, 99)) + call("ROOT")[24:], "200100000.2.99", "netinfo"),
    ],
)  # fmt: skip
def test_versions_and_procedures_that_are_not_known(data: bytes, name: str, protocol: str) -> None:
    (found,) = rpcs(messages(datagrams(("client", data + b"args"))))
    assert (found.name, found.protocol) == (name, protocol)


def test_damage_is_named() -> None:
    short, surplus, header = rpcs(
        messages(datagrams(("client", ASK[:-6]), ("client", PING + b"more"), ("client", ASK[:30])))
    )
    assert short.damage is not None
    assert (short.damage.kind, short.damage.path) == (Damage.TRUNCATED, "value")
    assert surplus.damage is not None
    assert surplus.damage.kind is Damage.TRAILING
    assert (header.kind, header.name) == ("damaged", "?")
    assert header.damage is not None
    assert header.damage.kind is Damage.TRUNCATED


def test_a_snapped_datagram_is_explained_as_far_as_it_goes() -> None:
    packet = datagrams(("client", ASK))[0]._replace(payload=ASK[:50], missing=len(ASK) - 50)
    (found,) = rpcs(messages([packet]))
    assert found.notes == ("not whole: 18 bytes are cut off by the recorder's snap length",)
    assert found.name == "LOOKUP"


# ----------------------------------------------------------------------------------------------------------- losses


def test_a_gap_inside_a_record_costs_only_that_record() -> None:
    marked = record(ASK)
    found = messages(
        talk(
            ("client", record(PING) + marked[:50]),
            ("lost client", marked[50:60]),
            ("client", marked[60:] + record(PING)),
        )
    )
    assert [message.name for message in rpcs(found)] == ["PING", "LOOKUP", "PING"]
    assert rpcs(found)[1].notes == (f"not whole: 10 bytes are {UNSEEN}",)
    assert rpcs(found)[1].record == ASK[:46]
    assert told(found) == [f"10 bytes are {UNSEEN}"]


def test_a_gap_at_the_end_of_a_record() -> None:
    marked = record(ASK)
    found = messages(
        talk(("client", record(PING) + marked[:50]), ("lost client", marked[50:]), ("client", record(PING)))
    )
    assert [message.name for message in rpcs(found)] == ["PING", "LOOKUP", "PING"]


def test_a_gap_over_several_records_goes_on_with_the_next_call() -> None:
    lost = record(ASK) + record(PING) + record(ASK)[:9]
    rest = record(ASK)[9:] + record(PING)
    found = messages(talk(("client", record(PING)), ("lost client", lost), ("client", rest + record(ASK))))
    assert [message.name for message in rpcs(found)] == ["PING", "PING", "LOOKUP"]
    assert told(found) == [f"{len(lost)} bytes are {UNSEEN}; looking for the next record"]


def test_after_a_gap_a_reply_to_a_known_call_is_found() -> None:
    found = messages(
        talk(
            ("client", record(PING) + record(ASK)),
            ("lost server", record(PONG) + bytes(7)),
            ("server", b"\1\2\3" + record(ANSWER)),
        )
    )
    assert [message.name for message in rpcs(found)] == ["PING", "LOOKUP", "LOOKUP"]


def test_the_end_of_the_capture_inside_a_record() -> None:
    (found,) = rpcs(messages(talk(("client", record(ASK)[:50]), ends=False)))
    assert found.notes == ("not whole: the record ends here: the capture ends",)


def test_a_capture_that_begins_inside_a_connection() -> None:
    found = rpcs(
        messages(
            [
                segment(record(ANSWER)[5:], 500, back=True, frame=1),
                segment(record(ASK)[3:], 100, frame=2),
                segment(record(PING), 100 + len(record(ASK)) - 3, frame=3),
                segment(record(PONG), 500 + len(record(ANSWER)) - 5, back=True, frame=4),
            ]
        )
    )
    assert [message.kind for message in found] == ["call", "reply"]
    assert found[0].source == "10.0.0.1:700"


def test_a_fragment_longer_than_any_record() -> None:
    found = messages(talk(("client", record(PING) + b"\xff\xff\xff\xff" + record(ASK))))
    assert [message.name for message in rpcs(found)] == ["PING", "LOOKUP"]
    assert told(found)[0].startswith("a fragment claims 2,147,483,647 bytes")


def test_a_record_of_countless_fragments_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark alone costs four bytes to send and far more to keep: a gigabyte of zeros must not fill the memory."""
    monkeypatch.setattr(followed, "MAX_FRAGMENTS", 20)
    found = messages(talk(("client", record(PING) + bytes(4 * 21) + record(ASK))))
    assert [message.name for message in rpcs(found)] == ["PING", "LOOKUP"]
    assert told(found)[0].startswith("a record comes in more than 20 fragments")
    found = messages(talk(("client", bytes(4 * 19) + record(PING))))
    assert [message.name for message in rpcs(found)] == ["PING"]


NOT_THERE = ("its call is not in the capture, so its results cannot be read",)


def test_calls_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "MAX_CALLS", 20)
    asked = [("client", call("PING", xid=number)) for number in range(21)]
    found = messages(datagrams(*asked, ("server", reply("PING", xid=0)), ("server", reply("PING", xid=1))))
    assert found[-2].notes == NOT_THERE
    assert found[-1].name == "PING"


def test_calls_of_all_conversations_together_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followed, "MAX_CALLS", 20)
    pairs = [datagrams(("client", PING), ("server", PONG), port=700 + number) for number in range(21)]
    again = datagrams(
        ("client", ASK), port=720
    )  # the same xid in a second call, which takes the place of the first
    found = messages([*(pair[0] for pair in pairs), pairs[0][1], pairs[1][1], *again, pairs[2][1]])
    assert [one.notes for one in found[21:]] == [NOT_THERE, (), (), ()]


@given(st.binary(max_size=120), st.binary(max_size=60))
def test_hostile_bytes_end_in_words(data: bytes, more: bytes) -> None:
    messages(talk(("client", record(PING) + data), ("server", more), ("client", record(ASK)[:40] + more)))
    messages(
        datagrams(
            ("client", PING), ("server", data), ("client", PING[:24] + data), ("server", PONG[:8] + more)
        )
    )
