"""One session of the client (SUP 3): what is asked, what is answered, and what becomes of it here.

The conversation strictly alternates, so it is written as one coroutine that awaits message after message from
a `Channel`; it knows no socket, no reactor and no clock of its own. The order of a conversation, as the steps
of `Session` below count it:

 1. probe, SIGNON              -> SIGNONACK, which tells the version that the server speaks
 2. SETUP                      -> SETUPACK 999, or why not: then DONE ends the session
 3. CRYPT                      -> CRYPTOK; the collection's lock is taken
 4. LOGIN                      -> LOGACK; from here on strings are encrypted if there is a key
 5. REFUSE                     -> LIST, of which the client chooses (`sup.needs`)
 6. NEED                       -> DENY; what the collection no longer has is deleted (`sup.deletion`)
 7. COMPRESS (version 8), SEND -> RECV, once for each file and once for the end; SENDs are sent ahead of their
                                  answers (SUP 10.2), and files are installed as they come (`sup.install`)
 8. `when` is written; DONE (version 6 on) or GOAWAY; `last` is written

GOAWAY from the server ends the conversation at any step. Once RECV has told the end of the transfer, nothing
that happens to the connection matters any more.
"""

import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field, frozen

from sup.channel import Channel, ConnectionClosed, IdleTimeout, PeerGoaway, UnexpectedMessage
from sup.cipher import PLAIN_KEY, Cipher, UnusableKey
from sup.control import Locked
from sup.deletion import delete
from sup.durability import Durability
from sup.execution import Commands, Offload
from sup.install import Installer, Receiver, UnknownType, discard
from sup.names import UnsafeName, normalise
from sup.needs import Listing, doomed, needed, read_listing
from sup.owners import Owners
from sup.placement import Context, Placement, why
from sup.preview import Preview
from sup.report import Report, printable
from sup.supfile import Collection
from sup.workspace import Workspace
from wire.codec import FormatError
from wire.formats.sup import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    TEST_STRING,
    Compress,
    Crypt,
    CryptOk,
    Deny,
    Done,
    DoneCode,
    Goaway,
    List,
    ListEntry,
    LogAck,
    Login,
    LoginCode,
    Need,
    Recv,
    Refuse,
    Send,
    Setup,
    SetupAck,
    SetupCode,
    Signon,
    SignonAck,
)

PROGRAM_VERSION = 26
SCM_VERSION = b"4.3 BSD"

_LIST_ONLY = 16  # the original's way to say so (SUP 2.3)
_COMPRESSED = 2048  # likewise (SUP 2.11)
_REJECTED_SHOWN = 5
_SURPLUS = 100
"""Files that nobody asked for; a server that sends more of them would never come to an end."""
_SEND = Send()

T = TypeVar("T")


# --- what comes of a session --------------------------------------------------------------------------------


class Status(Enum):
    """How the upgrade of a collection ended."""

    DONE = "done"
    ERRORS = "completed with errors"
    ABORTED = "aborted"
    SKIPPED = "skipped"


@define
class Counts:
    """What a session did so far."""

    listed: int = 0
    needed: int = 0
    denied: int = 0
    received: int = 0
    bytes: int = 0


class Progress(Protocol):
    """Is told how far a transfer has come."""

    def expect(self, files: int) -> None:
        """So many files are to come."""

    def receive(self) -> None:
        """The next one begins."""

    def data(self, size: int) -> None:
        """So many bytes have come."""


class Quiet:
    """A progress that nobody watches."""

    def expect(self, files: int) -> None:
        pass

    def receive(self) -> None:
        pass

    def data(self, size: int) -> None:
        pass


class Aborted(Exception):
    """The upgrade cannot go on. The text is for the user and, if `tell`, for the server's GOAWAY too."""

    def __init__(self, reason: str, tell: bool = True) -> None:
        super().__init__(reason)
        self.tell = tell


class Obsolete(Aborted):
    """The server speaks a version that nobody should any more; another host may do better."""


class Busy(Exception):
    """The server has no time now (SUP 2.4); it may later."""


