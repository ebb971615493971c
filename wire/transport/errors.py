"""What can go wrong between two programs, each as an exception whose text is one sentence for a person.

What `wire.transport` raises on purpose about a peer derives from `TransportError`; damaged bytes are the formats'
`wire.formats.errors.FormatError`.
"""

from __future__ import annotations

import errno
import os
from socket import gaierror
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # SUP's programs do without the formats of RPC, and start sooner
    from wire.formats.rpc import AuthStatus, Mismatch


class ProgramError(Exception):
    """A server that cannot run; the sentence says what to do."""


class TransportError(Exception):
    """The other side could not be reached, was lost, or did not keep to the protocol."""


class ListenError(TransportError):
    """A port could not be opened; `errno` is the system's number."""

    def __init__(self, transport: str, host: str, port: int, error: OSError) -> None:
        self.errno = error.errno
        where = f"{transport.upper()} port {port} on {host}"
        if error.errno == errno.EADDRINUSE:
            text = f"{where} is already in use by another program."
        elif error.errno == errno.EACCES:
            text = f"{where} is reserved: start as root, or choose a port above 1023."
        elif error.errno == errno.EADDRNOTAVAIL:
            text = f"{where} cannot be opened: this machine has no such address."
        elif isinstance(error, gaierror):  # its numbers are not the system's
            text = f"{where} cannot be opened: {error.strerror}."
        else:
            text = f"{where} cannot be opened: {os.strerror(error.errno) if error.errno else error}."
        super().__init__(text)


class ConnectError(TransportError):
    """No connection to the other side came about; `errno` is the system's number, 0 if it has none."""

    def __init__(self, text: str, errno: int = 0) -> None:
        self.errno = errno
        super().__init__(text)


class ConnectionClosed(TransportError):
    """The other side closed the connection, or the network lost it, while something was still expected."""


class IdleTimeout(TransportError):
    """The other side sent nothing for too long; `seconds` says how long was waited."""

    def __init__(self, seconds: float, what: str = "The other side") -> None:
        self.seconds = seconds
        super().__init__(f"{what} sent nothing for {seconds:g} seconds.")


class PeerGoaway(TransportError):
    """The other side of a SUP session gave up (SUP 2.18); `reason` is what it said, None if it said nothing."""

    def __init__(self, reason: bytes | None) -> None:
        self.reason = reason
        said = f": {reason.decode(errors='backslashreplace')!r}" if reason else ""
        super().__init__(f"The other side gave up{said}.")


class UnexpectedMessage(TransportError):
    """The other side of a SUP session sent another message than its turn was."""


class RecordError(TransportError):
    """A TCP stream whose record marks cannot be followed any further (RFC 5531 section 11)."""


class RpcError(TransportError):
    """A remote procedure call that brought no result."""


class RpcTimeout(RpcError):
    """No reply arrived in time."""


class RpcConnectionLost(RpcError, ConnectionClosed):
    """The connection ended before the reply arrived; the call may or may not have been executed."""


class RpcProtocolError(RpcError):
    """A reply that is no reply: damaged, too long, or with results that the procedure cannot have."""


class RpcDenied(RpcError):
    """The server denied the call: `status` is a RejectStatus, `reason` an AuthStatus or the versions it speaks."""

    def __init__(self, status: int, reason: AuthStatus | Mismatch) -> None:
        self.status = status
        self.reason = reason
        if isinstance(reason, int):
            text = f"The server denied the call: {_name(reason)}."
        else:
            text = f"The server speaks versions {reason.low} to {reason.high} of ONC RPC only."
        super().__init__(text)


_REFUSED = {
    "PROG_UNAVAIL": "does not serve this program",
    "PROG_MISMATCH": "serves another version of this program",
    "PROC_UNAVAIL": "does not know the procedure {}",
    "GARBAGE_ARGS": "could not read the arguments of {}",
    "SYSTEM_ERR": "could not execute {}",
}


class RpcAcceptError(RpcError):
    """The server accepted the call but did not execute it: `status` is an AcceptStatus other than SUCCESS, `versions`
    what it serves, after PROG_MISMATCH."""

    def __init__(self, status: int, procedure: str, versions: Mismatch | None = None) -> None:
        self.status = status
        self.versions = versions
        said = _REFUSED.get(_name(status), "did not execute {}").format(procedure)
        served = f", {versions.low} to {versions.high}" if versions else ""
        super().__init__(f"The server {said}{served} ({_name(status)}).")


def _name(status: int) -> str:
    """A status by its name, where it has one."""
    return getattr(status, "name", f"status {status}")
