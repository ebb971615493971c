"""The datagrams of a multicall, and what counts as an answer (NETINFO 4.3)."""

from __future__ import annotations

from netinfo.client.multicall import Multicall
from netinfo.client.network import Target
from wire.codec import codec
from wire.formats.nibind import NIBIND, BindArgs
from wire.formats.portmap import PORTMAP, CallitArgs, CallitResult
from wire.formats.rpc import AUTH_NONE, Accepted, AcceptStatus, Message, MsgType, Reply, ReplyStatus

ARGS = CallitArgs(
    NIBIND.number,
    1,
    8,
    codec(NIBIND.by_name["BIND"].argument).build(BindArgs(0xC02AAC05, b"local", b"network")),
)
TARGETS = tuple(
    Target(host, 111, PORTMAP, PORTMAP.by_name["CALLIT"], ARGS) for host in ("10.0.0.1", "255.255.255.255")
)
CALLS = Multicall(TARGETS, 0x33333333)


def reply(xid: int, status: AcceptStatus = AcceptStatus.SUCCESS, body: bytes = b"") -> bytes:
    header = Message(xid, MsgType.REPLY, Reply(ReplyStatus.MSG_ACCEPTED, Accepted(AUTH_NONE, status, None)))
    return codec(Message).build(header) + body


GOOD = codec(PORTMAP.by_name["CALLIT"].result).build(CallitResult(1015, b""))


def test_the_first_call_is_the_spec_s() -> None:
    host, port, call = next(CALLS.datagrams())
    assert (host, port) == ("10.0.0.1", 111)
    assert call == bytes.fromhex(
        "33333333 00000000 00000002 000186a0 00000002 00000005 00000000 00000000"
        "00000000 00000000 0bed48a1 00000001 00000008 0000001c c02aac05 00000005"
        "6c6f6361 6c000000 00000007 6e657477 6f726b00"
    )


def test_each_target_has_its_own_number() -> None:
    assert [call[:4] for _, _, call in CALLS.datagrams()] == [b"3333", b"3334"]


def test_an_answer_tells_its_question_and_its_sender() -> None:
    spec = bytes.fromhex("33333333 00000001 00000000 00000000 00000000 00000000 000003f7 00000000")
    answer = CALLS.answer(spec, "10.0.0.1")
    assert answer is not None
    assert (answer.index, answer.host, answer.result) == (0, "10.0.0.1", CallitResult(1015, b""))
    other = CALLS.answer(reply(0x33333334, body=GOOD), "10.0.0.77")
    assert other is not None
    assert (other.index, other.host) == (1, "10.0.0.77")


def test_everything_else_is_silence() -> None:
    for datagram in (
        b"",
        b"333",
        reply(0x33333332, body=GOOD),
        reply(0x33333335, body=GOOD),
        reply(0x33333333, AcceptStatus.SYSTEM_ERR),
        reply(0x33333333, body=GOOD[:-1]),
        next(CALLS.datagrams())[2],
    ):
        assert CALLS.answer(datagram, "10.0.0.1") is None


def test_numbers_are_not_easily_guessed() -> None:
    assert len({Multicall(TARGETS).first_xid for _ in range(8)}) == 8
