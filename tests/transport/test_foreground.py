"""Running a server as a program: signals, exit codes, the log."""

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

from wire.transport import foreground
from wire.transport.foreground import Lines, run_server

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
from wire.transport.errors import ProgramError, TransportError
from wire.transport.foreground import run_server

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
