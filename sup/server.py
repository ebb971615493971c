"""One session of the file server (SUP 3): what is asked, what is answered, in which order.

The conversation strictly alternates, so it is written as one coroutine that awaits message after message from
a `Channel`; it knows no socket and no reactor. Whatever waits for the disk goes through `Server.in_thread`.

The order of a conversation, as the steps of `Session` below count it:

 1. probe, SIGNON            -> SIGNONACK
 2. SETUP                    -> SETUPACK 999, or why not: base and prefix (GOAWAY), busy (995), same directory
                                (997), release (994), host (998), lock (995), in the original's order
 3. CRYPT                    -> CRYPTOK
 4. LOGIN                    -> LOGACK; from here on strings are encrypted if there is a key
 5. REFUSE                   -> LIST
 6. NEED                     -> DENY
 7. COMPRESS (version 8), then for every file SEND -> RECV, and a last SEND -> RECV of no name; RECVs may run ahead
 8. DONE (version 6 on)      -> nothing; before version 6, nothing -> GOAWAY

After a refusal in step 2 or 4 the client sends DONE (version 6 on) or is told GOAWAY. GOAWAY from either side
ends the conversation at any step; an error of the server's is told in one (SUP 3.3).
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol, TypeVar

import attrs
from twisted.logger import Logger

from sup import hosts, passwords
from sup.channel import Channel, ConnectionClosed, IdleTimeout, PeerGoaway, UnexpectedMessage
from sup.cipher import PLAIN_KEY, Cipher, EncryptedChannel, UnusableKey
from sup.collection import Collection, CollectionError, HostNotPermitted, Locked, ReleaseTree, log_line
from sup.config import ANONYMOUS, NoSuchBase, ServerConfig
from sup.names import plain_name
from sup.releases import DEFAULT, NoSuchRelease
from sup.report import printable
from sup.sending import Choice, CompressionFailed, FileShrank, Reader, Sendable, choose
from sup.walk import Listener, Wanted
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

PROGRAM_VERSION = 13
SCM_VERSION = b"4.3 BSD"

AHEAD = 64
"""RECVs that may be on their way before the client has asked for them: clients take them as they come (SUP 10.2)."""
LONGEST_REASON = 1999
"""Bytes of a reason that every client can read (SUP 1.4)."""
LEFT_OUT_SHOWN = 20
"""Names that cannot be served and are logged, in one session."""
DONE_NAMES: dict[int, str] = {
    DoneCode.SUCCESS: "done:",
    DoneCode.DONTLOG: "done:",
    DoneCode.SRVERROR: "refused:",
    DoneCode.USRERROR: "failed:",
    DoneCode.GOAWAY: "given up:",
}

T = TypeVar("T")


class Threads(Protocol):
    """Runs a function that may wait for the disk, off the thread that serves the network."""

    def __call__(self, function: Callable[..., T], *args: Any) -> Awaitable[T]: ...


class Slots(Protocol):
    """The places for clients, as many as may be served at once (`-C`)."""

    def take(self) -> bool:
        """Take one; False if there is none left."""
        ...

    def give_back(self) -> None: ...


@attrs.frozen(kw_only=True)
class Server:
    """What all sessions of a server share."""

    config: ServerConfig
    slots: Slots
    in_thread: Threads
    """For what is soon done: control files, hashing, another look at what is needed."""
    in_naming_thread: Threads
    """For what may have to ask a name server, which takes its time; each client that is served can have one."""
    in_walking_thread: Threads
    """For what takes as long as a collection is large. Each of the five has threads of its own, so that no number
    of walks can keep another session waiting for anything but its own."""
    in_reading_thread: Threads
    """For what a session waits for again and again: reading files."""
    in_packing_thread: Threads
    """For reading files that are to be packed, which takes as long as they are large."""
    clock: Callable[[], float]
    """Seconds since 1970."""
    resolve: hosts.Resolver
    """Addresses of a host name."""
    host_name: Callable[[str], str]
    """The name of an address, or the address."""
    is_own_address: Callable[[str], bool]
    """Whether an address is this machine's."""
    pid: int = attrs.Factory(os.getpid)
    idle: float = 1800.0
    """Seconds of silence that are borne once the client has named its collection."""


