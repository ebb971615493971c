"""SUP's messages (SUP 2), protocol versions 4 to 8, in either byte order.

A message is its type number, its blocks (`wire.formats.blocks`) and an end mark. What a session has agreed on (byte
order, the peer's version, list-only) are parameters of the parse, `SupParams`, never a second definition. The data of a
file that RECV announces, and the end mark after it, are streamed by the transport.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any, TypeVar, dataclass_transform

import attrs
from construct import this

from wire.formats.blocks import (
    END,
    ENTRY_LIMIT,
    INT,
    LINK_LIMIT,
    NULLABLE,
    STRING,
    Const,
    Counted,
    FileSize,
    UntilNull,
)
from wire.formats.record import Field, Record, View, When, fields_of, wire
from wire.formats.record import message as value_class
from wire.formats.xdr import EnumOf, FixedOpaque, FlagsOf, of

T = TypeVar("T")

FILE_TYPE = 0o170000
"""The bits of a mode that hold the file's type (SUP 2.15)."""
OLDEST_VERSION, NEWEST_VERSION = 4, 8
"""Protocol versions spoken; a peer that announces more is treated as the newest (SUP 2.2)."""


def spoken_version(announced: int) -> int:
    """The version whose layouts are used with a peer that announces *announced* (SUP 2.2)."""
    return min(max(announced, OLDEST_VERSION), NEWEST_VERSION)


TEST_STRING = b"Hello there, Sailor Boy!"
"""What CRYPT and LOGIN carry to show that both sides use the same key (SUP 2.5)."""


@attrs.frozen
class SupParams:
    """What a session has agreed on.

    order: ``<`` or ``>``, the client's byte order as the probe showed it (SUP 1.2).
    version: the protocol version the peer announced, brought into 4 to 8.
    list_only: the client only wants to see what would happen: no file data travels (SUP 3.2).
    """

    order: str = attrs.field(default="<", validator=attrs.validators.in_(("<", ">")))
    version: int = attrs.field(default=NEWEST_VERSION, converter=spoken_version)
    list_only: bool = False


class MessageType(IntEnum):
    """The number each message begins with (SUP 2)."""

    GOAWAY = -1
    NSIGNON = 1
    NSIGNONACK = 2
    NCOLL = 3
    NHOST = 4
    SIGNON = 101
    SIGNONACK = 102
    SETUP = 103
    SETUPACK = 104
    LOGIN = 105
    LOGACK = 106
    CRYPT = 107
    CRYPTOK = 108
    REFUSE = 109
    LIST = 110
    NEED = 111
    DENY = 112
    SEND = 113
    RECV = 114
    DONE = 115
    XPATCH = 117
    COMPRESS = 118


class SetupCode(IntEnum):
    """The server's answer to SETUP (SUP 2.4)."""

    OK = 999
    HOST = 998
    SAME = 997
    OLD = 996
    BUSY = 995
    RELEASE = 994


class LoginCode(IntEnum):
    """The server's answer to LOGIN (SUP 2.6)."""

    OK = 989
    BAD = 988


class DoneCode(IntEnum):
    """How a session ended (SUP 2.16)."""

    SUCCESS = 979
    DONTLOG = 978
    SRVERROR = 977
    USRERROR = 976
    GOAWAY = 975


class EntryFlag(IntFlag):
    """Flags of an entry in LIST and RECV (SUP 2.14)."""

    NEW = 1
    BACKUP = 2
    NOACCOUNT = 4
    UPDATE = 8
    NEEDED = 0x8000


PROBE_LITTLE, PROBE_BIG = b"\x04\x03\x02\x01", b"\x01\x02\x03\x04"
"""The integer 0x01020304 as each kind of client writes it (SUP 1.2)."""


@value_class
class Probe:
    """The client's first four bytes, the integer 0x01020304 in its own byte order (SUP 1.2). No answer."""

    marker: bytes = wire(
        FixedOpaque(4), "04 03 02 01 from a little-endian client, 01 02 03 04 from a big-endian one"
    )


MESSAGES: dict[MessageType, type[Any]] = {}
"""The class of each message type."""

ENDING = Field("end", END, "end mark of the message", anonymous=True)


@dataclass_transform(frozen_default=True, field_specifiers=(wire,))
def message(number: MessageType, ending: Field = ENDING) -> Callable[[type[T]], type[T]]:
    """Like `record.message`, with the type number before the fields and the end mark after them."""

    def decorate(cls: type[T]) -> type[T]:
        made = value_class(cls)
        opening = Field("type", Const(number), f"message type {number.name}", anonymous=True)
        made.TYPE = number  # type: ignore[attr-defined]
        made.FORMAT = Record(made, opening, *fields_of(made), ending)  # type: ignore[attr-defined]
        MESSAGES[number] = made
        return made

    return decorate


def type_of(cls: type[Any]) -> MessageType:
    """The message type that a message class stands for."""
    number: MessageType = cls.TYPE
    return number


