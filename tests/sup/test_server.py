"""The file server's conversation, message by message, against a scripted client (SUP 2, 3, 5)."""

import fcntl
import gzip
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent

from sup.channel import ConnectionClosed, IdleTimeout, UnexpectedMessage
from sup.cipher import PLAIN_KEY, Cipher
from sup.config import CollectionConfig, ServerConfig
from sup.passwords import hash_password
from sup.server import AHEAD, Server, decrypted, serve
from tests.sup.scripted import ScriptedChannel
from wire.formats.errors import Damage, FormatError
from wire.formats.sup import (
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
    NeedEntry,
    Recv,
    Refuse,
    Send,
    Setup,
    SetupAck,
    SetupCode,
    Signon,
    SignonAck,
)

T = TypeVar("T")
ANON = Login(None, None, None)
SUCCESS = Done(DoneCode.SUCCESS, b"Success")
SIGNON = Signon(8, 26, b"4.3 BSD")
SIGNONACK = SignonAck(8, 13, b"4.3 BSD", 4711)
OPENED = [SIGNONACK, SetupAck(SetupCode.OK), CryptOk(), LogAck(LoginCode.OK, None)]


class Places:
    """Places for clients that can be counted."""

    def __init__(self, free: int) -> None:
        self.free = free

    def take(self) -> bool:
        if self.free == 0:
            return False
        self.free -= 1
        return True

    def give_back(self) -> None:
        self.free += 1


@attrs.define
class Site:
    """A server's disk and configuration."""

    base: Path
    config: ServerConfig
    places: Places = attrs.Factory(lambda: Places(2))
    now: float = 2_000_000_000.5
    own_addresses: tuple[str, ...] = ("127.0.0.1",)

    def control(self, name: str, text: str) -> Path:
        path = self.base / "sup/demo" / name
        path.write_text(text)
        return path

    def setup(self, **changes: Any) -> Setup:
        plain = Setup(0, None, b"demo", 0, os.fsencode(self.base), 0, 0, 0, 0, None)
        return attrs.evolve(plain, **changes)  # type: ignore[misc]

    def server(self) -> Server:
        def at_once(function: Callable[..., T], *args: Any) -> Awaitable[T]:
            async def run() -> T:
                return function(*args)

            return ensureDeferred(run())

        return Server(
            config=self.config,
            slots=self.places,
            in_thread=at_once,
            in_naming_thread=at_once,
            in_walking_thread=at_once,
            in_reading_thread=at_once,
            in_packing_thread=at_once,
            clock=lambda: self.now,
            resolve=lambda name: ["127.0.0.1"] if name == "localhost" else [],
            host_name=lambda address: "client.example",
            is_own_address=lambda address: address in self.own_addresses,
            pid=4711,
        )

    async def converse(self, *script: Any) -> list[Any]:
        """What the server says to a client that says `script`; its channel is in `channel`."""
        self.channel = ScriptedChannel(*script)
        free = self.places.free
        await serve(self.channel, self.server())
        assert self.places.free == free
        return self.channel.sent

    channel: ScriptedChannel = attrs.field(init=False)

    async def after_opening(self, *script: Any, setup: Setup | None = None) -> list[Any]:
        """The same, after an opening that goes well."""
        sent = await self.converse(SIGNON, setup or self.setup(), Crypt(TEST_STRING), ANON, *script)
        assert sent[:4] == OPENED
        return sent[4:]

    def log(self) -> str:
        return (self.base / "sup/demo/logfile").read_text()


def names(message: List) -> list[bytes]:
    return [entry.name for entry in message.entries]


def need(*wanted: bytes) -> Need:
    return Need(tuple(NeedEntry(name, 0) for name in wanted))


def a(test: Callable[..., Coroutine[Any, Any, None]]) -> Any:
    return pytest_twisted.ensureDeferred(test)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    base = tmp_path / "base"
    for name, content in {
        "sup/demo/list": "upgrade data\n",
        "data/a": "aaa",
        "data/b": "bb",
        "data/d/c": "c",
    }.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(content)
    (base / "sup/demo/logfile").touch()
    return Site(base, ServerConfig(bases=(str(base),)))


