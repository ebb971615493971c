"""What can go wrong for a client: a status from the server, or no answer at all."""

from __future__ import annotations

from wire.formats.netinfo import NiStatus

STATUS_TEXT = {
    NiStatus.NI_OK: "Operation succeeded",
    NiStatus.NI_BADID: "ID is invalid",
    NiStatus.NI_STALE: "Write attempted on stale version of object",
    NiStatus.NI_NOSPACE: "No space available for write operation",
    NiStatus.NI_PERM: "Permission denied",
    NiStatus.NI_NODIR: "No such directory",
    NiStatus.NI_NOPROP: "No such property",
    NiStatus.NI_NONAME: "No such name",
    NiStatus.NI_NOTEMPTY: "Cannot delete name object with children",
    NiStatus.NI_UNRELATED: "Object is not child of parent: cannot destroy",
    NiStatus.NI_SERIAL: "Serialization error",
    NiStatus.NI_NETROOT: "Hit network root domain",
    NiStatus.NI_NORESPONSE: "No response from remote parent",
    NiStatus.NI_RDONLY: "No writes allowed: all objects are read-only",
    NiStatus.NI_SYSTEMERR: "Remote system error",
    NiStatus.NI_ALIVE: "Can't regenerate: already in use",
    NiStatus.NI_NOTMASTER: "Operation makes no sense on clone",
    NiStatus.NI_CANTFINDADDRESS: "Can't find address of server",
    NiStatus.NI_DUPTAG: "Duplicate domain tag: can't serve it",
    NiStatus.NI_NOTAG: "No such tag",
    NiStatus.NI_AUTHERROR: "Authentication error",
    NiStatus.NI_NOUSER: "No such user",
    NiStatus.NI_MASTERBUSY: "Master server is busy",
    NiStatus.NI_INVALIDDOMAIN: "Invalid domain",
    NiStatus.NI_BADOP: "Invalid operation on master",
    NiStatus.NI_FAILED: "Communication failure",
}
"""The sentences of the original library's `ni_error` (NETINFO 1.4)."""


def status_text(status: int) -> str:
    """What a status means, in the original's words."""
    try:
        return STATUS_TEXT[NiStatus(status)]
    except ValueError:
        return "(unknown error)"


class NetInfoError(Exception):
    """A status other than NI_OK, and the object it is about.

    status: an `NiStatus`, or the bare number of a status that is not known.  about: a path, an id, or a
    domain.
    """

    def __init__(self, status: int, about: str) -> None:
        super().__init__(status, about)
        self.status = status
        self.about = about

    def __str__(self) -> str:
        return f"{self.about}: {status_text(self.status)}"


class CommunicationError(NetInfoError):
    """NI_FAILED: no server of the domain answered. `reason` is the transport's sentence."""

    def __init__(self, about: str, reason: str) -> None:
        super().__init__(NiStatus.NI_FAILED, about)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.about}: {self.reason}"


class CannotConnectError(CommunicationError):
    """A domain that could not even be opened; the tools exit with 200 (NETINFO 6.5)."""
