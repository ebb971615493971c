"""The conversation from the client's side, against servers that say what is written down here."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from sup.channel import ConnectionClosed, IdleTimeout
from sup.cipher import PLAIN_KEY, Cipher
from sup.client import Aborted, Busy, Obsolete, Session, Settings, Status
from sup.control import ControlFiles
from sup.durability import NOT_DURABLE, Durability
from sup.report import Report
from sup.supfile import Collection
from sup.workspace import Workspace
from tests.sup.installing import NEW, at_once, changed, directory, file, finished, symlink, update
from tests.sup.scripted_server import ScriptedServer, listing, opening, session
from wire.formats.sup import (
    TEST_STRING,
    Compress,
    Crypt,
    Deny,
    Done,
    DoneCode,
    Goaway,
    ListEntry,
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

SCAN = 2_000_000_000


@frozen
class Ended:
    """A session that is over."""

    status: Status | None
    error: Exception | None
    channel: ScriptedServer
    report: Report
    said: list[str]
    base: Path

    def when(self) -> str | None:
        """The file `when`, if there is one."""
        path = self.base / "sup/demo/when"
        return path.read_text() if path.exists() else None

    def last(self) -> list[str]:
        """The lines of the file `last`."""
        return (self.base / "sup/demo/last").read_text().splitlines()

    def files(self) -> list[str]:
        """What is in the base directory besides control files."""
        found = [str(path.relative_to(self.base)) for path in self.base.rglob("*")]
        return sorted(name for name in found if not (name + "/").startswith("sup/"))


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a session against a script; settings of the collection are keyword arguments."""
    base = tmp_path / "base"
    base.mkdir()

    def upgrade(
        script: Iterable[Any],
        window: int = 64,
        follow: bool = False,
        durability: Durability = NOT_DURABLE,
        server: type[ScriptedServer] = ScriptedServer,
        **settings: Any,
    ) -> Ended:
        channel, said = server(script), list[str]()
        report = Report(said.append, verbose=True)
        values: Any = {"base": os.fsencode(base), "verbose": True, **settings}
        collection = Collection(b"demo", **values)
        how = Settings(
            durability=durability,
            offload=at_once,
            clock=lambda: 1_500_000_000.0,
            window=window,
            follow_symlinks=follow,
        )
        status, error = None, None
        with Workspace(collection, follow) as workspace:
            try:
                status = finished(Session(channel, collection, workspace, report, how).run())
            except (Aborted, Busy) as raised:
                error = raised
        assert not list(tmp_path.rglob("#*")), "temporary files are left"
        return Ended(status, error, channel, report, said, base)

    return upgrade


def entry(recv: Recv, flags: int = NEW) -> ListEntry:
    """How a LIST shows what a RECV brings."""
    return ListEntry(recv.name or b"", recv.mode or 0, flags, recv.mtime or 0)


A = file(b"data/a", size=1)
B = file(b"data/b", size=2)
DATA = directory(b"data")
TREE = [entry(DATA), entry(A), entry(B)]
TRANSFER = [A, b"a", B, b"bb", DATA]


def test_an_ordinary_session(run: Run) -> None:
    ended = run(session(TREE, TRANSFER))
    assert (ended.status, ended.error, ended.report.problems) == (Status.DONE, None, [])
    assert ended.files() == ["data", "data/a", "data/b"]
    assert (ended.base / "data/b").read_bytes() == b"bb"
    assert ended.when() == f"{SCAN}\n"
    assert ended.last() == ["data", "data/a", "data/b"]
    assert sorted(path.name for path in (ended.base / "sup/demo").iterdir()) == ["last", "when"]
    channel = ended.channel
    assert channel.kinds() == [
        "probe",
        "Signon",
        "Setup",
        "Crypt",
        "Login",
        "Refuse",
        "Need",
        "Compress",
        "Send",
        "Done",
    ]
    top = ended.base.stat()
    assert channel.only(Signon) == Signon(8, 26, b"4.3 BSD")
    setup = channel.only(Setup)
    assert setup == Setup(0, None, b"demo", 0, None, setup.basedev, setup.baseino, 0, 1, None)
    assert ((setup.basedev or 0) % 2**32, (setup.baseino or 0) % 2**32) == (top.st_dev, top.st_ino)
    assert channel.only(Crypt) == Crypt(TEST_STRING)
    assert channel.only(Login) == Login(None, None, None)
    assert channel.only(Refuse) == Refuse(())
    assert channel.only(Need) == Need(tuple(NeedEntry(name, 0) for name in (b"data", b"data/a", b"data/b")))
    assert channel.only(Compress) == Compress(0)
    assert sum(isinstance(message, Send) for message in channel.sent) == 4
    assert channel.only(Done) == Done(DoneCode.SUCCESS, b"Success")
    assert channel.unread == []
    assert [line.split(" at ")[0].split(" on ")[0] for line in ended.said] == [
        "SUP Fileserver 8.13 (4.3 BSD) 4711",
        f"SUP Created directory {ended.base}/sup",
        f"SUP Requesting changes since {ended.said[2][29:]}",
        "SUP Created directory data for data/a",
        "SUP Receiving file data/a",
        "SUP Receiving file data/b",
        "SUP Updated directory data",
        "SUP Upgrade of demo completed",
    ]


