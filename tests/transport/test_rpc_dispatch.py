from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs

from tests.transport.services import (
    ECHO,
    FOUND,
    HERE,
    LOOKUP,
    THERE,
    UNIX,
    WANTED,
    Serving,
    echo,
    echo_call,
    lookup,
)
from wire.codec import codec
from wire.formats.netinfo import NETINFO
from wire.formats.rpc import AUTH_NONE, AcceptStatus, Auth, AuthFlavor, AuthStatus, AuthUnix, Program
from wire.transport.rpc_dispatch import (
    NO_REPLY,
    ROUTES_PER_CONNECTION,
    AcceptError,
    Caller,
    Dispatcher,
    Encoded,
    Flow,
    IncomingCall,
    Junk,
    Later,
    Outcome,
    Reject,
    Streamed,
)
from wire.transport.rpc_message import read_reply

ACCEPTED = "00000001 00000000 00000000 00000000"
DENIED_AUTH = "00000001 00000001 00000001"


def caller(*services: Any, transport: Any = "tcp") -> Caller:
    return Caller(Dispatcher(services), transport, THERE, HERE)


def serving(serve: Callable[[IncomingCall], Any]) -> Caller:
    return caller(Serving(NETINFO, serve))


def answer_to(record: bytes, *services: Any) -> str:
    outcome = caller(*services or [Serving(NETINFO, lambda call: FOUND)]).answer(record)
    assert isinstance(outcome, bytes)
    assert outcome[:4] == record[:4]
    return outcome[4:].hex(" ", 4)


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


# --- what a service sees and says -----------------------------------------------------------------------------------


def test_a_call_and_its_reply() -> None:
    service = Serving(NETINFO, lambda call: FOUND)
    outcome = caller(service).answer(lookup(0x12345678, UNIX))
    assert isinstance(outcome, bytes)
    assert outcome[:4] == words(0x12345678)
    assert read_reply(LOOKUP, outcome) == FOUND
    assert service.calls == [IncomingCall(LOOKUP, WANTED, UNIX, THERE, HERE, "tcp", words(0x12345678))]


def test_bytes_after_the_arguments_are_ignored() -> None:
    outcome = serving(lambda call: FOUND).answer(lookup() + b"\0\0\0\x07")
    assert isinstance(outcome, bytes)
    assert read_reply(LOOKUP, outcome) == FOUND


def test_a_result_built_already() -> None:
    outcome = serving(lambda call: Encoded(codec(LOOKUP.result).build(FOUND))).answer(lookup())
    assert isinstance(outcome, bytes)
    assert read_reply(LOOKUP, outcome) == FOUND


def test_no_reply() -> None:
    assert serving(lambda call: NO_REPLY).answer(lookup()) is None


def test_a_void_result_is_a_reply() -> None:
    assert answer_to(echo_call(9, "NULL", None), Serving(ECHO)) == ACCEPTED + " 00000000"


def test_a_reply_in_chunks() -> None:
    outcome = serving(lambda call: Streamed([b"ab", b"cd"])).answer(lookup(0x44444444))
    assert isinstance(outcome, Flow)
    assert outcome.header.hex(" ", 4) == f"44444444 {ACCEPTED} 00000000"
    assert list(outcome.chunks) == [b"ab", b"cd"]


@pytest.mark.parametrize("status", list(AuthStatus))
def test_a_service_denies(status: AuthStatus) -> None:
    def deny(call: IncomingCall) -> Any:
        raise Reject(status)

    assert answer_to(lookup(), Serving(NETINFO, deny)) == f"{DENIED_AUTH} {status:08x}"


def test_a_service_chooses_the_status() -> None:
    def fail(call: IncomingCall) -> Any:
        raise AcceptError(AcceptStatus.SYSTEM_ERR)

    with capturedLogs() as logs:
        assert answer_to(lookup(), Serving(NETINFO, fail)) == ACCEPTED + " 00000005"
    assert not logs


def test_a_defect_in_a_service_is_logged_and_answered() -> None:
    def broken(call: IncomingCall) -> Any:
        raise ZeroDivisionError

    with capturedLogs() as logs:
        assert answer_to(lookup(), Serving(NETINFO, broken)) == ACCEPTED + " 00000005"
    (event,) = logs
    assert event["log_failure"].check(ZeroDivisionError)
    assert event["procedure"] == "LOOKUP"


def test_a_result_that_cannot_be_sent_is_a_defect() -> None:
    with capturedLogs() as logs:
        assert answer_to(lookup(), Serving(NETINFO, lambda call: 7)) == ACCEPTED + " 00000005"
    assert len(logs) == 1


