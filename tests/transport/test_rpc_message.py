import pytest

from tests.transport.services import FOUND, LOOKUP, UNIX, lookup
from wire.codec import FormatError, codec
from wire.formats.netinfo import NETINFO, LookupArgs, NiId
from wire.formats.rpc import AcceptStatus, AuthStatus, Mismatch, RejectStatus
from wire.transport.errors import RpcAcceptError, RpcDenied, RpcProtocolError
from wire.transport.rpc_message import accepted, build_call, denied, read_reply

XID = bytes.fromhex("44444444")
RESULT = codec(LOOKUP.result).build(FOUND)


def test_a_call_byte_by_byte() -> None:
    assert lookup(0x44444444).hex(" ", 4) == (
        "44444444 00000000 00000002 0bed48a0 00000002 0000000a 00000000 00000000 00000000 00000000 "
        "00000000 00000000 00000004 6e616d65 00000005 76656e75 73000000"
    )


def test_a_credential_takes_its_place() -> None:
    assert lookup(1, UNIX)[24:60].hex(" ", 4) == (
        "00000001 0000001c 00000007 00000005 76656e75 73000000 00000000 00000000 00000000"
    )


def test_what_does_not_fit_is_an_error_before_anything_is_sent() -> None:
    with pytest.raises(FormatError, match="key"):
        build_call(1, NETINFO, LOOKUP, LookupArgs(NiId(0, 0), bytes(65_536), b""))


def test_a_result() -> None:
    assert read_reply(LOOKUP, XID + accepted(AcceptStatus.SUCCESS) + RESULT) == FOUND
    assert read_reply(LOOKUP, XID + accepted(AcceptStatus.SUCCESS) + RESULT + b"more") == FOUND


def test_a_rejection_as_the_original_sends_it() -> None:
    reply = XID + denied(RejectStatus.AUTH_ERROR, AuthStatus.AUTH_TOOWEAK)
    assert reply.hex(" ", 4) == "44444444 00000001 00000001 00000001 00000005"
    with pytest.raises(RpcDenied) as error:
        read_reply(LOOKUP, reply)
    assert (error.value.status, error.value.reason) == (RejectStatus.AUTH_ERROR, AuthStatus.AUTH_TOOWEAK)


@pytest.mark.parametrize("status", [status for status in AcceptStatus if status != AcceptStatus.SUCCESS])
def test_calls_that_were_not_executed(status: AcceptStatus) -> None:
    versions = Mismatch(1, 4) if status == AcceptStatus.PROG_MISMATCH else None
    with pytest.raises(RpcAcceptError) as error:
        read_reply(LOOKUP, XID + accepted(status, versions))
    assert (error.value.status, error.value.versions) == (status, versions)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        XID,
        XID + accepted(AcceptStatus.SUCCESS)[:-1],
        XID + accepted(AcceptStatus.SUCCESS) + RESULT[:-1],
        lookup(),
        XID + bytes.fromhex("00000001 00000007"),
    ],
)
def test_what_is_no_reply(reply: bytes) -> None:
    with pytest.raises(RpcProtocolError):
        read_reply(LOOKUP, reply)
