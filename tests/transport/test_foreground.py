"""Running a server as a program: signals, exit codes, the log, and the account a root server becomes."""

from __future__ import annotations

import io
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from tests.peers import NetworkNamespace, require_account
from wire.transport import foreground
from wire.transport.foreground import Lines, ProgramError, account_named, run_server

ROOT = Path(__file__).parents[2]


def logged(debug: bool = False) -> tuple[Logger, io.StringIO]:
    out = io.StringIO()
    publisher = LogPublisher(cast(Any, Lines(out, debug)))
    return Logger("ours", observer=cast(Any, publisher)), out


def test_events_are_lines() -> None:
    log, out = logged()
    log.info("served at {place}", place="here")
    log.warn("careful")
    log.debug("not this")
    lines = out.getvalue().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["served at here", "warn: careful"]
    assert all(len(line.partition(" ")[0]) == len("14:02:11") for line in lines)


def test_debugging_shows_more_and_failures_their_trace() -> None:
    log, out = logged(debug=True)
    log.debug("this too")
    try:
        raise KeyError("lost")
    except KeyError:
        log.failure("it broke", Failure(), LogLevel.critical)
    assert "this too" in out.getvalue()
    assert "Traceback" in out.getvalue()
    assert "KeyError" in out.getvalue()


def test_the_libraries_chatter_is_left_out() -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines({"log_level": LogLevel.info, "log_namespace": "twisted.internet", "log_format": "starting"})
    lines({"log_level": LogLevel.info, "log_namespace": "log_legacy", "log_format": "starting"})
    lines({"log_level": LogLevel.warn, "log_namespace": "twisted.internet", "log_format": "trouble"})
    assert out.getvalue().endswith("warn: trouble\n")
    assert out.getvalue().count("\n") == 1


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Lines(Closed())({"log_level": LogLevel.info, "log_namespace": "ours", "log_format": "x"})


SERVER = """
import sys
from wire.transport.foreground import ProgramError, run_server
from wire.transport.errors import TransportError

async def start(reactor):
    what = sys.argv[1]
    if what == "fails":
        raise ProgramError("the disk is missing: put one in")
    if what == "breaks":
        raise RuntimeError("unforeseen")
    if what == "unreachable":
        raise TransportError("nobody is there")
    sys.stderr.write("started\\n")
    async def stop():
        sys.stderr.write("stopped\\n")
    return stop

sys.exit(run_server(start, account="root" if __import__("os").geteuid() == 0 else ""))
"""


def server(what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, what],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_cleanly(number: int) -> None:
    with server("works") as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "started\n"
        running.send_signal(number)
        assert running.stderr.read() == "stopped\n"
        assert running.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("fails", "the disk is missing: put one in\n"),
        ("unreachable", "nobody is there\n"),
        ("breaks", "RuntimeError: unforeseen"),
    ],
)
def test_a_server_that_cannot_start_says_why(what: str, says: str) -> None:
    with server(what) as running:
        assert running.stderr is not None
        text = running.stderr.read()
        assert says in text
        assert ("Traceback" in text) is (what == "breaks")
        assert running.wait(timeout=30) == 1


def test_accounts() -> None:
    assert account_named("").pw_name in ("anon", "nobody")
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert account_named(own).pw_uid == os.geteuid()
    with pytest.raises(ProgramError, match=r"There is no account no-such-account"):
        account_named("no-such-account")


def test_only_root_becomes_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    monkeypatch.setattr(foreground, "log_to_stderr", lambda *options: None)
    monkeypatch.setattr(foreground, "install_reactor", lambda: None)

    async def never(reactor: Any) -> Any:
        raise AssertionError

    assert run_server(never, account="root") == 1
    assert "Only root can become root" in capsys.readouterr().err


DROPPED = """
import os, socket, sys
from pathlib import Path
from wire.transport.foreground import become
become(sys.argv[1], [Path(sys.argv[2])])
with socket.socket() as low:
    low.bind(("127.0.0.1", 877))
Path(sys.argv[2], "mine").write_text("x")
try:
    os.setuid(0)
except PermissionError:
    print(os.getuid(), os.getgid(), "no way back")
try:
    Path("/etc/shadow").read_text()
except PermissionError:
    print("no secrets")
"""


@pytest.mark.root
def test_root_becomes_an_account_that_can_still_open_reserved_ports(
    namespace: NetworkNamespace, tmp_path: Path
) -> None:
    account = require_account("nobody")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp"):
            parent.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir()
    (state / "old").write_text("there before")
    ran = namespace.run([sys.executable, "-c", DROPPED, "nobody", str(state)], cwd=ROOT)
    assert ran.stdout.decode().splitlines() == [
        f"{account.pw_uid} {account.pw_gid} no way back",
        "no secrets",
    ]
    assert {path.stat().st_uid for path in (state, *state.iterdir())} == {account.pw_uid}


@pytest.mark.root
def test_a_directory_out_of_reach_is_named(namespace: NetworkNamespace, tmp_path: Path) -> None:
    require_account("nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    code = f"""
from pathlib import Path
from wire.transport.foreground import ProgramError, become
try:
    become("nobody", [Path({str(closed / "state")!r})])
except ProgramError as error:
    print(error)
"""
    ran = namespace.run([sys.executable, "-c", code], cwd=ROOT)
    assert b"cannot be reached by account nobody" in ran.stdout


@pytest.mark.root
def test_a_domain_server_started_by_root_serves_as_anybody(
    namespace: NetworkNamespace, tmp_path: Path
) -> None:
    account = account_named("")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp"):
            parent.chmod(0o755)
    state = tmp_path / "state"
    code = "from netinfo.commands.servers import netinfod; netinfod()"
    log = tmp_path / "log"
    with log.open("wb") as errors:
        running = namespace.popen(
            [sys.executable, "-c", code, "--port", "877", "--state", str(state), "--no-register"],
            cwd=ROOT,
            stderr=errors,
            stdin=subprocess.DEVNULL,
        )
    try:
        namespace.wait_for_port(877)
        (server_process,) = namespace.processes()
        status = Path(f"/proc/{server_process}/status").read_text()
        assert f"Uid:\t{account.pw_uid}\t{account.pw_uid}" in status
        assert "CapEff:\t0000000000000400" in status, "opening reserved ports, and nothing else"
        code = "from netinfo.commands.niutil import main; main()"
        ran = namespace.run(
            [sys.executable, "-c", code, "-create", "127.0.0.1:877", "/users/ann"], cwd=ROOT, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert (state / "network.db").stat().st_uid == account.pw_uid
    finally:
        running.terminate()
        running.wait(timeout=30)