# --- results that take their time -----------------------------------------------------------------------------------


def finish(later: Outcome, one: Caller) -> list[Outcome]:
    assert isinstance(later, Later)
    outcomes: list[Outcome] = []
    Deferred.fromCoroutine(one.finish(later)).addCallback(outcomes.append)
    return outcomes


def test_a_deferred_result() -> None:
    result: Deferred[Any] = Deferred()
    one = serving(lambda call: result)
    outcomes = finish(one.answer(lookup(5)), one)
    assert outcomes == []
    result.callback(FOUND)
    (outcome,) = outcomes
    assert isinstance(outcome, bytes)
    assert outcome[:4] == words(5)
    assert read_reply(LOOKUP, outcome) == FOUND


def test_a_coroutine() -> None:
    async def serve() -> Any:
        return Encoded(await succeed(b"data"))

    one = serving(lambda call: serve())
    (outcome,) = finish(one.answer(lookup()), one)
    assert isinstance(outcome, bytes)
    assert outcome.endswith(b"data")


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Reject(AuthStatus.AUTH_TOOWEAK), f"{DENIED_AUTH} 00000005"),
        (AcceptError(AcceptStatus.PROC_UNAVAIL), f"{ACCEPTED} 00000003"),
        (ZeroDivisionError(), f"{ACCEPTED} 00000005"),
    ],
)
def test_a_coroutine_that_fails(error: Exception, reply: str) -> None:
    async def serve() -> Any:
        raise error

    one = serving(lambda call: serve())
    with capturedLogs() as logs:
        (outcome,) = finish(one.answer(lookup()), one)
    assert isinstance(outcome, bytes)
    assert outcome[4:].hex(" ", 4) == reply
    assert len(logs) == isinstance(error, ZeroDivisionError)


# --- what the protocol itself answers -------------------------------------------------------------------------------


def test_another_program() -> None:
    assert answer_to(lookup(), Serving(ECHO)) == ACCEPTED + " 00000001"


def test_another_version_of_a_program_that_is_served_in_two() -> None:
    other = Program("netinfo", NETINFO.number, 7, NETINFO.procedures)
    older = Program("netinfo", NETINFO.number, 1, NETINFO.procedures)
    assert answer_to(lookup(), Serving(other), Serving(older)) == ACCEPTED + " 00000002 00000001 00000007"


def test_each_version_goes_to_its_service() -> None:
    first = Serving(Program("netinfo", NETINFO.number, 1, NETINFO.procedures), lambda call: FOUND)
    second = Serving(NETINFO, lambda call: FOUND)
    caller(first, second).answer(lookup())
    assert (len(first.calls), len(second.calls)) == (0, 1)


def test_another_procedure() -> None:
    record = bytearray(lookup())
    record[20:24] = words(29)
    assert answer_to(bytes(record)) == ACCEPTED + " 00000003"


@pytest.mark.parametrize("cut", [1, 4, 12, 27])
def test_arguments_that_end_early(cut: int) -> None:
    assert answer_to(lookup()[:-cut]) == ACCEPTED + " 00000004"


def test_arguments_beyond_their_limit() -> None:
    record = lookup()[:48] + words(65_536) + bytes(65_536) + words(0)
    assert answer_to(record) == ACCEPTED + " 00000004"


def test_another_version_of_rpc() -> None:
    record = bytearray(lookup())
    record[8:12] = words(3)
    assert answer_to(bytes(record)) == "00000001 00000001 00000000 00000002 00000002"
    assert (
        answer_to(bytes(record[:24]) + words(1, 0xFFFFFFFF)) == "00000001 00000001 00000000 00000002 00000002"
    )


@pytest.mark.parametrize(
    "credential",
    [
        words(1, 401) + bytes(404),
        words(1, 20) + words(0, 0xFFFFFFFF, 0, 0, 0),
        words(1, 24) + words(0, 0, 0, 0, 0, 9),
        words(1, 20) + words(0, 0, 0, 0, 17),
        words(1, 4),
        words(0, 0x7FFFFFFF),
        words(9),
    ],
    ids=["too long", "name beyond", "bytes left", "too many groups", "cut", "length beyond", "no length"],
)
def test_a_damaged_credential(credential: bytes) -> None:
    assert answer_to(lookup()[:24] + credential) == f"{DENIED_AUTH} 00000001"


@pytest.mark.parametrize("verifier", [words(0, 401) + bytes(404), words(0, 4), words(0)])
def test_a_damaged_verifier(verifier: bytes) -> None:
    assert answer_to(lookup()[:32] + verifier) == f"{DENIED_AUTH} 00000003"