@message(MessageType.GOAWAY)
class Goaway:
    """Either side gives up, at any moment (SUP 2.18)."""

    reason: bytes | None = wire(NULLABLE, "why, for a person to read")


# --- opening --------------------------------------------------------------------------------------------------------


@message(MessageType.SIGNON)
class Signon:
    """The client says what it is (SUP 2.1)."""

    protocol: int = wire(INT, "protocol version the client speaks")
    program: int = wire(INT, "version of the client program")
    scm: bytes = wire(STRING, "name of the operating system's software release, such as 4.3 BSD")


@message(MessageType.SIGNONACK)
class SignonAck:
    """The server says what it is, whatever the client's version (SUP 2.1)."""

    protocol: int = wire(INT, "protocol version the server speaks")
    program: int = wire(INT, "version of the server program")
    scm: bytes = wire(STRING, "name of the operating system's software release, such as 4.3 BSD")
    pid: int = wire(INT, "process id of the server's session")


HAS_XPATCH = this._params.version >= 7
CROSSPATCH = HAS_XPATCH & (this.xpatch != 0)


@message(MessageType.SETUP)
class Setup:
    """Which collection the client wants, since when and how (SUP 2.3)."""

    xpatch: int | None = wire(
        When(HAS_XPATCH, INT),
        "non-zero: a crosspatch for `user`; the fields after it are absent",
        default=None,
    )
    user: bytes | None = wire(
        When(CROSSPATCH, NULLABLE), "the user whose supfile a crosspatch runs", default=None
    )
    collection: bytes | None = wire(When(~CROSSPATCH, NULLABLE), "name of the collection", default=None)
    lasttime: int | None = wire(
        When(~CROSSPATCH, INT), "scan time of the last upgrade, 0 for none", view=View.TIME, default=None
    )
    hostbase: bytes | None = wire(
        When(~CROSSPATCH, NULLABLE), "base directory at the server; NULL for its own choice", default=None
    )
    basedev: int | None = wire(
        When(~CROSSPATCH, INT), "device number of the client's directory", default=None
    )
    baseino: int | None = wire(When(~CROSSPATCH, INT), "inode number of the client's directory", default=None)
    listonly: int | None = wire(
        When(~CROSSPATCH, INT), "non-zero: only show what would be done; no file data", default=None
    )
    newonly: int | None = wire(
        When(~CROSSPATCH, INT), "non-zero: list only what changed since lasttime", default=None
    )
    release: bytes | None = wire(
        When(~CROSSPATCH & (this._params.version >= 6), NULLABLE),
        "release of the collection; NULL for default",
        default=None,
    )


@message(MessageType.SETUPACK)
class SetupAck:
    """May the client have the collection? (SUP 2.4)"""

    code: SetupCode = wire(EnumOf(SetupCode, INT), "999 yes; else why not")


@message(MessageType.CRYPT)
class Crypt:
    """A known sentence under the collection's key (SUP 2.5)."""

    test: bytes | None = wire(NULLABLE, "the test string, encrypted if there is a key")


@message(MessageType.CRYPTOK)
class CryptOk:
    """The key is the right one (SUP 2.5)."""


@message(MessageType.LOGIN)
class Login:
    """The account under which the server shall read (SUP 2.6)."""

    logcrypt: bytes | None = wire(NULLABLE, "the test string under the login key; NULL: not encrypted")
    user: bytes | None = wire(NULLABLE, "account; NULL for anonymous")
    password: bytes | None = wire(NULLABLE, "its password, in clear in most builds")


@message(MessageType.LOGACK)
class LogAck:
    """Was the login accepted? (SUP 2.6)"""

    code: LoginCode = wire(EnumOf(LoginCode, INT), "989 yes, 988 no")
    error: bytes | None = wire(NULLABLE, "why not, for a person to read")


# --- what is to be done ---------------------------------------------------------------------------------------------


@message(MessageType.REFUSE)
class Refuse:
    """Names the client does not want (SUP 2.7)."""

    names: tuple[bytes, ...] = wire(UntilNull(STRING, ENTRY_LIMIT), "refused names, sorted")


@value_class
class ListEntry:
    """One name of the collection (SUP 2.8)."""

    name: bytes = wire(STRING, "path below the base directory")
    mode: int = wire(INT, "type and permission bits", view=View.MODE)
    flags: int = wire(FlagsOf(EntryFlag, INT), "what the list file says of it, and whether it is new")
    mtime: int = wire(INT, "time of its last modification", view=View.TIME)


@message(MessageType.LIST)
class List:
    """The collection as the server has it, less what was refused (SUP 2.8)."""

    entries: tuple[ListEntry, ...] = wire(UntilNull(of(ListEntry), ENTRY_LIMIT), "its names, sorted")
    scantime: int = wire(INT, "when the server looked; the client's next lasttime", view=View.TIME)


@value_class
class NeedEntry:
    """One name that the client needs (SUP 2.9)."""

    name: bytes = wire(STRING, "path below the base directory")
    update: int = wire(INT, "1: only its attributes, it has the contents")