# --- the whole conversation -------------------------------------------------------------------------------------


@a
async def test_a_session_from_beginning_to_end(site: Site) -> None:
    wanted = need(b"data", b"data/a", b"data/b", b"data/none")
    listing, deny, *rest = await site.after_opening(
        Refuse((b"data/d",)), wanted, Compress(0), *[Send()] * 4, SUCCESS
    )
    assert names(listing) == [b"data", b"data/a", b"data/b"]
    assert listing.scantime == 1_999_999_999
    assert deny == Deny((b"data/none",))
    (first, content), (second, _), directory, end = rest
    assert (first.name, content, second.name) == (b"data/a", b"aaa", b"data/b")
    assert stat.S_ISDIR(directory.mode)
    assert end == Recv()
    assert site.log().endswith(" client.example default 0 Success\n")
    assert site.log().startswith("Jan  1 ")


@a
async def test_nothing_needed(site: Site) -> None:
    setup = site.setup(lasttime=2_100_000_000, newonly=1)
    sent = await site.after_opening(Refuse(()), Need(()), Compress(0), Send(), SUCCESS, setup=setup)
    assert sent == [List((), 1_999_999_999), Deny(()), Recv()]


@a
async def test_list_only(site: Site) -> None:
    setup = site.setup(listonly=16)
    done = Done(DoneCode.DONTLOG, b"List only")
    sent = await site.after_opening(
        Refuse(()), need(b"data/a"), Compress(0), Send(), Send(), done, setup=setup
    )
    assert sent[2].size is None
    assert site.channel.params.list_only
    assert site.log() == ""


@a
async def test_compression(site: Site) -> None:
    sent = await site.after_opening(Refuse(()), need(b"data/a"), Compress(2048), Send(), Send(), SUCCESS)
    recv, data = sent[2]
    assert gzip.decompress(data) == b"aaa"
    assert recv.size == len(data)


@a
async def test_surplus_sends_are_drained(site: Site) -> None:
    """SUP 10.2: a client that asked ahead of time is no failure, as long as it knows a limit."""
    for name in ("y", "z"):
        os.link(site.base / "data/a", site.base / "data" / name)
    wanted = need(b"data/a", b"data/y", b"data/z")
    sent = await site.after_opening(Refuse(()), wanted, Compress(0), *[Send()] * 5, SUCCESS)
    assert len(sent) == 4
    assert " 0 Success" in site.log()
    await site.after_opening(Refuse(()), wanted, Compress(0), *[Send()] * 1000, SUCCESS)
    assert site.log().endswith(" 3 Premature EOF on network\n")


@a
async def test_files_go_before_they_are_asked_for(site: Site) -> None:
    """SUP 10.2: not before the first request, never more than so many ahead, and every request is counted."""
    wanted = [b"data/%03d" % number for number in range(2 * AHEAD)]
    for name in wanted:
        (site.base / os.fsdecode(name)).touch()
    sent_before: list[int] = []

    def asking() -> Send:
        sent_before.append(len(site.channel.sent) - len(OPENED) - 2)
        return Send()

    requests = [asking] * (len(wanted) + 1)
    await site.after_opening(Refuse(()), need(*wanted), Compress(0), *requests, SUCCESS)
    assert sent_before[:2] == [0, 1 + AHEAD]
    assert sent_before[-1] == len(wanted) + 1
    assert all(sent - asked <= AHEAD + 1 for asked, sent in enumerate(sent_before))  # 1: the last, of no name
    assert " 0 Success" in site.log()
    await site.after_opening(Refuse(()), need(*wanted), Compress(0), *requests[:-1], SUCCESS)
    assert " 4 Error reading receive file request from client" in site.log()


@a
async def test_hard_links_and_updates(site: Site) -> None:
    os.link(site.base / "data/a", site.base / "data/z")
    wanted = Need((NeedEntry(b"data/a", 1), NeedEntry(b"data/z", 0)))
    sent = await site.after_opening(Refuse(()), wanted, Compress(0), Send(), Send(), SUCCESS)
    assert (sent[2].name, sent[2].links, sent[2].size) == (b"data/a", (b"data/z",), None)
    assert sent[3] == Recv()


