"""Shell commands that a list file asks the client to run when a file has changed (SUP 8.7)."""

import os
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from sup.report import Report, printable

T = TypeVar("T")


class Offload(Protocol):
    """Runs what blocks where it disturbs nobody."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Starts `function` at once; what is returned ends with its result or exception."""


class Commands:
    """Runs commands in `directory`, or only shows them; only a client started with -e runs any.

    `output` is the descriptor that their output goes to; None: the client's own.
    """

    def __init__(
        self, directory: bytes, report: Report, offload: Offload, *, allowed: bool, output: int | None = None
    ) -> None:
        self._directory = directory
        self._report = report
        self._offload = offload
        self._allowed = allowed
        self._output = output
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._starting = threading.Lock()  # so that no command starts after the end

    async def run(self, commands: tuple[bytes, ...]) -> None:
        """Runs `commands`, sorted as in the original; failures are reported as problems."""
        for command in sorted(set(commands)):
            if not self._allowed:
                self._report.note(f"Please execute {printable(command)}")
                continue
            self._report.detail(f"Executing {printable(command)}")
            try:
                status = await self._offload(partial(self._call, command))
            except OSError as error:
                self._report.problem(f"Execute command could not be started ({error.strerror})")
                continue
            except BaseException:  # the user has had enough of it
                self._end()
                raise
            if status < 0:
                self._report.problem(f"Execute command killed by signal {-status}")
            elif status > 0:
                self._report.problem(f"Execute command returned failure status {status}")

    def _call(self, command: bytes) -> int:
        with self._starting:
            if self._ended:
                return 0
            self._running = subprocess.Popen(
                [b"/bin/sh", b"-c", command],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,  # can be ended as a whole; a question to the terminal fails, not waits
            )
        return self._running.wait()

    def _end(self) -> None:
        """Ends the command that runs, with all that it started; no other one will start."""
        with self._starting:
            self._ended = True
            if self._running is not None and self._running.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._running.pid, signal.SIGTERM)
