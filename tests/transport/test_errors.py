import errno
import socket

import pytest

from wire.formats.rpc import AcceptStatus, AuthStatus, Mismatch, RejectStatus
from wire.transport.errors import IdleTimeout, ListenError, PeerGoaway, RpcAcceptError, RpcDenied


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EADDRINUSE, "TCP port 111 on 127.0.0.1 is already in use by another program."),
        (errno.EACCES, "TCP port 111 on 127.0.0.1 is reserved: start as root, or choose a port above 1023."),
        (
            errno.EADDRNOTAVAIL,
            "TCP port 111 on 127.0.0.1 cannot be opened: this machine has no such address.",
        ),
        (errno.EMFILE, "TCP port 111 on 127.0.0.1 cannot be opened: Too many open files."),
    ],
)
def test_why_a_port_is_not_opened(number: int, text: str) -> None:
    error = ListenError("tcp", "127.0.0.1", 111, OSError(number, "x"))
    assert (str(error), error.errno) == (text, number)


def test_an_address_that_is_none() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    said = str(ListenError("tcp", "nosuch.invalid", 111, error))
    assert said == "TCP port 111 on nosuch.invalid cannot be opened: Name or service not known."


def test_every_accept_status_has_its_sentence() -> None:
    said = {status: str(RpcAcceptError(status, "LIST", None)) for status in AcceptStatus if status}
    assert (
        said[AcceptStatus.GARBAGE_ARGS] == "The server could not read the arguments of LIST (GARBAGE_ARGS)."
    )
    assert len(set(said.values())) == len(AcceptStatus) - 1
    assert str(RpcAcceptError(9, "LIST")) == "The server did not execute LIST (status 9)."
    mismatch = RpcAcceptError(AcceptStatus.PROG_MISMATCH, "LIST", Mismatch(1, 2))
    assert str(mismatch) == "The server serves another version of this program, 1 to 2 (PROG_MISMATCH)."


def test_denials_say_why() -> None:
    denied = RpcDenied(RejectStatus.AUTH_ERROR, AuthStatus.AUTH_TOOWEAK)
    assert str(denied) == "The server denied the call: AUTH_TOOWEAK."
    versions = RpcDenied(RejectStatus.RPC_MISMATCH, Mismatch(2, 2))
    assert str(versions) == "The server speaks versions 2 to 2 of ONC RPC only."


def test_what_a_peer_said_last_is_harmless_to_print() -> None:
    assert str(PeerGoaway(None)) == "The other side gave up."
    assert str(PeerGoaway(b"no \xff\x1b[2J")) == "The other side gave up: 'no \\\\xff\\x1b[2J'."
    assert str(IdleTimeout(35.0, "1.2.3.4:5")) == "1.2.3.4:5 sent nothing for 35 seconds."