@a
async def test_a_long_file_that_shrinks_ends_the_connection(site: Site) -> None:
    path = site.base / "data/long"
    path.write_bytes(b"x" * 1_000_000)

    def shrink() -> Send:
        os.truncate(path, 1_000_000)
        return Send()

    def choose() -> Need:
        return need(b"data/long")

    class Shrinking(ScriptedChannel):
        async def send_file(self, recv: Recv, chunks: Any) -> None:
            os.truncate(path, 5)
            await super().send_file(recv, chunks)

    site.channel = Shrinking(
        SIGNON,
        site.setup(),
        Crypt(TEST_STRING),
        ANON,
        Refuse(()),
        choose,
        Compress(0),
        shrink,
        Send(),
        SUCCESS,
    )
    await serve(site.channel, site.server())
    assert site.channel.ending == "aborted"
    assert isinstance(site.channel.sent[-1], Deny)
    assert " 4 data/long became shorter" in site.log()


# --- versions -----------------------------------------------------------------------------------------------------


@a
@pytest.mark.parametrize("version", [4, 5])
async def test_versions_without_done(site: Site, version: int) -> None:
    setup = site.setup(xpatch=None, release=None)
    sent = await site.converse(
        Signon(version, 5, b"x"), setup, Crypt(TEST_STRING), ANON, Refuse(()), need(b"data/a"), Send(), Send()
    )
    assert sent[:4] == OPENED
    assert sent[-2:] == [Recv(), Goaway(None)]
    assert site.channel.params.version == version
    assert " default 0 Unknown" in site.log()


@a
@pytest.mark.parametrize("version", [6, 7])
async def test_versions_without_compress(site: Site, version: int) -> None:
    sent = await site.converse(
        Signon(version, 5, b"x"),
        site.setup(),
        Crypt(TEST_STRING),
        ANON,
        Refuse(()),
        Need(()),
        Send(),
        SUCCESS,
    )
    assert sent[-1] == Recv()
    assert " 0 Success" in site.log()


@a
@pytest.mark.parametrize("version", [9, 100, 1000])
async def test_later_versions_are_treated_as_8(site: Site, version: int) -> None:
    signon = Signon(version, 5, b"x")
    script = (site.setup(), Crypt(TEST_STRING), ANON, Refuse(()), Need(()), Compress(0), Send(), SUCCESS)
    sent = await site.converse(signon, *script)
    assert sent[0] == SIGNONACK
    assert sent[-1] == Recv()


@a
@pytest.mark.parametrize("version", [-1, 0, 3])
async def test_obsolete_versions(site: Site, version: int) -> None:
    sent = await site.converse(Signon(version, 5, b"x"), site.setup())
    assert sent == [
        SIGNONACK,
        SetupAck(SetupCode.OLD),
        Goaway(b"Sup client using obsolete version of protocol"),
    ]


# --- SETUP --------------------------------------------------------------------------------------------------------

REFUSED = Done(DoneCode.SRVERROR, b"No thanks")


async def refusal(site: Site, setup: Setup) -> Any:
    """How SETUP is answered; a refusal must leave the last word to the client."""
    _, answer, *more = await site.converse(SIGNON, setup, REFUSED)
    assert not more or answer == SetupAck(SetupCode.OK)
    return answer


