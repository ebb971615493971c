"""Running a server as a program: in the foreground, its log on stderr, until a signal ends it.

Started as root it becomes an ordinary account first (`wire.transport.account`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from wire.transport.account import become
from wire.transport.endpoint import install_reactor
from wire.transport.errors import ProgramError, TransportError

Stop = Callable[[], Awaitable[None]]
Start = Callable[[Any], Awaitable[Stop]]
"""start(reactor) opens everything and gives what closes it. Raises `ProgramError` or `TransportError`."""


def run_server(
    start: Start,
    *,
    account: str = "",
    writable: Sequence[Path] = (),
    debug: bool = False,
    silent: bool = False,
) -> int:
    """Run a server until SIGINT or SIGTERM; its exit code: 0, or 1 after a sentence on stderr.

    account: whom a server started as root becomes; "" for the first of `account.DEFAULT_ACCOUNTS`.
    writable: directories and files that then belong to that account.
    silent: log warnings and errors only.
    """
    log_to_stderr(debug, silent)
    install_reactor()
    from twisted.internet import reactor

    try:
        become(account, writable)
    except ProgramError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _Run(reactor, start).code()


class _Run:
    """One life of a server: start, wait for a signal, stop."""

    def __init__(self, reactor: Any, start: Start) -> None:
        self._reactor = reactor
        self._start = start
        self._stop: Stop | None = None
        self._ended = False
        self._code = 0

    def code(self) -> int:
        self._reactor.callWhenRunning(self._begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._end)
        self._reactor.run()
        return self._code

    def _begin(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._quit))
        starting = Deferred.fromCoroutine(self._started())
        starting.addErrback(self._failed)

    async def _started(self) -> None:
        self._stop = await self._start(self._reactor)

    def _failed(self, failure: Any) -> None:
        self._code = 1
        if failure.check(ProgramError, TransportError):
            sys.stderr.write(f"{failure.getErrorMessage()}\n")
        else:
            failure.printTraceback(sys.stderr)
        self._quit()

    def _quit(self) -> None:
        if not self._ended:
            self._ended = True
            self._reactor.stop()

    def _end(self) -> Deferred[None] | None:
        stop, self._stop = self._stop, None
        if stop is None:
            return None

        async def close() -> None:
            await stop()

        return Deferred.fromCoroutine(close())


# --- the log ----------------------------------------------------------------------------------------------


@implementer(ILogObserver)
class Lines:
    """Writes log events as ``14:02:11 text``; failures with their trace. The libraries' own chatter is left
    out."""

    def __init__(self, out: TextIO, debug: bool = False, silent: bool = False) -> None:
        self._out = out
        self._least = LogLevel.debug if debug else LogLevel.warn if silent else LogLevel.info

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        chatter = str(event.get("log_namespace", "-")).startswith(("twisted", "log_legacy", "-"))
        if level < (LogLevel.warn if chatter else self._least):
            return
        text = formatEvent(event)
        if "log_failure" in event:
            text = f"{text}\n{event['log_failure'].getTraceback()}"
        mark = "" if level in (LogLevel.info, LogLevel.debug) else f"{level.name}: "
        with suppress(OSError, ValueError):  # nobody may be reading the log; serving goes on
            self._out.write(f"{time.strftime('%H:%M:%S')} {mark}{text}\n")
            self._out.flush()


def log_to_stderr(debug: bool = False, silent: bool = False) -> None:
    """Send Twisted's log to stderr, a line an event."""
    globalLogBeginner.beginLoggingTo(
        [cast(Any, Lines(sys.stderr, debug, silent))], redirectStandardIO=False, discardBuffer=True
    )
