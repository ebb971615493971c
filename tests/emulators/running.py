"""Labs as subprocesses, as a person starts them: on an address of the test's own, with a state directory of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.peers import user_options, wait_until

READY = "Ctrl-C ends the lab."


class RunningLab:
    """A `ghostports lab` that has said that it is ready."""

    def __init__(self, process: subprocess.Popen[str], listen: str, state: Path) -> None:
        self.process = process
        self.listen = listen
        self.state = state
        self.out: list[str] = []
        self.err: list[str] = []
        self._threads = [
            threading.Thread(target=_collect, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def printed(self) -> str:
        """All of its standard output so far."""
        return "".join(self.out)

    @property
    def logged(self) -> str:
        """All of its standard error so far."""
        return "".join(self.err)

    def commands(self) -> dict[str, str]:
        """The commands printed, by what is said of each."""
        lines = [line.strip() for line in self.printed.partition("Try in a second terminal:")[2].splitlines()]
        return {
            lines[at].removeprefix("# "): lines[at + 1]
            for at in range(len(lines))
            if lines[at].startswith("# ")
        }

    def port(self, service: str) -> int:
        """The port of a service, as the table tells it."""
        (line,) = [line for line in self.out if line.strip().startswith(f"{service}  ")]
        return int(line.partition(f"{self.listen}:")[2].split()[0])

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        for thread in self._threads:
            thread.join(timeout=10)
        return code


def _collect(stream: object, lines: list[str]) -> None:
    for line in stream:  # type: ignore[attr-defined]
        lines.append(line)


def environment(**changes: str) -> dict[str, str]:
    """The environment of a user without Python's development settings."""
    return {**{name: value for name, value in os.environ.items() if name != "GHOSTPORTS_PORTMAP"}, **changes}


def lab_command(*arguments: str | os.PathLike[str]) -> list[str]:
    """`ghostports lab ...` of the environment that the tests run in."""
    return [sys.executable, "-m", "emulators.cli", "lab", *(os.fspath(argument) for argument in arguments)]


@contextlib.contextmanager
def running_lab(
    listen: str, state: Path, *arguments: str | os.PathLike[str], console: bool = False
) -> Iterator[RunningLab]:
    """A lab on any free ports (unless *arguments* have a --port-base), ended afterwards."""
    options: list[str | os.PathLike[str]] = [
        "--listen",
        listen,
        "--state",
        state,
        *user_options(),
        *arguments,
    ]
    if not console:
        options.append("--no-console")
    if "--port-base" not in arguments:
        options += ["--port-base", "0"]
    process = subprocess.Popen(
        lab_command(*options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    lab = RunningLab(process, listen, state)
    try:
        wait_until(lambda: READY in lab.printed or process.poll() is not None, "the lab to be ready")
        assert process.poll() is None, lab.printed + lab.logged
        yield lab
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def failing_lab(*arguments: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    """A lab that does not start: how it ends."""
    return subprocess.run(
        lab_command(*user_options(), *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False, env=environment(),
    )  # fmt: skip