@a
async def test_setup_is_checked_in_the_originals_order(site: Site) -> None:
    """SUP 2.4: each obstacle is taken away in turn, and the next one shows."""
    status = os.stat(site.base)
    here = site.setup(basedev=status.st_dev, baseino=status.st_ino, release=b"one", hostbase=b"/nowhere")
    site.control("prefix", "nowhere\n")
    site.control("host", "192.0.2.1\n")
    lock = site.control("lock", "")
    site.places.free = 0
    answer = await refusal(site, attrs.evolve(here, xpatch=1, user=b"anon"))  # type: ignore[misc]
    assert answer == SetupAck(SetupCode.HOST)
    assert await refusal(site, here) == Goaway(b"Can't chdir to base directory /nowhere")
    here = attrs.evolve(here, hostbase=os.fsencode(site.base))  # type: ignore[misc]
    answer = await refusal(site, here)
    assert answer == Goaway(f"Can't chdir to nowhere from base directory {site.base}".encode())
    site.control("prefix", "")
    assert await refusal(site, here) == SetupAck(SetupCode.BUSY)
    site.places.free = 2
    assert await refusal(site, here) == SetupAck(SetupCode.SAME)
    site.own_addresses = ()
    assert await refusal(site, here) == SetupAck(SetupCode.RELEASE)
    site.control("releases", "one prefix=data\n")
    assert await refusal(site, here) == SetupAck(SetupCode.HOST)
    site.control("host", "127.0.0.1\n")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await refusal(site, here) == SetupAck(SetupCode.BUSY)
    assert await refusal(site, here) == SetupAck(SetupCode.OK)
    reasons = [line.rsplit(" ", 3)[1:] for line in site.log().splitlines()]
    assert reasons.count(["2", "No", "thanks"]) == 5


@a
async def test_refusals_of_old_versions_are_told_in_goaway(site: Site) -> None:
    site.places.free = 0
    sent = await site.converse(Signon(5, 5, b"x"), site.setup())
    assert sent[1:] == [SetupAck(SetupCode.BUSY), Goaway(b"Sup client told to try again later")]
    site.places.free = 2
    site.control("host", "")
    sent = await site.converse(Signon(5, 5, b"x"), site.setup())
    assert sent[1:] == [SetupAck(SetupCode.HOST), Goaway(b"Host not on access list for demo")]


@a
@pytest.mark.parametrize("prefix", [False, True])
async def test_the_directory_of_the_data_is_what_is_compared(site: Site, prefix: bool) -> None:
    if prefix:
        site.control("prefix", "data\n")
    status = os.stat(site.base / "data" if prefix else site.base)
    setup = site.setup(basedev=status.st_dev, baseino=status.st_ino & 0xFFFFFFFF)
    assert await refusal(site, setup) == SetupAck(SetupCode.SAME)
    assert await refusal(site, site.setup(basedev=status.st_dev)) == SetupAck(SetupCode.OK)


@a
@pytest.mark.parametrize("collection", [None, b"", b"../sup/demo", b"/demo", b"demo/../demo", b"x" * 300])
async def test_collection_names_that_lead_elsewhere(site: Site, collection: bytes | None) -> None:
    answer = await refusal(site, site.setup(collection=collection))
    assert answer.reason.startswith(b"Can't chdir to base directory ")


@a
async def test_strings_end_at_their_first_nul(site: Site) -> None:
    setup = site.setup(
        collection=b"demo\0x", hostbase=os.fsencode(site.base) + b"\0/etc", release=b"default\0x"
    )
    assert await refusal(site, setup) == SetupAck(SetupCode.OK)


@a
async def test_no_base_means_the_configured_one(site: Site) -> None:
    site.config = ServerConfig(collections={"demo": CollectionConfig(base=str(site.base))})
    for hostbase in (None, b"", os.fsencode(site.base)):
        assert await refusal(site, site.setup(hostbase=hostbase)) == SetupAck(SetupCode.OK)


@a
async def test_an_empty_release_is_no_default(site: Site) -> None:
    assert await refusal(site, site.setup(release=b"")) == SetupAck(SetupCode.RELEASE)


# --- CRYPT and LOGIN ----------------------------------------------------------------------------------------------


@a
@pytest.mark.parametrize("test", [None, b"", b"Hello", TEST_STRING + b"!"])
async def test_a_wrong_test_string(site: Site, test: bytes | None) -> None:
    sent = await site.converse(SIGNON, site.setup(), Crypt(test))
    assert sent[2:] == [Goaway(b"Client not encrypting data properly")]
    assert " 4 Client not encrypting data properly" in site.log()


@a
async def test_a_key_that_cannot_be_used(site: Site) -> None:
    site.control("crypt", "?!\n")
    sent = await site.converse(SIGNON, site.setup(), Crypt(TEST_STRING))
    assert sent[2:] == [Goaway(b"The collection's key cannot be used")]