_REFUSALS: Mapping[int, tuple[bytes, str]] = {
    SetupCode.HOST: (b"Permission denied", "This host has no permission to access {collection}"),
    SetupCode.SAME: (b"Overwrite error", "Attempt to upgrade from same host to same directory"),
    SetupCode.OLD: (b"Obsolete client", "This version of SUP is too old for the fileserver"),
    SetupCode.RELEASE: (b"Invalid release", "Invalid release {release} for collection {collection}"),
}


@frozen(kw_only=True)
class Settings:
    """How this client works, whatever the collection. `clock` gives seconds since 1970."""

    durability: Durability
    offload: Offload
    clock: Callable[[], float] = time.time
    window: int
    """How many files may be asked for ahead of their arrival (SUP 10.2)."""
    set_times: bool = True
    follow_symlinks: bool = False
    command_output: int | None = None
    progress: Progress = field(factory=Quiet)


def moment(seconds: float) -> str:
    """A time as the original prints it: local, without the weekday."""
    return time.ctime(seconds)[4:]


class Session:
    """Upgrades `collection` in `workspace` over `channel`, which is connected and closed by the caller."""

    def __init__(
        self,
        channel: Channel,
        collection: Collection,
        workspace: Workspace,
        report: Report,
        settings: Settings,
    ) -> None:
        self.counts = Counts()
        self._channel = channel
        self._collection = collection
        self._workspace = workspace
        self._report = report
        self._settings = settings
        self._version = NEWEST_VERSION
        self._known: set[bytes] | None = None
        self._surplus = 0

    async def run(self) -> Status:
        """The whole conversation. Raises Busy, Aborted; whatever else has gone wrong is in the report."""
        try:
            try:
                return await self._converse()
            except OSError as error:
                name = error.filename
                where = f"{printable(os.fsencode(name))}: " if isinstance(name, str | bytes) else ""
                raise Aborted(f"Can't go on ({where}{why(error)})") from error
        except Aborted as aborted:
            if aborted.tell:
                self._say(Goaway(str(aborted).encode()))
            raise

    async def _converse(self) -> Status:
        collection, control = self._collection, self._workspace.control
        await self._signon()
        await self._setup()
        cipher = await self._crypt()
        self._lock()
        await self._login(cipher)
        if cipher is not None:
            from sup.cipher import EncryptedChannel

            self._channel = EncryptedChannel(self._channel, cipher)
        refused = control.read_refuse()
        self._say(Refuse(refused))
        scan = await self._read("file list", List)
        listing = self._understand(scan)
        tree = self._workspace.tree
        wanted = needed(listing, collection, tree.look, tree.lstat)
        self.counts.needed = len(wanted)
        self._say(Need(tuple(wanted[name] for name in sorted(wanted))))
        requested = await self._denied({name: listing.entries[name] for name in wanted})
        kept = set() if collection.newonly else self._delete(listing, frozenset(refused))
        await self._transfer(requested, listing)
        return self._finish(scan.scantime, listing, kept)

    # --- 1 to 4: who, what, may we? ---------------------------------------------------------------------

    async def _signon(self) -> None:
        with suppress(ConnectionClosed):
            self._channel.send_probe()
        self._say(Signon(NEWEST_VERSION, PROGRAM_VERSION, SCM_VERSION))
        ack = await self._read("signon reply", SignonAck)
        self._version = ack.protocol
        server = f"{ack.protocol}.{ack.program} ({printable(ack.scm)}) {ack.pid}"
        at = time.strftime("%H:%M:%S", time.localtime(self._settings.clock()))
        self._report.detail(f"Fileserver {server} on {self._channel.peer.host} at {at}")
        if ack.protocol < OLDEST_VERSION:
            raise Obsolete("Fileserver sup protocol version is obsolete.")
        self._channel.params = evolve(
            self._channel.params, version=ack.protocol, list_only=self._collection.list_only
        )
        if self._version < 8 and self._collection.compress:
            self._collection = evolve(self._collection, compress=False)

    async def _setup(self) -> None:
        collection, workspace = self._collection, self._workspace
        try:
            if workspace.enter():
                self._report.detail(f"Created directory {printable(collection.base)}/sup")
            lasttime = workspace.control.read_when()
        except OSError as error:
            raise Aborted(f"Can't use directory {printable(collection.base)}/sup ({why(error)})") from error
        top = os.fstat(workspace.top_fd)
        self._say(
            Setup(
                xpatch=0 if self._version >= 7 else None,
                user=None,
                collection=collection.name,
                lasttime=lasttime,
                hostbase=collection.hostbase,
                basedev=_int32(top.st_dev),
                baseino=_int32(top.st_ino),
                listonly=_LIST_ONLY if collection.list_only else 0,
                newonly=int(collection.newonly),
                release=collection.release if self._version >= 6 else None,
            )
        )
        code = (await self._read("setup reply", SetupAck)).code
        if code == SetupCode.BUSY:
            self._report.detail("Fileserver is currently busy")
            self._say_done(DoneCode.SRVERROR, b"Fileserver is busy")
            raise Busy
        if code in _REFUSALS:
            reason, text = _REFUSALS[code]
            self._say_done(DoneCode.SRVERROR, reason)
            release = printable(collection.release or b"default")
            raise Aborted(text.format(collection=printable(collection.name), release=release), tell=False)
        if code != SetupCode.OK:
            raise Aborted(f"Unrecognized file server setup status {int(code)}")
        self._report.detail(f"Requesting changes since {moment(lasttime)}")

    async def _crypt(self) -> Cipher | None:
        key, cipher = self._collection.crypt, None
        if key is not None and key != PLAIN_KEY:
            try:
                cipher = Cipher(key)
            except UnusableKey as error:
                raise Aborted(str(error)) from error
        self._say(Crypt(cipher.text(TEST_STRING) if cipher else TEST_STRING))
        await self._read("encryption test reply", CryptOk)
        return cipher

    def _lock(self) -> None:
        name = printable(self._collection.name)
        try:
            if self._workspace.control.lock():
                self._report.detail(f"Locked collection {name} for exclusive access")
        except (Locked, OSError) as error:
            raise Aborted(f"Can't lock collection {name}") from error

    async def _login(self, cipher: Cipher | None) -> None:
        user, password = self._collection.login, self._collection.password
        login = Login(None, None, None)
        if user is not None:
            login = Login(TEST_STRING, user, password)
            if cipher is not None:
                # Builds with the cipher use it here too, under the one key that means none elsewhere (SUP 5.3).
                constant = Cipher(PLAIN_KEY)
                login = Login(*map(constant.name, (TEST_STRING, user, password)))
        self._say(login)
        ack = await self._read("login reply", LogAck)
        if ack.code == LoginCode.BAD:
            self._report.problem(printable(ack.error or b"no reason given"))
            self._say_done(DoneCode.SRVERROR, b"Improper login")
            account = printable(user or b"default")
            raise Aborted(f"Improper login to {account} account", tell=False)

    # --- 5 and 6: what is to be done --------------------------------------------------------------------

    def _understand(self, scan: List) -> Listing:
        self.counts.listed = len(scan.entries)
        # With a prefix, sup/<collection> among the files is an ordinary name.
        control = None if self._workspace.is_prefixed else self._workspace.control.path
        listing = read_listing(scan.entries, control)
        for reason in listing.rejected[:_REJECTED_SHOWN]:
            self._report.problem(f"Not accepted: {reason}")
        if len(listing.rejected) > _REJECTED_SHOWN:
            self._report.problem(
                f"Not accepted: {len(listing.rejected) - _REJECTED_SHOWN} more names like these"
            )
        return listing

    async def _denied(self, requested: dict[bytes, ListEntry]) -> dict[bytes, ListEntry]:
        """What is left of `requested` when the server has said what it cannot send."""
        for denied in (await self._read("denied files list", Deny)).names:
            with suppress(UnsafeName):
                if requested.pop(normalise(denied), None) is not None:
                    self.counts.denied += 1
                    if self._collection.verbose:
                        self._report.warning(f"Access denied to {printable(denied)}")
        return requested

    def _last(self) -> set[bytes]:
        """The names that earlier upgrades brought; read when they are first needed."""
        if self._known is None:
            try:
                self._known = self._workspace.control.read_last()
            except OSError as error:
                raise Aborted(f"Can't read the list of files of earlier upgrades ({why(error)})") from error
        return self._known

    def _delete(self, listing: Listing, refused: frozenset[bytes]) -> set[bytes]:
        """Removes what the collection no longer has; the names that `last` is to keep all the same."""
        # Links are not followed here even if the user wants that elsewhere: see sup.deletion.
        with self._workspace.tree.unfollowing() as tree:

            def look(name: bytes) -> os.stat_result | None:
                found = tree.lstat(name)
                return None if found is None or tree.is_guarded(found) else found

            victims = doomed(self._last(), listing.entries, look, refused)
            return delete(tree, victims, self._collection, self._report)

    # --- 7: the files -----------------------------------------------------------------------------------

    async def _transfer(self, requested: dict[bytes, ListEntry], listing: Listing) -> None:
        receiver = self._receiver(requested, listing)
        self._settings.progress.expect(len(requested))
        try:
            await self._receive_all(requested, receiver)
            await receiver.finish()
        except UnknownType as error:
            await receiver.flush()
            raise Aborted(str(error)) from error
        except Aborted:
            await receiver.flush()  # what has come completely is installed, as with the original
            raise
        except OSError as error:
            self._report.problem(f"Can't bring the files to the disk ({why(error)})")

    def _receiver(self, requested: dict[bytes, ListEntry], listing: Listing) -> Receiver:
        workspace, settings, report = self._workspace, self._settings, self._report
        if self._collection.list_only:
            return Preview(workspace.tree, report)
        try:
            staging = workspace.prepare()
            if requested:
                workspace.control.note_partial(requested)
        except OSError as error:
            path = printable(workspace.control.path)
            raise Aborted(f"Can't use directory {path} ({why(error)})") from error
        context = Context(
            self._collection, requested, listing.entries, self._last, set_times=settings.set_times
        )
        top = os.fstat(workspace.top_fd)
        owners = Owners((top.st_uid, top.st_gid))
        placement = Placement(
            workspace.tree, staging, context, owners, report, settings.durability, settings.clock
        )
        commands = Commands(
            workspace.top,
            report,
            settings.offload,
            allowed=self._collection.execute,
            output=settings.command_output,
        )
        return Installer(
            workspace.tree,
            staging,
            placement,
            context,
            commands,
            report,
            settings.durability,
            settings.offload,
            settings.clock,
        )

    async def _receive_all(self, requested: Mapping[bytes, ListEntry], receiver: Receiver) -> None:
        """Asks for files, up to a window ahead, until the server says that there are no more.

        A file that is only another name of one that was received is not sent by itself, so that one SEND less
        will be answered for each (SUP 10.2).
        """
        window = max(1, self._settings.window)
        outstanding = set(requested)
        asked = min(window, len(outstanding) + 1)
        first: list[Any] = [_SEND] * asked
        if self._version >= 8:
            first.insert(0, Compress(_COMPRESSED if self._collection.compress else 0))
            if self._collection.compress:
                self._report.detail("Using compressed file transfer")
        self._say(*first)
        while True:
            recv = await self._reading("Error receiving file from file server", Recv)
            asked -= 1
            if recv.name is None:
                return
            await self._receive(recv, outstanding, requested, receiver)
            if asked <= window // 2:
                more = max(min(window, len(outstanding) + 1) - asked, 0 if asked else 1)
                if more:
                    self._say(*[_SEND] * more)
                    asked += more

    async def _receive(
        self, recv: Recv, outstanding: set[bytes], requested: Mapping[bytes, ListEntry], receiver: Receiver
    ) -> None:
        name = recv.name or b""
        if name not in outstanding:
            name = _plain(name)
        if name not in outstanding:
            await self._skip(recv)
            return
        outstanding.discard(name)
        if recv.mode == 0:
            self._report.problem(f"File server unable to transfer file {printable(name)}")
            return
        if recv.links and stat.S_ISREG(recv.mode or 0):
            outstanding.difference_update(map(_plain, recv.links))
        self.counts.received += 1
        self._settings.progress.receive()
        await receiver.receive(name, recv, partial(self._data, recv.size or 0))

    async def _skip(self, recv: Recv) -> None:
        """Reads on behind a file that was not asked for (SUP 9.3.2)."""
        self._surplus += 1
        if self._surplus > _SURPLUS:
            raise Aborted("The file server keeps sending what was not asked for")
        self._report.problem(f"The file server sent {printable(recv.name or b'')}, which was not asked for")
        if recv.size is not None:
            await self._data(recv.size, discard)

    async def _data(self, size: int, write: Callable[[bytes], None]) -> None:
        def counted(data: bytes) -> None:
            write(data)
            self._settings.progress.data(len(data))

        try:
            await self._channel.receive_file(size, counted)
        except (UnexpectedMessage, FormatError, ConnectionClosed, IdleTimeout) as error:
            self._report.problem(str(error))
            raise Aborted("Error receiving file from file server") from error
        self.counts.bytes += size

    # --- 8: the end -------------------------------------------------------------------------------------

    def _finish(self, scantime: int, listing: Listing, kept: set[bytes]) -> Status:
        name, control, report = self._collection.title, self._workspace.control, self._report
        if report.problems:
            self._say_done(DoneCode.USRERROR, b"Completed with errors")
            report.warning(f"Upgrade of {name} completed with errors at {self._now()}")
            if not self._collection.list_only:
                report.warning("Upgrade time will not be updated")
            return Status.ERRORS
        if self._collection.list_only:
            self._say_done(DoneCode.DONTLOG, b"List only")
            report.detail(f"Upgrade of {name} completed at {self._now()}")
            return Status.DONE
        try:
            self._record_when(scantime)
        except OSError as error:
            report.problem(f"Can't record current time in {printable(control.path)}/when ({why(error)})")
            self._say_done(DoneCode.USRERROR, b"Couldn't timestamp")
            return Status.ERRORS
        self._say_done(DoneCode.SUCCESS, b"Success")
        report.detail(f"Upgrade of {name} completed at {self._now()}")
        try:
            self._record_last(listing, kept)
        except OSError as error:
            report.problem(f"Can't record list of all files in {printable(control.path)}/last ({why(error)})")
            return Status.ERRORS
        return Status.DONE

    def _record_when(self, scantime: int) -> None:
        control = self._workspace.control
        made = control.find() is None
        control.write_when(scantime)
        if made:
            path = printable(control.path)
            self._report.detail(f"Created directory {path} for {path}/when")

    def _record_last(self, listing: Listing, kept: set[bytes]) -> None:
        """In delete mode what is listed now, and what could not be deleted; else all that ever was (SUP 7.4)."""
        if self._collection.delete:
            self._workspace.control.write_last(kept.union(listing.entries))
        elif listing.entries or self._known is not None:
            self._workspace.control.write_last(self._last().union(listing.entries))

    def _now(self) -> str:
        return moment(self._settings.clock())

    def _say_done(self, code: DoneCode, reason: bytes) -> None:
        """The last message of a session that went as it should, whatever the result."""
        if self._version >= 6:
            self._say(Done(code, reason))
        else:
            self._say(Goaway(None if code in (DoneCode.SUCCESS, DoneCode.DONTLOG) else reason))

    # --- throughout -------------------------------------------------------------------------------------

    def _say(self, *messages: Any) -> None:
        """Sends. Whether the connection has ended is for the next answer to show, which may have come before."""
        with suppress(ConnectionClosed):
            self._channel.send(*messages)

    async def _read(self, what: str, kind: type[T]) -> T:
        """The server's next message; raises Aborted if it is none of `kind`."""
        return await self._reading(f"Error reading {what} from file server", kind)

    async def _reading(self, complaint: str, kind: type[T]) -> T:
        try:
            return await self._channel.receive(kind)
        except PeerGoaway as goaway:
            if goaway.reason is not None:
                self._report.problem(f"SCM GOAWAY {printable(goaway.reason)}")
            raise Aborted(complaint) from goaway
        except (UnexpectedMessage, FormatError, ConnectionClosed, IdleTimeout) as error:
            self._report.problem(str(error))
            raise Aborted(complaint) from error


def _plain(name: bytes) -> bytes:
    """A name in its plain form; an unsafe one as it is, since nobody asked for that."""
    try:
        return normalise(name)
    except UnsafeName:
        return name


def _int32(number: int) -> int:
    """The low 32 bits of a number, signed as SUP's integers are."""
    return (number + 2**31) % 2**32 - 2**31