@pytest.mark.parametrize(
    "flavor", [AuthFlavor.AUTH_SHORT, AuthFlavor.AUTH_DH, AuthFlavor.RPCSEC_GSS, 390_000]
)
def test_credentials_of_other_flavors(flavor: Any) -> None:
    assert answer_to(lookup(1, Auth(flavor, b"abcd"))) == f"{DENIED_AUTH} 00000002"


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"abc",
        words(1),
        words(1, 0),
        words(1, 0, 2),
        lookup()[:23],
        words(1, 2) + lookup()[8:],
        words(1, 1, 0),
    ],
)
def test_what_is_no_call_gets_no_reply(record: bytes) -> None:
    with pytest.raises(Junk):
        serving(lambda call: FOUND).answer(record)


def test_a_reply_is_no_call() -> None:
    one = serving(lambda call: FOUND)
    reply = one.answer(lookup())
    assert isinstance(reply, bytes)
    with pytest.raises(Junk, match="a reply where a call should be"):
        one.answer(reply)


# --- before the arguments are looked at -----------------------------------------------------------------------------


class Filtering(Serving):
    def __init__(self) -> None:
        super().__init__(NETINFO, lambda call: FOUND)
        self.asked: list[Any] = []

    def admit(self, procedure: int, transport: str, peer: Any) -> None:
        self.asked.append((procedure, transport, peer))
        if transport == "udp":
            raise Reject(AuthStatus.AUTH_TOOWEAK)


def test_a_service_refuses_before_the_arguments() -> None:
    service = Filtering()
    outcome = caller(service, transport="udp").answer(lookup()[:40])
    assert isinstance(outcome, bytes)
    assert outcome[4:].hex(" ", 4) == f"{DENIED_AUTH} 00000005"
    assert service.asked == [(10, "udp", THERE)]
    assert service.calls == []


def test_a_service_is_asked_once_for_a_header() -> None:
    service = Filtering()
    one = caller(service)
    for xid in range(5):
        assert isinstance(one.answer(lookup(xid)), bytes)
    assert service.asked == [(10, "tcp", THERE)]
    assert [call.xid for call in service.calls] == [words(xid) for xid in range(5)]


# --- headers are remembered -----------------------------------------------------------------------------------------


def credentials(count: int) -> list[Auth]:
    return [AUTH_NONE, *(Auth(AuthFlavor.AUTH_SYS, AuthUnix(0, b"x" * n, 0, 0, ())) for n in range(count))]


def test_calls_with_different_headers_are_told_apart() -> None:
    service = Serving(NETINFO, lambda call: FOUND)
    one = caller(service)
    used = credentials(20)
    for _ in range(2):
        for credential in used:
            one.answer(lookup(1, credential))
    assert [call.credential for call in service.calls] == used * 2


def test_a_connection_remembers_a_bounded_number_of_headers() -> None:
    service = Serving(NETINFO, lambda call: FOUND)
    one = caller(service)
    for credential in credentials(3 * ROUTES_PER_CONNECTION):
        one.answer(lookup(1, credential))
        assert len(one._routes) <= ROUTES_PER_CONNECTION
    assert len(service.calls) == 3 * ROUTES_PER_CONNECTION + 1


CALLS = st.sampled_from(
    [lookup(), lookup(2, UNIX), echo_call(3, "ECHO", b"abcdefg"), echo_call(4, "NULL", None)]
)


@given(
    st.lists(
        st.tuples(
            CALLS, st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=4)), max_size=3)
        ),
        max_size=6,
    )
)
def test_damage_anywhere_ends_in_a_reply_or_in_nothing(
    damaged: list[tuple[bytes, list[tuple[int, bytes]]]],
) -> None:
    one = caller(Serving(NETINFO, lambda call: FOUND), Serving(ECHO, echo))
    fresh = caller(Serving(NETINFO, lambda call: FOUND), Serving(ECHO, echo))
    for call, damages in damaged:
        record = call
        for at, instead in damages:
            record = record[:at] + instead + record[at + len(instead) :]
        try:
            outcome = one.answer(record)
        except Junk:
            continue
        assert isinstance(outcome, bytes)
        assert outcome[:4] == record[:4]
        fresh._routes.clear()
        fresh._ends = ()
        assert fresh.answer(record) == outcome, "what was remembered changed the answer"


@given(st.binary(max_size=200))
def test_any_bytes(record: bytes) -> None:
    try:
        outcome = serving(lambda call: FOUND).answer(record)
    except Junk:
        return
    assert isinstance(outcome, bytes)