@a
@pytest.mark.parametrize("where", ["crypt", "host"])
async def test_an_encrypted_session(site: Site, where: str) -> None:
    site.control(where, "secretkey\n" if where == "crypt" else "127.0.0.1 secretkey\n")
    cipher = Cipher(b"secretkey")
    text = cipher.text
    sent = await site.converse(
        SIGNON,
        site.setup(),
        Crypt(text(TEST_STRING)),
        ANON,
        Refuse((text(b"data/d"),)),
        Need((NeedEntry(text(b"data/a"), 0), NeedEntry(text(b"zz"), 0))),
        Compress(0),
        Send(),
        Send(),
        SUCCESS,
    )
    assert sent[:4] == OPENED
    assert names(cipher.message(sent[4])) == [b"data", b"data/a", b"data/b"]
    assert sent[5] == Deny((text(b"zz"),))
    recv, data = sent[6]
    assert cipher.message(recv).name == b"data/a"
    assert text(data) == b"aaa"
    assert sent[7] == Recv()
    assert " 0 Success" in site.log()


@a
async def test_the_key_that_means_none(site: Site) -> None:
    site.control("crypt", PLAIN_KEY.decode())
    assert (await site.after_opening(SUCCESS)) == [Goaway(b"Error reading refuse list from client")]


JOE = hash_password(b"secret")


@a
@pytest.mark.parametrize(
    ("login", "error"),
    [
        (ANON, b"Reason:  Access denied"),
        (Login(TEST_STRING, b"anon", b"x"), b"Reason:  Access denied"),
        (Login(TEST_STRING, b"joe", b"secret"), None),
        (Login(None, b"joe,wheel,account", b"secret"), None),
        (Login(TEST_STRING, b"joe", b"wrong"), b"Reason:  Invalid password"),
        (Login(TEST_STRING, b"joe", None), b"Reason:  Invalid password"),
        (Login(TEST_STRING, b"ann", b"secret"), b"Reason:  Access denied"),
        (Login(TEST_STRING, b"root", b"secret"), b"Reason:  Unknown user root"),
        (Login(TEST_STRING, b"", b""), b"Reason:  Unknown user "),
        (Login(TEST_STRING, b"\xff\n", b""), "Reason:  Unknown user \ufffd\n".encode()),
    ],
)
async def test_logins(site: Site, login: Login, error: bytes | None) -> None:
    held = CollectionConfig(base=str(site.base), users=("joe",))
    site.config = ServerConfig(collections={"demo": held}, users={"joe": JOE, "ann": JOE})
    sent = await site.converse(SIGNON, site.setup(), Crypt(TEST_STRING), login, REFUSED)
    assert sent[3] == LogAck(LoginCode.BAD if error else LoginCode.OK, error)
    sent = await site.converse(Signon(5, 5, b"x"), site.setup(), Crypt(TEST_STRING), login)
    if error:
        assert sent[4:] == [Goaway(b"Client denied login access")]


@a
async def test_a_collection_for_everybody_takes_logins_too(site: Site) -> None:
    site.config = attrs.evolve(site.config, users={"joe": JOE})
    for login in (ANON, Login(TEST_STRING, b"anon", b"any"), Login(TEST_STRING, b"joe", b"secret")):
        sent = await site.converse(SIGNON, site.setup(), Crypt(TEST_STRING), login)
        assert sent[3] == LogAck(LoginCode.OK, None)


@a
async def test_a_login_under_another_key(site: Site) -> None:
    sent = await site.converse(SIGNON, site.setup(), Crypt(TEST_STRING), Login(b"gibberish", b"joe", b"x"))
    assert sent[3:] == [
        LogAck(LoginCode.BAD, b"Improper login encryption"),
        Goaway(b"Client not encrypting login information properly"),
    ]