def test_nothing_to_do(run: Run) -> None:
    run(session(TREE, TRANSFER))
    ended = run(session([], [], version=8))
    assert ended.status is Status.DONE
    assert ended.channel.only(Setup).lasttime == SCAN
    assert ended.channel.only(Need) == Need(())
    assert ended.last() == ["data", "data/a", "data/b"]


def test_when_is_written_before_done_and_last_after(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    send, rename = ScriptedServer.send, os.rename

    def noted_send(self: ScriptedServer, *messages: Any) -> None:
        order.extend(type(message).__name__ for message in messages if isinstance(message, Done))
        send(self, *messages)

    def noted_rename(source: bytes, target: bytes, **options: int) -> None:
        order.extend([os.fsdecode(target)] if target in (b"when", b"last") else [])
        rename(source, target, **options)

    monkeypatch.setattr(ScriptedServer, "send", noted_send)
    monkeypatch.setattr(os, "rename", noted_rename)
    run(session(TREE, TRANSFER))
    assert order == ["when", "Done", "last"]


class TestOptions:
    """What the supfile and the flags change in the messages."""

    def test_setup(self, run: Run) -> None:
        ended = run(
            session([], []),
            hostbase=b"/srv",
            release=b"beta",
            delete=True,
            compress=True,
            use_rel_suffix=True,
        )
        setup = ended.channel.only(Setup)
        assert (setup.hostbase, setup.release, setup.newonly) == (b"/srv", b"beta", 0)
        assert ended.channel.only(Compress) == Compress(2048)
        names = sorted(path.name for path in (ended.base / "sup/demo").iterdir())
        assert names == ["last.beta", "when.beta"]

    def test_login(self, run: Run) -> None:
        ended = run(session([], []), login=b"joe", password=b"secret")
        assert ended.channel.only(Login) == Login(TEST_STRING, b"joe", b"secret")

    def test_the_key_that_is_none(self, run: Run) -> None:
        ended = run(session([], []), crypt=b"SuperMan", login=b"joe", password=b"secret")
        assert ended.channel.only(Crypt) == Crypt(TEST_STRING)
        assert ended.channel.only(Login) == Login(TEST_STRING, b"joe", b"secret")

    def test_refuse(self, run: Run) -> None:
        run(session([], []))
        ended_once = run(session([], []))
        (ended_once.base / "sup/demo/refuse").write_text("data/b\n./data/a\n#x\n")
        assert run(session([], [])).channel.only(Refuse) == Refuse((b"data/a", b"data/b"))

    def test_a_name_the_server_writes_in_its_own_way(self, run: Run) -> None:
        odd = changed(A, name=b"data//./a")
        ended = run(session([entry(odd)], [odd, b"a"]))
        assert ended.status is Status.DONE
        assert ended.channel.only(Need) == Need((NeedEntry(b"data//./a", 0),))
        assert ended.files() == ["data", "data/a"]
        assert ended.last() == ["data/a"]


class TestVersions:
    """Servers of protocol versions 3 to 100 (SUP 2.2)."""

    @pytest.mark.parametrize("version", [4, 5, 6, 7, 8, 9, 100])
    def test_what_each_is_told(self, run: Run, version: int) -> None:
        ended = run(session(TREE, TRANSFER, version=version), release=b"beta", compress=version < 8)
        assert ended.status is Status.DONE
        assert (ended.base / "data/b").read_bytes() == b"bb"
        setup = ended.channel.only(Setup)
        assert setup.xpatch == (0 if version >= 7 else None)
        assert setup.release == (b"beta" if version >= 6 else None)
        assert ("Compress" in ended.channel.kinds()) is (version >= 8)
        assert ended.channel.sent[-1] == (
            Done(DoneCode.SUCCESS, b"Success") if version >= 6 else Goaway(None)
        )
        assert ended.channel.params.version == min(version, 8)

    @pytest.mark.parametrize("version", [0, 3])
    def test_those_that_are_too_old(self, run: Run, version: int) -> None:
        ended = run([SignonAck(version, 1, b"", 1)])
        assert isinstance(ended.error, Obsolete)
        assert ended.channel.sent[-1] == Goaway(b"Fileserver sup protocol version is obsolete.")


class TestRefusals:
    """Every answer to SETUP and LOGIN (SUP 2.4, 2.6)."""

    @pytest.mark.parametrize("version", [5, 8])
    @pytest.mark.parametrize(
        ("code", "told", "said"),
        [
            (SetupCode.HOST, b"Permission denied", "This host has no permission to access demo"),
            (SetupCode.SAME, b"Overwrite error", "Attempt to upgrade from same host to same directory"),
            (SetupCode.OLD, b"Obsolete client", "This version of SUP is too old for the fileserver"),
            (SetupCode.RELEASE, b"Invalid release", "Invalid release default for collection demo"),
        ],
    )
    def test_setup(self, run: Run, version: int, code: SetupCode, told: bytes, said: str) -> None:
        ended = run([*opening(version)[:1], SetupAck(code)])
        assert str(ended.error) == said
        last = Done(DoneCode.SRVERROR, told) if version >= 6 else Goaway(told)
        assert ended.channel.sent[-1] == last
        assert ended.files() == []

    def test_busy(self, run: Run) -> None:
        ended = run([*opening()[:1], SetupAck(SetupCode.BUSY)])
        assert isinstance(ended.error, Busy)
        assert ended.channel.sent[-1] == Done(DoneCode.SRVERROR, b"Fileserver is busy")

    def test_an_unknown_code(self, run: Run) -> None:
        unknown: Any = 12
        ended = run([*opening()[:1], SetupAck(unknown)])
        assert ended.channel.sent[-1] == Goaway(b"Unrecognized file server setup status 12")

    def test_login(self, run: Run) -> None:
        script = [*opening()[:3], LogAck(LoginCode.BAD, b"Reason:  Invalid password")]
        ended = run(script, login=b"joe", password=b"wrong")
        assert str(ended.error) == "Improper login to joe account"
        assert "SUP: Reason:  Invalid password" in ended.said
        assert ended.channel.sent[-1] == Done(DoneCode.SRVERROR, b"Improper login")


STEPS = [*opening(), listing(*TREE), Deny(()), A, b"a", B, b"bb", DATA]


class TestEndings:
    """The server gives up, vanishes, or talks out of turn, at every step (SUP 2.18, 3.3)."""

    @pytest.mark.parametrize("step", range(len(STEPS)))
    @pytest.mark.parametrize(
        "event",
        [
            Goaway(b"We died"),
            Goaway(None),
            ConnectionClosed("The other side closed the connection."),
            IdleTimeout(7200),
            Send(),
        ],
        ids=["goaway", "goaway-null", "closed", "silent", "out-of-turn"],
    )
    def test_every_step(self, run: Run, step: int, event: Any) -> None:
        if isinstance(STEPS[step], bytes) and not isinstance(event, Exception):
            event = ConnectionClosed("within a file there is nothing but the file")
        ended = run([*STEPS[:step], event])
        assert isinstance(ended.error, Aborted)
        assert str(ended.error).startswith("Error re")
        assert isinstance(ended.channel.sent[-1], Goaway)
        assert ended.when() is None
        assert not (ended.base / "sup/demo/last").exists()
        if event == Goaway(b"We died"):
            assert "SUP: SCM GOAWAY We died" in ended.said
        # What had come completely is installed, and nothing else.
        expected = [name for at, name in ((8, "data/a"), (10, "data/b")) if step >= at]
        assert [name for name in ended.files() if name != "data"] == expected

    @pytest.mark.parametrize("step", range(len(STEPS)))
    def test_the_next_run_completes(self, run: Run, step: int) -> None:
        run(STEPS[:step])
        ended = run(session(TREE, [A, b"a", B, b"bb", DATA]))
        assert ended.status is Status.DONE
        assert ended.last() == ["data", "data/a", "data/b"]

    def test_a_connection_lost_after_the_last_file_does_not_matter(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send = ScriptedServer.send

        def broken(self: ScriptedServer, *messages: Any) -> None:
            if any(isinstance(message, Done) for message in messages):
                raise ConnectionClosed("The other side closed the connection.")
            send(self, *messages)

        monkeypatch.setattr(ScriptedServer, "send", broken)
        ended = run(session(TREE, TRANSFER))
        assert ended.status is Status.DONE
        assert ended.when() == f"{SCAN}\n"
        assert ended.last() == ["data", "data/a", "data/b"]

    @pytest.mark.parametrize("came", [None, -2])
    def test_a_connection_that_is_lost_while_a_file_is_dealt_with(self, run: Run, came: int | None) -> None:
        """Nothing more can be asked for, but what has come before counts: be it all, the upgrade is done."""

        class Lost(ScriptedServer):
            def send(self, *messages: Any) -> None:
                if Recv() not in self.unread or DATA in self.unread[:1]:
                    raise ConnectionClosed("The connection was lost.")
                super().send(*messages)

        ended = run(session(TREE, TRANSFER)[:came], window=1, server=Lost)
        assert ended.files() == ["data", "data/a", "data/b"]
        if came is None:
            assert (ended.status, ended.report.problems) == (Status.DONE, [])
        else:
            assert str(ended.error) == "Error receiving file from file server"
            assert ended.report.problems == ["The other side closed the connection."]
            assert ended.when() is None

    def test_a_goaway_does_not_talk_to_the_terminal(self, run: Run) -> None:
        ended = run([Goaway(b"\x1b[2Jbad\nSUP Upgrade of demo completed")])
        assert "SUP: SCM GOAWAY \\x1b[2Jbad\\nSUP Upgrade of demo completed" in ended.said


class TestIncomplete:
    """Errors that do not end the session: neither `when` nor `last` are written (SUP 3.2)."""

    def test_a_file_the_server_cannot_read(self, run: Run) -> None:
        ended = run(session(TREE, [changed(A, mode=0, size=None), B, b"bb", DATA]))
        assert ended.status is Status.ERRORS
        assert ended.report.problems == ["File server unable to transfer file data/a"]
        assert ended.channel.only(Done) == Done(DoneCode.USRERROR, b"Completed with errors")
        assert ended.files() == ["data", "data/b"]
        assert ended.when() is None
        assert not (ended.base / "sup/demo/last").exists()
        assert "SUP: Upgrade time will not be updated" in ended.said

    def test_with_an_old_server(self, run: Run) -> None:
        ended = run(session(TREE, [changed(A, mode=0, size=None), B, b"bb", DATA], version=5))
        assert ended.channel.sent[-1] == Goaway(b"Completed with errors")

    def test_when_cannot_be_written(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "base/sup/demo/when/x").mkdir(parents=True)
        ended = run(session(TREE, TRANSFER))
        # It cannot be read either: then nothing is begun.
        assert isinstance(ended.error, Aborted)

    def test_a_disk_that_becomes_full_at_the_end(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ControlFiles, "write_when", full)
        ended = run(session(TREE, TRANSFER))
        assert ended.status is Status.ERRORS
        assert ended.channel.sent[-1] == Done(DoneCode.USRERROR, b"Couldn't timestamp")
        assert ended.report.problems == [
            "Can't record current time in sup/demo/when (No space left on device)"
        ]
        assert not (ended.base / "sup/demo/last").exists()

    @pytest.mark.parametrize(
        ("failing", "said", "files"),
        [(1, "Can't bring 2 files to the disk", ["data"]), (2, "Can't bring the files to the disk", None)],
    )
    def test_a_disk_that_does_not_take_it(
        self, run: Run, failing: int, said: str, files: list[str] | None
    ) -> None:
        """The data, or the names that are given last."""
        barriers: list[int] = []

        def barrier(fd: int) -> None:
            barriers.append(fd)
            if len(barriers) == failing:
                raise OSError(5, "Input/output error")

        ended = run(session(TREE, TRANSFER), durability=Durability(lambda _: None, barrier))
        assert ended.report.problems == [f"{said} (Input/output error)"]
        assert ended.status is Status.ERRORS
        assert ended.when() is None
        assert ended.files() == (files or ["data", "data/a", "data/b"])

    def test_last_cannot_be_written(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "base/sup/demo/last.temp/x").mkdir(parents=True)
        ended = run(session(TREE, TRANSFER))
        assert ended.status is Status.ERRORS
        assert ended.when() == f"{SCAN}\n"
        assert len(ended.report.problems) == 1

    def test_denied_files_do_not_count(self, run: Run) -> None:
        fifo = ListEntry(b"data/fifo", 0o010644, NEW, 5)
        ended = run(session([*TREE, fifo], TRANSFER, denied=(b"data/fifo",)))
        assert ended.status is Status.DONE
        assert "SUP: Access denied to data/fifo" in ended.said
        assert "data/fifo" in ended.last()
        assert ended.channel.sent.count(Send()) == 4

    def test_files_of_an_unfinished_run_are_known_to_the_next(self, run: Run) -> None:
        ended = run([*STEPS[:8], ConnectionClosed("lost")])
        assert ended.files() == ["data", "data/a"]
        ended = run(session([ListEntry(b"x", 0o100644, 0, 5)], []), delete=True)
        assert "SUP Deleted file data/a" in ended.said


class TestDeletion:
    """Names in `last` that are no longer listed (SUP 8.2)."""

    def test_delete(self, run: Run) -> None:
        run(session(TREE, TRANSFER))
        ended = run(session([entry(DATA, 0), entry(A, 0)], []), delete=True)
        assert ended.status is Status.DONE
        assert ended.files() == ["data", "data/a"]
        assert ended.last() == ["data", "data/a"]
        assert "SUP Deleted file data/b" in ended.said

    def test_is_on_the_disk_before_it_is_recorded(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run(session(TREE, TRANSFER))
        events: list[str] = []
        write = ControlFiles.write_when

        def noted(control: ControlFiles, scantime: int) -> None:
            events.append("when")
            write(control, scantime)

        monkeypatch.setattr(ControlFiles, "write_when", noted)
        durability = Durability(lambda _: events.append("sync"), lambda _: events.append("barrier"))
        ended = run(session([entry(DATA, 0), entry(A, 0)], []), durability=durability, delete=True)
        assert ended.files() == ["data", "data/a"]
        assert events == ["barrier", "when"]

    def test_before_any_file_comes(self, run: Run) -> None:
        run(session(TREE, TRANSFER))
        ended = run(
            [*opening(), listing(entry(DATA), entry(A)), Deny(()), ConnectionClosed("lost")], delete=True
        )
        assert ended.files() == ["data", "data/a"]

    @pytest.mark.parametrize("settings", [{}, {"old": True}])
    def test_not_without_delete(self, run: Run, settings: dict[str, Any]) -> None:
        run(session(TREE, TRANSFER))
        ended = run(session([entry(DATA, 0), entry(A, 0)], []), **settings)
        assert ended.files() == ["data", "data/a", "data/b"]
        assert ended.last() == ["data", "data/a", "data/b"]
        assert ("SUP Please delete file data/b" in ended.said) is bool(settings)

    def test_control_files_that_the_original_recorded_stay(self, run: Run) -> None:
        run(session(TREE, TRANSFER))
        ended = run(session(TREE, []))
        (ended.base / "sup/demo/last").write_text("data\nsup\nsup/demo\nsup/demo/last\nsup/demo/when\n")
        ended = run(session([entry(DATA, 0)], []), delete=True)
        assert ended.status is Status.DONE
        assert ended.when() == f"{SCAN}\n"
        assert not any("sup/demo" in line for line in ended.said)

    @pytest.mark.parametrize("follow", [False, True])
    def test_never_through_a_link(self, run: Run, tmp_path: Path, follow: bool) -> None:
        run(session(TREE, TRANSFER))
        precious = tmp_path / "precious"
        (tmp_path / "base/data").rename(precious)
        (tmp_path / "base/data").symlink_to(precious)
        ended = run(session([], []), delete=True, follow=follow)
        assert sorted(path.name for path in precious.iterdir()) == ["a", "b"]
        assert ended.files() == []


class TestListOnly:
    """-f (SUP 3.2)."""

    def test_nothing_is_written(self, run: Run) -> None:
        ended = run(
            session(TREE, [changed(A, size=None), changed(B, size=None), DATA]), list_only=True, delete=True
        )
        assert ended.status is Status.DONE
        assert [path.name for path in ended.base.rglob("*")] == ["sup"]
        assert ended.channel.only(Setup).listonly == 16
        assert ended.channel.params.list_only is True
        assert ended.channel.only(Done) == Done(DoneCode.DONTLOG, b"List only")
        assert "SUP Would create file data/a" in ended.said

    def test_nothing_is_deleted(self, run: Run) -> None:
        run(session(TREE, TRANSFER))
        ended = run(session([], []), list_only=True, delete=True)
        assert "SUP Would delete file data/b" in ended.said
        assert ended.files() == ["data", "data/a", "data/b"]
        assert ended.last() == ["data", "data/a", "data/b"]


class TestAskingAhead:
    """SENDs are sent ahead of their answers, but never more than can be answered (SUP 10.2)."""

    @staticmethod
    def many(number: int) -> tuple[list[ListEntry], list[Any]]:
        recvs = [file(b"%04d" % index, size=0) for index in range(number)]
        return [entry(recv) for recv in recvs], [item for recv in recvs for item in (recv, b"")]

    @pytest.mark.parametrize("window", [1, 2, 3, 64, 1000])
    @pytest.mark.parametrize("number", [0, 1, 2, 63, 64, 65, 300])
    def test_one_for_each_file_and_one_for_the_end(self, run: Run, window: int, number: int) -> None:
        ended = run(session(*self.many(number)), window=window)
        assert ended.status is Status.DONE
        assert ended.channel.sent.count(Send()) == number + 1

    @pytest.mark.parametrize("window", [1, 8, 64])
    def test_never_more_than_the_window(self, run: Run, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
        ahead: list[int] = []
        receive = ScriptedServer.receive

        async def noted(self: ScriptedServer, *types: type[Any]) -> Any:
            message = await receive(self, *types)
            if isinstance(message, Recv):
                sent = self.sent.count(Send())
                ahead.append(sent - len(ahead))
            return message

        monkeypatch.setattr(ScriptedServer, "receive", noted)
        run(session(*self.many(300)), window=window)
        assert max(ahead) == window
        assert min(ahead[:-window]) >= max(1, window // 2)

    def test_in_few_writes(self, run: Run) -> None:
        ended = run(session(*self.many(300)), window=64)
        sends = [count for count in ended.channel.writes if count > 1]
        assert len(sends) <= 10

    @pytest.mark.parametrize("window", [1, 4, 64])
    def test_other_names_of_a_file_are_not_sent(self, run: Run, window: int) -> None:
        leader = file(b"a", size=1, links=tuple(b"l%02d" % index for index in range(50)))
        others = [changed(leader, name=name) for name in leader.links or ()]
        ended = run(session([entry(leader), *map(entry, others)], [leader, b"x"]), window=window)
        assert ended.status is Status.DONE
        sends = ended.channel.sent.count(Send())
        assert sends == (2 if window == 1 else min(window, 52))
        assert len({(ended.base / name).stat().st_ino for name in ended.files()}) == 1

    def test_the_target_of_a_symbolic_link_is_no_name(self, run: Run) -> None:
        link = symlink(b"a", b"b")
        other = file(b"b", size=1)
        ended = run(session([entry(link), entry(other)], [link, other, b"x"]), window=1)
        assert ended.status is Status.DONE


def untouched(path: Path) -> tuple[object, ...]:
    """What is different of a file once somebody has changed it; reading it changes only its access time."""
    seen = path.lstat()
    return (
        path,
        seen.st_mode,
        seen.st_ino,
        seen.st_nlink,
        seen.st_uid,
        seen.st_gid,
        seen.st_size,
        seen.st_mtime_ns,
    )


class TestHostile:
    """A server that wants to do harm (SUP 9.2); `precious` is beside the base directory."""

    @pytest.fixture(autouse=True)
    def precious(self, tmp_path: Path) -> Iterable[Path]:
        directory = tmp_path / "precious"
        directory.mkdir()
        (directory / "file").write_text("precious")
        (directory / "file").chmod(0o600)
        before = [untouched(path) for path in (directory, directory / "file")]
        yield directory
        assert [untouched(path) for path in (directory, directory / "file")] == before
        assert (directory / "file").read_text() == "precious"
        assert [path.name for path in directory.iterdir()] == ["file"]

    @pytest.mark.parametrize(
        "name",
        [
            b"../precious/file",
            b"/tmp/precious",
            b"a/../../precious/file",
            b"..",
            b"./../precious/file",
            b"",
            b"x\0y",
        ],
    )
    @pytest.mark.parametrize("kind", [file, directory, update])
    def test_names_that_lead_out(self, run: Run, name: bytes, kind: Any) -> None:
        bad = kind(name)
        data = [] if bad.size is None else [b"bad"]
        ended = run(session([entry(bad), entry(A)], [bad, *data, A, b"a"]))
        assert ended.status is Status.ERRORS
        assert ended.channel.only(Need) == Need((NeedEntry(b"data/a", 0),))
        assert ended.files() == ["data", "data/a"]

    def test_absolute_names_of_what_exists(self, run: Run, precious: Path) -> None:
        bad = file(os.fsencode(precious / "file"), 0o666, size=3)
        ended = run(session([entry(bad)], [bad, b"bad"]))
        assert ended.status is Status.ERRORS

    @pytest.mark.parametrize("listed", [True, False])
    def test_files_that_nobody_asked_for(self, run: Run, tmp_path: Path, listed: bool) -> None:
        (tmp_path / "base/mine").write_text("mine")
        bad = file(b"mine", size=3)
        entries = [entry(A), *([entry(bad, 0)] if listed else [])]
        ended = run(session(entries, [bad, b"bad", A, b"a"]))
        assert ended.status is Status.ERRORS
        assert ended.report.problems == ["The file server sent mine, which was not asked for"]
        assert (tmp_path / "base/mine").read_text() == "mine"
        assert (tmp_path / "base/data/a").read_text() == "a"

    def test_files_without_end_that_nobody_asked_for(self, run: Run) -> None:
        ended = run(session([entry(A)], [B, b"bb"] * 1000))
        assert "keeps sending what was not asked for" in str(ended.error)
        assert ended.channel.sent[-1] == Goaway(str(ended.error).encode())

    def test_a_file_twice(self, run: Run) -> None:
        ended = run(session([entry(A)], [A, b"a", A, b"b"]))
        assert ended.status is Status.ERRORS
        assert (ended.base / "data/a").read_text() == "a"

    def test_a_disk_that_cannot_be_read(self, run: Run, tmp_path: Path) -> None:
        """No rule says how to go on without: the upgrade ends in order, and the next collection comes."""
        (tmp_path / "base/sup/demo/refuse").mkdir(parents=True)
        ended = run(session([entry(A)], [A, b"a"]))
        assert str(ended.error) == "Can't go on (Is a directory)"
        assert ended.channel.sent[-1] == Goaway(b"Can't go on (Is a directory)")

    def test_a_denied_file(self, run: Run) -> None:
        ended = run(session([entry(A)], [A, b"a"], denied=(b"data/a",)))
        assert ended.status is Status.ERRORS
        assert ended.files() == []

    @pytest.mark.parametrize("follow", [False, True])
    def test_a_link_and_then_through_it(self, run: Run, precious: Path, follow: bool) -> None:
        link = symlink(b"x", os.fsencode(precious))
        through = file(b"x/file", 0o666, size=3)
        ended = run(session([entry(link), entry(through)], [link, through, b"bad"]), follow=follow)
        assert ended.status is Status.ERRORS

    def test_a_link_in_one_run_and_through_it_in_the_next(self, run: Run, precious: Path) -> None:
        link = symlink(b"x", os.fsencode(precious))
        assert run(session([entry(link)], [link])).status is Status.DONE
        for bad in (file(b"x/file", 0o666, size=3), update(b"x/file", 0o666), directory(b"x/new")):
            data = [] if bad.size is None else [b"bad"]
            assert run(session([entry(bad)], [bad, *data])).status is Status.ERRORS
        assert run(session([], []), delete=True).status is Status.DONE

    @pytest.mark.parametrize("name", [b"when", b"last", b"refuse", b"lock", b"last.partial", b"new/x"])
    def test_control_files(self, run: Run, name: bytes) -> None:
        run(session(TREE, TRANSFER))
        bad = file(b"sup/demo/" + name, size=3)
        ended = run(session([entry(bad)], [bad, b"bad"]))
        assert ended.status is Status.ERRORS
        assert ended.channel.only(Need) == Need(())
        assert ended.when() == f"{SCAN}\n"
        assert sorted(path.name for path in (ended.base / "sup/demo").iterdir()) == ["last", "when"]

    def test_control_files_by_a_prefix_that_leads_around(self, run: Run, tmp_path: Path) -> None:
        bad = file(b"base/sup/demo/refuse", size=3)
        ended = run(session([entry(bad)], [bad, b"bad"]), prefix=os.fsencode(tmp_path))
        assert ended.status is Status.ERRORS
        assert not (tmp_path / "base/sup/demo/refuse").exists()

    def test_control_files_as_hard_links(self, run: Run) -> None:
        bad = file(b"a", size=3, links=(b"sup/demo/refuse",))
        ended = run(session([entry(bad)], [bad, b"bad"]))
        assert ended.status is Status.ERRORS
        assert not (ended.base / "sup/demo/refuse").exists()

    def test_the_mode_of_the_control_directory(self, run: Run) -> None:
        run(session(TREE, TRANSFER))
        bad = [directory(b"sup", 0o777), directory(b"sup/demo", 0o777)]
        ended = run(session([*map(entry, bad)], [bad[0]]))
        assert ended.channel.only(Need) == Need((NeedEntry(b"sup", 0),))
        for path in (ended.base / "sup", ended.base / "sup/demo"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o755

    def test_nothing_is_executed_without_permission(self, run: Run) -> None:
        bad = changed(A, commands=(b"touch executed",))
        ended = run(session([entry(bad)], [bad, b"a"]))
        assert "SUP Please execute touch executed" in ended.said
        assert not (ended.base / "executed").exists()

    def test_and_is_with_it(self, run: Run) -> None:
        bad = changed(A, commands=(b"touch executed",))
        ended = run(session([entry(bad)], [bad, b"a"]), execute=True)
        assert (ended.base / "executed").exists()

    def test_set_id_bits_for_nobody(self, run: Run) -> None:
        bad = changed(A, user=b"no such user", mode=0o106755)
        ended = run(session([entry(bad)], [bad, b"a"]))
        assert stat.S_IMODE((ended.base / "data/a").stat().st_mode) == 0o755

    def test_an_unknown_type(self, run: Run) -> None:
        bad = changed(A, mode=0o020644, size=None)
        ended = run(session([entry(A), entry(B)], [bad]))
        assert str(ended.error) == "Unknown file type 20000"
        assert ended.channel.sent[-1] == Goaway(b"Unknown file type 20000")

    def test_no_owner_at_all(self, run: Run) -> None:
        bad = changed(A, user=None, group=None)
        assert run(session([entry(bad)], [bad, b"a"])).status is Status.DONE

    def test_many_bad_names_are_reported_in_few_lines(self, run: Run) -> None:
        ended = run(session([ListEntry(b"/%d" % number, 0o100644, NEW, 5) for number in range(1000)], []))
        assert len(ended.report.problems) == 6


def test_prefix(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = file(b"sup/demo/x", size=1)
    ended = run(session([*TREE, entry(other)], [*TRANSFER, other, b"x"]), prefix=b"../elsewhere")
    assert ended.status is Status.DONE
    assert ended.files() == []
    assert (tmp_path / "elsewhere/data/a").read_text() == "a"
    assert (tmp_path / "elsewhere/sup/demo/x").read_text() == "x"
    assert ended.when() == f"{SCAN}\n"


def test_an_encrypted_session(run: Run) -> None:
    """The strings and data that follow LOGIN are under the key, LOGIN's own under the constant one (SUP 5.2, 5.3)."""
    cipher, constant = Cipher(b"secret"), Cipher(PLAIN_KEY)

    def under_the_key(said: Any) -> Any:
        return cipher.text(said) if isinstance(said, bytes) else cipher.message(said)

    script = [*opening(), *map(under_the_key, session(TREE, TRANSFER)[4:])]
    ended = run(script, crypt=b"secret", login=b"joe", password=b"open sesame")
    assert (ended.status, ended.report.problems) == (Status.DONE, [])
    assert (ended.base / "data/b").read_bytes() == b"bb"
    sent = ended.channel
    assert sent.only(Crypt) == Crypt(cipher.text(TEST_STRING))
    assert sent.only(Login) == Login(
        constant.text(TEST_STRING), constant.text(b"joe"), constant.text(b"open sesame")
    )
    assert [cipher.text(wanted.name) for wanted in sent.only(Need).entries] == [b"data", b"data/a", b"data/b"]
    assert sent.sent[-1] == Done(DoneCode.SUCCESS, b"Success")


def test_a_key_that_cannot_be_used(run: Run) -> None:
    ended = run(opening(), crypt=b"\xff")
    assert str(ended.error) == "A key must begin with two letters, digits, dots or slashes."


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("last", "Can't read the list of files of earlier upgrades (Is a directory)"),
        ("last.partial", "Can't use directory sup/demo (Is a directory)"),
    ],
)
def test_control_files_that_cannot_be_used(run: Run, tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / "base/sup/demo" / file).mkdir(parents=True)
    ended = run(session(TREE, TRANSFER), old=file == "last")
    assert str(ended.error) == said
    assert ended.files() == []


def test_a_busy_lock(run: Run, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "base/sup/demo").mkdir(parents=True)
    with (tmp_path / "base/sup/demo/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run(opening())
        assert str(ended.error) == "Can't lock collection demo"
        assert ended.channel.kinds()[-2:] == ["Crypt", "Goaway"]


def test_two_names_for_one_file_in_a_list(run: Run) -> None:
    ended = run(
        session([entry(A), entry(changed(A, name=b"./data/a"))], [changed(A, name=b"./data/a"), b"a"])
    )
    assert ended.status is Status.DONE
    assert ended.last() == ["data/a"]


def test_the_list_is_understood_in_any_order(run: Run) -> None:
    ended = run(session(TREE[::-1], TRANSFER))
    assert [wanted.name for wanted in ended.channel.only(Need).entries] == [b"data", b"data/a", b"data/b"]
