"""The console's pages, served by klein on 127.0.0.1.

A page of another site could make a browser ask 127.0.0.1 under a name of its own (DNS rebinding): requests whose Host
is not this console's are refused.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Site

from emulators.console.history import History, Line
from emulators.console.metrics import CONTENT_TYPE, Metrics
from emulators.hints import hints
from emulators.lab import Lab
from netinfo.starter import PASSWORDS
from wire.transport.endpoint import Listening, listen_on, open_socket
from wire.transport.errors import ListenError
from wire.transport.tap import Address

log = Logger()

HOST = "127.0.0.1"
PORTS_TRIED = 50
"""Ports above the one asked for that are tried where it is taken; then any that is free."""
READERS = 64
"""Browsers that are told of new messages at once."""
EVERY = 0.1
"""Seconds between two reports to a browser, however many messages there were meanwhile."""
AT_ONCE = 200
"""Messages in one report; of more, the latest."""
HEARTBEAT = 150
"""Reports without a message after which a browser is told that the lab still lives."""
FILES = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
POLICY = (
    "default-src 'self'",
    "img-src data:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(POLICY),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Console:
    """A lab's web console. `start` opens it, `stop` closes it."""

    def __init__(self, reactor: Any, lab: Lab, name: str) -> None:
        self._reactor = reactor
        self._lab = lab
        self._name = name
        self._history = History()
        self._metrics = Metrics()
        self._templates = Environment(
            loader=PackageLoader("emulators.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        self._run = secrets.token_hex(8)
        self._readers: set[_Reader] = set()
        self._listening: Listening | None = None
        self.address = Address(HOST, 0)

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return f"http://{self.address}/"

    async def start(self, port: int) -> None:
        """Listen on this port or the next free one; listen to the lab from now on."""
        opened = _open(port)
        self.address = Address.of(opened.getsockname())
        site: Any = Site(self._app().resource())
        site.noisy = False
        site.log = lambda request: None
        self._listening = Listening(self.address, await listen_on(self._reactor, opened, site))
        self._lab.watcher.listeners += [self._history, self._metrics]

    async def stop(self) -> None:
        """Close it; browsers see the connection end."""
        if self._listening is not None:
            for listener in (self._history, self._metrics):
                self._lab.watcher.listeners.remove(listener)
            await self._listening.stop()
            self._listening = None
        for reader in tuple(self._readers):
            reader.end()

    # --- pages --------------------------------------------------------------------------------------------------

    def _app(self) -> Klein:
        app = Klein()

        def page(path: str, answer: Callable[..., Any]) -> None:
            def checked(request: Any, **arguments: Any) -> Any:
                for header, value in HEADERS.items():
                    request.setHeader(header, value)
                if not self._is_own(request.getHeader("Host") or ""):
                    return _refused(request, 421, f"This console is at {self.url}.")
                return answer(request, **arguments)

            app.route(path, methods=["GET"], endpoint=path)(checked)

        page("/", self._page)
        page("/events", self._events)
        page("/messages/<int:number>", self._message)
        page("/metrics", self._metrics_page)
        page("/static/<name>", self._file)
        return app

    def _is_own(self, host: str) -> bool:
        return host in {f"{name}:{self.address.port}" for name in (HOST, "localhost")}

    def _page(self, request: Any) -> str:
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        accounts = [
            (account.decode(), tag.decode(), password.decode())
            for tag, held in PASSWORDS.items()
            for account, password in held.items()
        ]
        return self._templates.get_template("console.html").render(
            name=self._name, lab=self._lab, hints=hints(self._lab), accounts=accounts, run=self._run
        )

    def _message(self, request: Any, number: int) -> str:
        found = self._history.find(number)
        if found is None:
            return _refused(request, 404, "This message is not remembered any more.")
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        line, message = found
        raw = bytes.fromhex(message["hex"]) if message is not None else b""
        return self._templates.get_template("message.html").render(line=line, message=message, raw=raw)

    def _metrics_page(self, request: Any) -> bytes:
        request.setHeader("Content-Type", CONTENT_TYPE)
        return self._metrics.text()

    def _file(self, request: Any, name: str) -> bytes | str:
        if name not in FILES:
            return _refused(request, 404, "There is no such file.")
        request.setHeader("Content-Type", FILES[name])
        return files("emulators.console").joinpath("static", name).read_bytes()

    # --- what happens now ---------------------------------------------------------------------------------------

    def _events(self, request: Any) -> Any:
        """Server-Sent Events: each is a list of lines, and its id the number of the last.

        Before them comes which run of a lab this is. A browser whose page is of an earlier one loads it anew: the
        messages it shows are not those that have these numbers now.
        """
        if len(self._readers) >= READERS:
            return _refused(request, 503, f"{READERS} browsers are listening already.")
        request.setHeader("Content-Type", "text/event-stream")
        request.write(f"event: run\ndata: {self._run}\n\n".encode())
        last = request.getHeader("Last-Event-ID") or ""
        reader = _Reader(self._reactor, request, self._history, int(last) if last.isdecimal() else 0)
        self._readers.add(reader)

        def gone(_: Any) -> None:
            self._readers.discard(reader)
            reader.close()

        request.notifyFinish().addBoth(gone)
        return reader.ended


def _open(port: int) -> Any:
    for number in (*range(port, min(port + PORTS_TRIED, 65_536)), 0):
        try:
            return open_socket("tcp", HOST, number)
        except ListenError:
            if not number:
                raise
    raise AssertionError("unreachable")


def _refused(request: Any, status: int, sentence: str) -> str:
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    return sentence + "\n"


class _Reader:
    """A browser that hears of new messages: a push producer of its connection, which loses what it does not read."""

    def __init__(self, reactor: Any, request: Any, history: History, last: int) -> None:
        self.ended: Deferred[None] = Deferred()
        self._request = request
        self._history = history
        self._waiting: list[Line] = list(history.after(last))
        self._lost = 0
        self._quiet = 0
        self._paused = False
        request.write(b"retry: 1000\n\n")
        request.registerProducer(self, True)
        history.listeners.append(self._hear)
        self._reporting = LoopingCall(self._report)
        self._reporting.clock = reactor
        self._reporting.start(EVERY)

    def end(self) -> None:
        """The lab ends."""
        if not self.ended.called:
            self._request.unregisterProducer()
            self.ended.callback(None)

    def close(self) -> None:
        """The browser is gone."""
        self._history.listeners.remove(self._hear)
        self._reporting.stop()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        """The connection is gone; `close` follows."""

    def _hear(self, line: Line) -> None:
        self._waiting.append(line)
        if len(self._waiting) > AT_ONCE:
            del self._waiting[0]
            self._lost += 1

    def _report(self) -> None:
        if self._paused:
            return
        if not self._waiting:
            self._quiet += 1
            if self._quiet >= HEARTBEAT:
                self._quiet = 0
                self._request.write(b": still here\n\n")
            return
        lines, self._waiting = self._waiting, []
        lost, self._lost, self._quiet = self._lost, 0, 0
        data = json.dumps({"lost": lost, "lines": [attrs.asdict(line) for line in lines]})
        self._request.write(f"id: {lines[-1].number}\ndata: {data}\n\n".encode())