def test_logins_of_builds_that_encrypt() -> None:
    cipher = Cipher(PLAIN_KEY)
    secret = Login(cipher.text(TEST_STRING), cipher.text(b"joe"), None)
    assert decrypted(secret) == Login(TEST_STRING, b"joe", None)
    plain = Login(TEST_STRING, b"joe", b"x")
    assert decrypted(plain) is plain


# --- what goes wrong ----------------------------------------------------------------------------------------------

STEPS = [
    ("signon request", 0),
    ("setup request", 1),
    ("encryption test request", 2),
    ("login request", 3),
    ("refuse list", 4),
    ("needed files list", 5),
    ("compression check", 6),
    ("receive file request", 7),
    ("receive file request", 8),
]


@a
@pytest.mark.parametrize(
    "event",
    [
        Goaway(b"I give up"),
        Goaway(None),
        ConnectionClosed("gone"),
        IdleTimeout(120.0),
        FormatError(Damage.COUNT, "name", 12),
        UnexpectedMessage("DONE came where SEND was expected."),
    ],
)
@pytest.mark.parametrize(("what", "step"), STEPS)
async def test_whatever_ends_a_conversation_at_any_step(site: Site, what: str, step: int, event: Any) -> None:
    script = [
        SIGNON,
        site.setup(),
        Crypt(TEST_STRING),
        ANON,
        Refuse(()),
        need(b"data/a"),
        Compress(0),
        Send(),
    ]
    sent = await site.converse(*script[:step], event)
    assert sent[-1] == Goaway(f"Error reading {what} from client".encode())
    if step > 1:
        assert f" 4 Error reading {what} from client" in site.log()


@a
@pytest.mark.parametrize(
    ("last", "line"),
    [
        (SUCCESS, " 0 Success"),
        (Done(DoneCode.USRERROR, b"Completed with errors"), " 3 Completed with errors"),
        (Done(DoneCode.SUCCESS, None), " 0 No reason"),
        (Done(DoneCode.SUCCESS, b"\x1b[2J\nfake line"), r" 0 \x1b[2J\nfake line"),
        (ConnectionClosed("gone"), " 3 Premature EOF on network"),
        (IdleTimeout(3.0), " 3 Premature EOF on network"),
        (Goaway(b"Aborted"), " 4 Client gave up: Aborted"),
    ],
)
async def test_how_a_session_may_end(site: Site, last: Any, line: str) -> None:
    await site.after_opening(Refuse(()), Need(()), Compress(0), Send(), last)
    assert site.log().endswith(f"default{line}\n")


@a
async def test_a_first_word_that_is_no_probe_gets_no_answer(site: Site) -> None:
    class NoProbe(ScriptedChannel):
        async def receive_probe(self) -> None:
            raise UnexpectedMessage("no probe")

    channel = NoProbe()
    await serve(channel, site.server())
    assert channel.sent == []


@a
@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("list", "frobnicate x\n", "Invalid list file keyword frobnicate"),
        ("scan", "V2\ndamage\n", "scanfile format inconsistent"),
    ],
)
async def test_collections_that_cannot_be_listed(site: Site, file: str, text: str, reason: str) -> None:
    site.control(file, text)
    assert await site.after_opening(Refuse(())) == [Goaway(reason.encode())]
    assert f" 4 {reason}" in site.log()


@a
async def test_names_that_are_no_text(site: Site) -> None:
    """The client hears of them byte by byte, and nothing stays open."""
    before = len(os.listdir("/dev/fd"))
    sent = await site.after_opening(Refuse(()), setup=site.setup(collection=b"caf\xe9"))
    assert sent == [Goaway(b"Can't read list file sup/caf\xe9/list")]
    assert len(os.listdir("/dev/fd")) == before


@a
@pytest.mark.parametrize("length", [1000, 16000])
async def test_reasons_are_no_longer_than_every_client_can_read(site: Site, length: int) -> None:
    sent = await site.converse(SIGNON, site.setup(hostbase=b"/" + b"\xff" * length))
    assert sent[-1].reason.startswith(b"Can't chdir to base directory /")
    assert len(sent[-1].reason) <= 1999