@message(MessageType.NEED)
class Need:
    """What the client wants sent (SUP 2.9)."""

    entries: tuple[NeedEntry, ...] = wire(UntilNull(of(NeedEntry), ENTRY_LIMIT), "needed names, sorted")


@message(MessageType.DENY)
class Deny:
    """Needed names that the server cannot send (SUP 2.10)."""

    names: tuple[bytes, ...] = wire(UntilNull(STRING, ENTRY_LIMIT), "denied names, sorted")


@message(MessageType.COMPRESS)
class Compress:
    """Shall file data travel as gzip streams? From version 8 on, always sent (SUP 2.11)."""

    compress: int = wire(INT, "non-zero: yes")


# --- transfer -------------------------------------------------------------------------------------------------------


@message(MessageType.SEND)
class Send:
    """The client is ready for the next RECV (SUP 2.12)."""


SENT = this.name != None  # noqa: E711 - not a comparison but an expression for visitors to read
READABLE = SENT & (this.mode != 0)
WITH_DATA = (
    READABLE
    & ((this.mode & FILE_TYPE) == stat.S_IFREG)
    & ((this.flags & int(EntryFlag.UPDATE)) == 0)
    & ~this._params.list_only
)
RECV_ENDING = Field(
    "end",
    When(~WITH_DATA, END),
    "end mark of the message; after file data it follows the data",
    anonymous=True,
)


@message(MessageType.RECV, ending=RECV_ENDING)
class Recv:
    """One file, directory or link; or, with no name, the end of the transfer (SUP 2.13).

    The data of a regular file, `size` bytes, and then the end mark follow in the stream.
    """

    name: bytes | None = wire(
        NULLABLE, "path below the base directory; NULL: nothing more to come", default=None
    )
    mode: int | None = wire(
        When(SENT, INT), "type and permission bits; 0: could not be read", view=View.MODE, default=None
    )
    flags: int | None = wire(
        When(READABLE, FlagsOf(EntryFlag, INT)), "as in LIST; UPDATE: attributes only", default=None
    )
    user: bytes | None = wire(
        When(READABLE, NULLABLE), "owner's name; NULL for a symbolic link", default=None
    )
    group: bytes | None = wire(
        When(READABLE, NULLABLE), "group's name; NULL for a symbolic link", default=None
    )
    mtime: int | None = wire(
        When(READABLE, INT), "time of its last modification", view=View.TIME, default=None
    )
    links: tuple[bytes, ...] | None = wire(
        When(READABLE, UntilNull(STRING, LINK_LIMIT)),
        "hard links to make to it; or a symbolic link's target",
        default=None,
    )
    commands: tuple[bytes, ...] | None = wire(
        When(READABLE, UntilNull(STRING, LINK_LIMIT)),
        "shell commands the list file asks to run afterwards",
        default=None,
    )
    size: int | None = wire(When(WITH_DATA, FileSize()), "bytes of file data that follow", default=None)


@message(MessageType.DONE)
class Done:
    """How it went; the session's last message from version 6 on (SUP 2.16)."""

    code: DoneCode = wire(EnumOf(DoneCode, INT), "979 success; else what went wrong")
    reason: bytes | None = wire(NULLABLE, "the same for a person to read")


@message(MessageType.XPATCH)
class Xpatch:
    """Arguments for the `sup` that a crosspatch runs at the other side (SUP 2.17)."""

    arguments: tuple[bytes, ...] = wire(Counted(STRING, LINK_LIMIT), "the arguments")


# --- the name server (SUP 2.19) -------------------------------------------------------------------------------------


@message(MessageType.NSIGNON)
class NameSignon:
    """SIGNON to the name server (SUP 2.19)."""

    protocol: int = wire(INT, "protocol version the client speaks")
    program: int = wire(INT, "version of the client program")
    scm: bytes = wire(STRING, "name of the operating system's software release")


@message(MessageType.NSIGNONACK)
class NameSignonAck:
    """SIGNONACK of the name server (SUP 2.19)."""

    protocol: int = wire(INT, "protocol version the server speaks")
    program: int = wire(INT, "version of the server program")
    scm: bytes = wire(STRING, "name of the operating system's software release")
    pid: int = wire(INT, "process id of the server's session")


@message(MessageType.NCOLL)
class Ncoll:
    """Which hosts serve this collection? (SUP 2.19)"""

    collection: bytes = wire(STRING, "name of the collection")


@message(MessageType.NHOST)
class Nhost:
    """The hosts that serve it (SUP 2.19); a version 4 client is told exactly one."""

    hosts: tuple[bytes, ...] | None = wire(
        When(this._params.version >= 5, UntilNull(STRING, LINK_LIMIT)),
        "host names; none if the collection is unknown",
        default=None,
    )
    host: bytes | None = wire(
        When(this._params.version < 5, STRING), "the one host name of version 4", default=None
    )