class Over(Exception):
    """The conversation has come to its end, as `code` and `reason` say (SUP 2.16)."""

    def __init__(self, code: int, reason: str, cause: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.cause = cause
        """What is for the log alone."""

    @property
    def told(self) -> bytes:
        """The reason as it travels: names in it hold the bytes that they have on the disk."""
        return _told(self.reason)


class GiveUp(Over):
    """The server gives up and tells the client why, in GOAWAY."""

    def __init__(self, reason: str, cause: str = "") -> None:
        super().__init__(DoneCode.GOAWAY, reason, cause)


class SameDirectory(Exception):
    """The client is on this machine, and upgrades the very directory that the files come from (SETUPACK 997)."""


@attrs.define
class Progress:
    """What a session did so far, for the log."""

    collection: bytes = b""
    release: bytes = DEFAULT
    lasttime: int = 0
    user: str = ANONYMOUS
    listed: int = 0
    needed: int = 0
    denied: int = 0
    sent: int = 0
    octets: int = 0


async def serve(channel: Channel, server: Server) -> None:
    """Serve one client from its first byte to its last."""
    await Session(channel, server).run()


class Session:
    """One client's conversation, in the order above."""

    log = Logger()

    def __init__(self, channel: Channel, server: Server) -> None:
        self.channel = channel
        self.server = server
        self.config = server.config
        self.progress = Progress()
        self.version = NEWEST_VERSION
        self.began = server.clock()
        self.collection: Collection | None = None
        self.has_slot = False
        self.asked_for = 0
        self.unserved = 0

    async def run(self) -> None:
        try:
            over = await self._outcome()
            self._report(over)
            await self._leave(over)
        finally:
            if self.has_slot:
                self.server.slots.give_back()

    async def _outcome(self) -> Over:
        """Have the conversation; how it ended."""
        try:
            await self._converse()
        except GiveUp as over:
            self._say_last(Goaway(over.told))
            return over
        except Over as over:
            return over
        except (ConnectionClosed, IdleTimeout) as lost:  # while the server was sending
            return Over(DoneCode.GOAWAY, str(lost))
        except Exception:
            self.log.failure("{peer}: the session failed", peer=self.channel.peer)
            self._say_last(Goaway(b"Internal error of the file server"))
            return Over(DoneCode.GOAWAY, "Internal error of the file server")
        raise AssertionError("a conversation has no end but Over")

    def _say_last(self, message: Goaway) -> None:
        with suppress(ConnectionClosed):
            self.channel.send(message)

    async def _converse(self) -> None:
        await self._signon()
        setup = await self._setup()
        chain, key = await self._open(setup)
        cipher = await self._crypt(key)
        await self._login()
        if cipher is not None:
            self.channel = EncryptedChannel(self.channel, cipher)
        self.channel.idle_timeout = self.server.idle
        choice = await self._list(setup, chain)
        await self._send_all(choice, with_data=not setup.listonly)
        await self._end()

    # --- 1 to 4: who, what, may they? ---------------------------------------------------------------------------

    async def _signon(self) -> None:
        try:
            await self.channel.receive_probe()
        except UnexpectedMessage as error:  # no SUP client: it is left without a word (SUP 1.2)
            raise Over(DoneCode.GOAWAY, str(error)) from None
        signon = await self._read("signon request", Signon)
        self.version = signon.protocol
        self.channel.params = attrs.evolve(self.channel.params, version=signon.protocol)
        self.channel.send(SignonAck(NEWEST_VERSION, PROGRAM_VERSION, SCM_VERSION, self.server.pid))

    async def _setup(self) -> Setup:
        setup = await self._read("setup request", Setup)
        if self.version < OLDEST_VERSION:
            await self._refuse(SetupCode.OLD, "Sup client using obsolete version of protocol")
        if setup.xpatch:  # a server that runs programs for clients is a thing of the past (SUP 2.17, 9.3.9)
            await self._refuse(SetupCode.HOST, "Host not on access list")
        self.progress.collection = plain_name(setup.collection or b"")
        self.progress.release = DEFAULT if setup.release is None else plain_name(setup.release)
        self.progress.lasttime = setup.lasttime or 0
        self.channel.params = attrs.evolve(self.channel.params, list_only=bool(setup.listonly))
        return setup

    async def _open(self, setup: Setup) -> tuple[tuple[ReleaseTree, ...], bytes | None]:
        """The trees of the release, and the key that the client must use, once SETUP is granted."""
        server = self.server
        try:
            await server.in_thread(self._enter, setup)
        except NoSuchBase as error:
            raise GiveUp(str(error)) from error
        except CollectionError as error:
            raise GiveUp(str(error), error.cause) from error
        self.has_slot = server.slots.take()
        if not self.has_slot:
            await self._refuse(SetupCode.BUSY, "Sup client told to try again later")
        try:
            chain, key = await server.in_naming_thread(self._grant, setup)
        except SameDirectory:
            await self._refuse(SetupCode.SAME, "Attempt to upgrade to same directory on same host")
        except NoSuchRelease:
            await self._refuse(SetupCode.RELEASE, "Invalid release information")
        except HostNotPermitted:
            collection = os.fsdecode(self.progress.collection)
            await self._refuse(SetupCode.HOST, f"Host not on access list for {collection}")
        except Locked:
            await self._refuse(SetupCode.BUSY, "Sup client told to wait for lock")
        except CollectionError as error:
            raise GiveUp(str(error), error.cause) from error
        self.channel.send(SetupAck(SetupCode.OK))
        return chain, key

    def _enter(self, setup: Setup) -> None:
        """Open the collection, as far as that is possible at all. Raises NoSuchBase, CollectionError."""
        asked = None if setup.hostbase is None else setup.hostbase.partition(b"\0")[0]
        name = self.progress.collection
        base = self.config.locate(name, asked)
        try:
            self.collection = Collection(
                name,
                base,
                self.config.roots(),
                self.config.historic,
                self.config.max_entries,
                Listener(self._left_out),
            )
        except OSError as error:
            raise NoSuchBase(asked or base) from error
        self.data = self.collection.data()

    def _grant(self, setup: Setup) -> tuple[tuple[ReleaseTree, ...], bytes | None]:
        """The checks that end in a code, in the original's order (SUP 2.4)."""
        collection, data, peer = self._opened(), self.data, self.channel.peer.host
        theirs = [(number or 0) & 0xFFFFFFFF for number in (setup.basedev, setup.baseino)]
        ours = [data.st_dev & 0xFFFFFFFF, data.st_ino & 0xFFFFFFFF]
        if theirs == ours and self.server.is_own_address(peer):
            raise SameDirectory
        chain = collection.chain(self.progress.release)
        key = collection.admit(chain, peer, self.server.resolve)
        collection.lock()
        return chain, key or collection.crypt_key()

    async def _refuse(self, code: SetupCode, reason: str) -> NoReturn:
        """Answer SETUP with anything but OK; the client of version 6 or more has the last word (SUP 2.2)."""
        if self.has_slot:
            self.server.slots.give_back()
            self.has_slot = False
        self.channel.send(SetupAck(code))
        if self.version < 6:
            raise GiveUp(reason)
        await self._end()

    async def _crypt(self, key: bytes | None) -> Cipher | None:
        """Find out whether the client uses the collection's key (SUP 2.5, 5.2)."""
        cipher = None
        if key is not None and key != PLAIN_KEY:
            try:
                cipher = Cipher(key)
            except UnusableKey as error:
                raise GiveUp("The collection's key cannot be used") from error
            self.log.warn(
                "{peer}: {collection} is encrypted with SUP's historic cipher, which protects nothing",
                peer=self.channel.peer,
                collection=printable(self.progress.collection),
            )
        test = (await self._read("encryption test request", Crypt)).test or b""
        if (cipher.text(test) if cipher else test) != TEST_STRING:
            raise GiveUp("Client not encrypting data properly")
        self.channel.send(CryptOk())
        return cipher

    async def _login(self) -> None:
        login = await self._read("login request", Login)
        try:
            login = decrypted(login)
        except ValueError:
            self.channel.send(LogAck(LoginCode.BAD, b"Improper login encryption"))
            raise GiveUp("Client not encrypting login information properly") from None
        refusal = await self._refusal(login)
        if refusal is None:
            self.channel.send(LogAck(LoginCode.OK, None))
            return
        self.channel.send(LogAck(LoginCode.BAD, _told(refusal)))
        if self.version < 6:
            raise GiveUp("Client denied login access")
        await self._end()

    async def _refusal(self, login: Login) -> str | None:
        """Why the login is not accepted (SUP 2.6); None if it is. Accounts are those of the configuration."""
        if login.user is not None:
            self.progress.user = plain_name(login.user).partition(b",")[0].decode("utf-8", "replace")
        user = self.progress.user
        if user != ANONYMOUS:
            hashed = self.config.users.get(user)
            if hashed is None:
                return f"Reason:  Unknown user {user}"
            if not await self.server.in_thread(passwords.verify, login.password or b"", hashed):
                return "Reason:  Invalid password"
        allowed = self.config.users_of(self.progress.collection)
        if allowed and user not in allowed:
            return "Reason:  Access denied"
        return None

    # --- 5 to 8: what there is, what is needed, and the files -----------------------------------------------------

    async def _list(self, setup: Setup, chain: tuple[ReleaseTree, ...]) -> Choice:
        refuse = await self._read("refuse list", Refuse)
        refused = frozenset(map(plain_name, refuse.names))
        wanted = Wanted(self.progress.lasttime, bool(setup.newonly), refused)
        collection, now = self._opened(), self.server.clock()
        try:
            scan = await self.server.in_walking_thread(collection.scan, chain, wanted, now)
        except CollectionError as error:
            raise GiveUp(str(error), error.cause) from error
        entries = await self.server.in_walking_thread(scan.entries)
        self.progress.listed = len(entries)
        self.channel.send(List(tuple(entries), scan.scantime))
        del entries
        await self.channel.drain()
        need = await self._read("needed files list", Need)
        self.progress.needed = len(need.entries)
        choice = await self.server.in_thread(choose, scan, need.entries, self._left_out)
        self.progress.denied = len(choice.denied)
        self.channel.send(Deny(choice.denied))
        return choice

    async def _send_all(self, choice: Choice, with_data: bool) -> None:
        """A RECV for every SEND, once the client has begun to ask; up to AHEAD of them go before it asks, so that one
        that asks for one at a time is not kept waiting either. The next batch of files is read while one is sent."""
        compress = self.version >= 8 and bool((await self._read("compression check", Compress)).compress)
        await self._until_asked_for(1)
        reader = Reader(choice.outgoing, with_data, compress, self._left_out)
        start = self.server.in_packing_thread if compress else self.server.in_reading_thread
        batch: list[Sendable] = []
        coming: Awaitable[list[Sendable]] | None = start(reader.batch)
        try:
            while coming is not None:
                due, coming = coming, None
                batch = await due
                if batch:
                    coming = start(reader.batch)
                for one in batch:
                    if self.progress.sent - self.asked_for >= AHEAD:
                        await self._until_asked_for(self.progress.sent - AHEAD // 2)
                    await self._send(one)
        except CompressionFailed as error:
            raise GiveUp(str(error)) from error
        finally:
            for one in batch:
                one.close()
            if coming is not None:
                for one in await coming:
                    one.close()
        self.channel.send(Recv())
        await self._until_asked_for(self.progress.sent + 1)

    async def _until_asked_for(self, number: int) -> None:
        """Read SENDs until there were so many."""
        while self.asked_for < number:
            await self._read("receive file request", Send)
            self.asked_for += 1

    async def _send(self, one: Sendable) -> None:
        """One RECV. A file that shrinks under way leaves nothing but to close: its length has been announced."""
        self.progress.sent += 1
        self.progress.octets += one.recv.size or 0
        if one.recv.size is None:
            self.channel.send(one.recv)
            await self.channel.drain()
            return
        try:
            await self.channel.send_file(one.recv, self._long_file(one) if one.left else (one.data,))
        except FileShrank as error:
            self.channel.abort()
            raise Over(DoneCode.GOAWAY, str(error)) from error

    async def _long_file(self, one: Sendable) -> AsyncIterator[bytes]:
        """The data of a long file. While a piece is read the one before is on its way."""
        piece = one.data
        while piece:
            yield piece
            piece = await self.server.in_reading_thread(one.rest)

    async def _end(self) -> NoReturn:
        """The client's DONE; before version 6 there is none, and the server says GOAWAY (SUP 2.2, 2.16).

        A client that asked ahead of time may have asked for more than there was, because names of one file
        travel together (SUP 10.2): at most once for every name it needed.
        """
        if self.version < 6:
            self._say_last(Goaway(None))
            raise Over(DoneCode.SUCCESS, "Unknown")
        try:
            for _ in range(self.progress.needed + 1):
                last: Done | Send = await self.channel.receive(Done, Send)
                if isinstance(last, Done):
                    raise Over(last.code, "No reason" if last.reason is None else printable(last.reason))
            raise UnexpectedMessage("SEND came more often than there were names needed.")
        except PeerGoaway as goaway:
            raise Over(DoneCode.GOAWAY, f"Client gave up: {printable(goaway.reason or b'')}") from goaway
        except (UnexpectedMessage, FormatError, ConnectionClosed, IdleTimeout) as error:
            raise Over(DoneCode.USRERROR, "Premature EOF on network", str(error)) from error

    # --- throughout ---------------------------------------------------------------------------------------------

    async def _read(self, what: str, kind: type[T]) -> T:
        """The client's next message, of which the original says `what` when it cannot be read (SUP 3.3)."""
        try:
            return await self.channel.receive(kind)
        except PeerGoaway as goaway:
            cause = f"client gave up: {printable(goaway.reason or b'')}"
            raise GiveUp(f"Error reading {what} from client", cause) from goaway
        except (UnexpectedMessage, FormatError, ConnectionClosed, IdleTimeout) as error:
            raise GiveUp(f"Error reading {what} from client", str(error)) from error

    def _opened(self) -> Collection:
        assert self.collection is not None, "SETUP opens the collection"
        return self.collection

    def _left_out(self, name: bytes, reason: str) -> None:
        """Log what cannot be served; the first few of it, for there may be as many as files. In any thread."""
        self.unserved += 1
        if self.unserved <= LEFT_OUT_SHOWN:
            self.log.warn(
                "{peer}: {collection}: {name} is not served: {reason}",
                peer=self.channel.peer,
                collection=printable(self.progress.collection),
                name=printable(name),
                reason=reason,
            )

    def _report(self, over: Over) -> None:
        """One line on how the session went."""
        done = self.progress
        collection = printable(done.collection) or "no collection"
        if done.release != DEFAULT:
            collection += f" release {printable(done.release)}"
        self.log.info(
            "{peer}: {collection} for {user}: {listed} listed, {needed} needed, {denied} denied, {sent} sent with "
            "{octets} bytes in {seconds:.2f} s; {code} {reason}{cause}",
            peer=self.channel.peer,
            collection=collection,
            user=printable(_told(done.user)),
            listed=done.listed,
            needed=done.needed,
            denied=done.denied,
            sent=done.sent,
            octets=done.octets,
            seconds=self.server.clock() - self.began,
            code=DONE_NAMES.get(over.code, str(int(over.code))),
            reason=printable(over.told),
            cause=f" ({over.cause})" if over.cause else "",
        )
        if self.unserved > LEFT_OUT_SHOWN:
            self.log.warn(
                "{peer}: {number} names were not served", peer=self.channel.peer, number=self.unserved
            )

    async def _leave(self, over: Over) -> None:
        """Append to the collection's logfile (SUP 6.6) and close it."""
        collection, self.collection = self.collection, None
        if collection is not None:
            await self.server.in_naming_thread(self._close, collection, over)

    def _close(self, collection: Collection, over: Over) -> None:
        with collection:
            if over.code == DoneCode.DONTLOG or not collection.has_log():
                return
            done = self.progress
            host = self.server.host_name(self.channel.peer.host)
            number = DoneCode.SUCCESS - over.code
            ended = self.server.clock()
            release = printable(done.release)
            line = log_line(done.lasttime, self.began, ended, host, release, number, over.reason)
            try:
                collection.log(line)
            except OSError as error:
                self.log.warn(
                    "{peer}: {collection}: no line in the logfile: {reason}",
                    peer=self.channel.peer,
                    collection=printable(done.collection),
                    reason=error.strerror,
                )


def _told(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")[:LONGEST_REASON]


def decrypted(login: Login) -> Login:
    """LOGIN in clear. A build that encrypts uses the constant key if a user is named (SUP 5.3).

    Raises ValueError if it is neither in clear nor under that key.
    """
    if login.logcrypt is None or login.logcrypt == TEST_STRING:
        return login
    cipher = Cipher(PLAIN_KEY)
    if cipher.text(login.logcrypt) != TEST_STRING:
        raise ValueError("the login is encrypted under an unknown key")
    return Login(TEST_STRING, cipher.name(login.user), cipher.name(login.password))