@a
async def test_the_log_does_not_repeat_what_controls_a_terminal(site: Site) -> None:
    with capturedLogs() as events:
        await site.converse(SIGNON, site.setup(hostbase=b"/x\n12:00:00 y\x1b[2J"))
        await site.converse(
            SIGNON, site.setup(), Crypt(TEST_STRING), Login(None, b"joe\x1b[2J\n", None), SUCCESS
        )
    texts = [formatEvent(event) for event in events]
    assert len(texts) == 2
    assert all(text.isprintable() for text in texts), texts


@a
@pytest.mark.parametrize("file", ["prefix", "releases", "host", "lock", "crypt"])
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("elsewhere", "link leads out of"),
        ("nowhere", "No such file"),
        ("no file", "not a regular file"),
    ],
)
async def test_control_files_that_cannot_be_read_let_nobody_in(
    site: Site, file: str, how: str, why: str
) -> None:
    path = site.base / "sup/demo" / file
    if how == "no file":
        path.mkdir()
    else:
        path.symlink_to(site.base.parent / how)
        (site.base.parent / "elsewhere").write_text("192.0.2.1\n")
    with capturedLogs() as events:
        sent = await site.converse(SIGNON, site.setup(), Crypt(TEST_STRING), ANON, Refuse(()))
    assert sent == [SIGNONACK, Goaway(f"Can't read {file} file sup/demo/{file}".encode())]
    assert why in formatEvent(events[-1])


@a
@pytest.mark.parametrize(
    ("file", "text", "answer"),
    [
        ("prefix", "da\0ta\n", Goaway),
        ("releases", "default prefix=da\0ta\n", SetupAck),
    ],
)
async def test_a_prefix_that_is_no_path(site: Site, file: str, text: str, answer: type) -> None:
    site.control(file, text)
    sent = await site.converse(SIGNON, site.setup(), SUCCESS)
    assert type(sent[-1]) is answer
    assert sent[-1] != Goaway(b"Internal error of the file server")


@a
async def test_a_logfile_that_takes_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sup.collection.Collection.log", full)
    with capturedLogs() as events:
        await site.after_opening(Refuse(()), Need(()), Compress(0), Send(), SUCCESS)
    assert "no line in the logfile: No space left on device" in formatEvent(events[-1])


@a
async def test_an_error_of_the_servers_own(
    site: Site, monkeypatch: pytest.MonkeyPatch, unhandled_errors: list[LogEvent]
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sup.collection.Collection.scan", broken)
    assert await site.after_opening(Refuse(())) == [Goaway(b"Internal error of the file server")]
    assert " 4 Internal error" in site.log()
    unhandled_errors.clear()


@a
async def test_no_descriptor_is_left_open(site: Site) -> None:
    (site.base / "data/long").write_bytes(b"x" * 1_000_000)
    before = len(os.listdir("/dev/fd"))
    script = [Refuse(()), need(b"data/a", b"data/long"), Compress(1), Send(), Send(), Send(), SUCCESS]
    for length in range(len(script) + 1):
        await site.after_opening(*script[:length])
    assert len(os.listdir("/dev/fd")) == before


@a
async def test_nor_of_a_file_that_was_read_ahead(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: object) -> None:
        raise ConnectionClosed("lost")

    monkeypatch.setattr(ScriptedChannel, "send_file", lost)
    for name in ("long", "longer"):
        (site.base / "data" / name).write_bytes(b"x" * 1_000_000)
    before = len(os.listdir("/dev/fd"))
    await site.after_opening(Refuse(()), need(b"data/long", b"data/longer"), Compress(0), Send())
    assert len(os.listdir("/dev/fd")) == before
    assert site.log().endswith(" 4 lost\n")


@a
async def test_what_is_not_served_is_logged_a_few_times(site: Site) -> None:
    for number in range(50):
        os.mkfifo(site.base / f"data/fifo{number}")
    with capturedLogs() as events:
        wanted = need(*[b"data/fifo%d" % number for number in range(50)])
        sent = await site.after_opening(Refuse(()), wanted, Compress(0), Send(), SUCCESS)
    assert len(sent[1].names) == 50
    assert len([event for event in events if event["log_level"] is LogLevel.warn]) == 21
