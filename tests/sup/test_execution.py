"""Commands run only when they may, where they should, and their failures count (SUP 8.7)."""

import os
import subprocess
import sys
from pathlib import Path

from sup.execution import Commands
from sup.report import Report
from tests.sup.installing import at_once, finished


def run(directory: Path, commands: tuple[bytes, ...], allowed: bool, output: int | None = None) -> Report:
    report = Report(lambda _: None)
    finished(Commands(os.fsencode(directory), report, at_once, allowed=allowed, output=output).run(commands))
    return report


def test_output_goes_where_it_should(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as file:
        report = run(tmp_path, (b"pwd; echo error >&2", b"cat"), True, file.fileno())
    assert (tmp_path / "output").read_text() == f"{tmp_path}\nerror\n"
    assert report.problems == []


def test_nothing_runs_without_permission(tmp_path: Path) -> None:
    run(tmp_path, (b"touch x",), False)
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    run(tmp_path, (b"touch 'a\xff'",), True)
    assert os.listdir(os.fsencode(tmp_path)) == [b"a\xff"]


def test_a_directory_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    report = run(tmp_path / "gone", (b"true",), True)
    assert len(report.problems) == 1


AT_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, "-c", sys.argv[1]])))
"""
ASKING = """
from pathlib import Path
from tests.sup.test_execution import run
print(run(Path("/"), (b"read x < /dev/tty",), True).problems)
"""


def test_a_question_to_the_terminal_fails() -> None:
    """In a process group of its own, but at the same terminal, a command that asks there would be stopped for good."""
    ran = subprocess.run(
        [sys.executable, "-c", AT_A_TERMINAL, ASKING],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Execute command returned failure status" in ran.stdout, ran
