"""The console's pages: what they hold, whom they answer, and how browsers hear of what happens."""

import http.client
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from emulators.config import LabConfig
from emulators.console import app
from emulators.console.app import Console
from emulators.lab import Lab
from emulators.state import open_state
from tests.emulators.messages import call, event, reply
from wire.formats.netinfo import LookupArgs, NiId, NiStatus, Result


@attrs.frozen
class Answer:
    """What came of a request."""

    status: int
    headers: dict[str, str]
    body: str


class Opened:
    """A console over a lab."""

    def __init__(self, lab: Lab, console: Console) -> None:
        self.lab = lab
        self.console = console

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return await deferToThread(request, self.console.address.port, path, method, headers)

    def happens(self, name: bytes = b"name", xid: int = 1) -> None:
        """A lookup that finds nothing."""
        asked = call(b"LOOKUP", LookupArgs(NiId(5, 0), name, b"ann"), xid=xid)
        self.lab.watcher.rpc(event("datagram", asked, udp=True))
        answered = reply(b"LOOKUP", Result(NiStatus.NI_NODIR, None), xid=xid)
        self.lab.watcher.rpc(event("datagram", answered, udp=True, outgoing=True))


def request(port: int, path: str, method: str, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
    finally:
        connection.close()


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    state = open_state(tmp_path / "lab", "127.0.0.1", fresh=False)
    lab = Lab(reactor, LabConfig(port_base=0, sup_debug_port=False), state)
    console = Console(reactor, lab, "of the <test>")
    await lab.start()
    await console.start(0)
    try:
        yield Opened(lab, console)
    finally:
        await console.stop()
        await lab.stop()
        state.close()


@pytest_twisted.ensureDeferred
async def test_the_page_tells_what_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        page = await here.get("/")
        assert page.status == 200
        for service in here.lab.services:
            assert str(service.address) in page.body
        assert "pencil" in page.body
        assert "of the &lt;test&gt;" in page.body
        assert "niutil -list" in page.body


@pytest_twisted.ensureDeferred
async def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        page = await here.get("/")
        assert "http:" not in page.body
        assert "https:" not in page.body
        assert "//" not in page.body.replace("<!doctype", "")
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        for name in ("console.css", "console.js"):
            asset = await here.get(f"/static/{name}")
            assert asset.status == 200
            assert "http" not in asset.body
            assert "@import" not in asset.body


@pytest.mark.parametrize("path", ["/", "/metrics", "/messages/1", "/static/console.js", "/events"])
@pytest_twisted.ensureDeferred
async def test_another_name_for_this_machine_is_refused(tmp_path: Path, path: str) -> None:
    """What a page elsewhere could do by DNS rebinding."""
    async with opened(tmp_path) as here:
        port = here.console.address.port
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1",
            f"127.0.0.1.evil.example:{port}",
            "",
            "::1",
        ):
            refused = await here.get(path, Host=host)
            assert refused.status in (400, 421), host
            assert "pencil" not in refused.body
        if path != "/events":
            assert (await here.get(path, Host=f"localhost:{port}")).status != 421


@pytest_twisted.ensureDeferred
async def test_it_only_reads(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        for method in ("POST", "PUT", "DELETE"):
            assert (await here.get("/", method)).status == 405


@pytest.mark.parametrize(
    "path", ["/nowhere", "/static/app.py", "/static/..%2fapp.py", "/messages/x", "/messages/-1"]
)
@pytest_twisted.ensureDeferred
async def test_what_is_not_there(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path) as here:
        assert (await here.get(path)).status == 404


@pytest_twisted.ensureDeferred
async def test_a_message_is_explained(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        assert (await here.get("/messages/1")).status == 404
        here.happens()
        asked = await here.get("/messages/1")
        assert asked.status == 200
        for said in ("LOOKUP", "from 127.0.0.1:40000 to netinfod network", "xid", "object"):
            assert said in asked.body
        assert "NI_NODIR" in (await here.get("/messages/2")).body


@pytest_twisted.ensureDeferred
async def test_what_a_peer_sends_is_never_markup(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        here.happens(b"<script>alert(1)</script>")
        body = (await here.get("/messages/1")).body
        assert "<script" not in body
        assert "&lt;script&gt;" in body


@pytest_twisted.ensureDeferred
async def test_a_message_too_long_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulators.console.history.EXPLAINED", 10)
    async with opened(tmp_path) as here:
        here.happens()
        assert "--pcap" in (await here.get("/messages/1")).body


@pytest_twisted.ensureDeferred
async def test_damaged_bytes_are_explained_as_far_as_they_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        here.lab.watcher.rpc(
            event("datagram", call(b"LOOKUP", LookupArgs(NiId(5, 0), b"name", b"ann"))[:-6], udp=True)
        )
        body = (await here.get("/messages/1")).body
        assert "damaged" in body
        assert "xid" in body


@pytest_twisted.ensureDeferred
async def test_numbers_for_prometheus(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        here.happens()
        page = await here.get("/metrics")
        assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        names = {family.name for family in text_string_to_metric_families(page.body)}
        assert {"ghostports_calls", "ghostports_call_seconds", "process_resident_memory_bytes"} <= names


# --- events -----------------------------------------------------------------------------------------------------


class Events:
    """A browser's side of /events."""

    def __init__(self, port: int, last: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        last_id = f"Last-Event-ID: {last}\r\n" if last else ""
        self._socket.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{last_id}\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline() not in (b"\r\n", b""):
            pass

    def report(self) -> Any:
        """The next report; None at the end."""
        while line := self._file.readline():
            if line == b"event: run\n":
                self.run = self._file.readline().strip().removeprefix(b"data: ").decode()
            elif line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
            if line == b"0\r\n":  # the last chunk
                return None
        return None

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest_twisted.ensureDeferred
async def test_a_browser_hears_what_was_and_what_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        here.happens(xid=1)
        browser = await deferToThread(Events, here.console.address.port)
        first = await deferToThread(browser.report)
        assert [line["name"] for line in first["lines"]] == ["LOOKUP", "LOOKUP"]
        assert first["lines"][1]["status"] == "NI_NODIR"
        here.happens(xid=2)
        second = await deferToThread(browser.report)
        assert [line["number"] for line in second["lines"]] == [3, 4]
        assert second["lost"] == 0
        browser.close()


@pytest_twisted.ensureDeferred
async def test_a_browser_that_comes_back_hears_what_it_missed(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        for xid in range(3):
            here.happens(xid=xid)
        browser = await deferToThread(Events, here.console.address.port, 4)
        report = await deferToThread(browser.report)
        assert [line["number"] for line in report["lines"]] == [5, 6]
        browser.close()


@pytest_twisted.ensureDeferred
async def test_a_browser_is_told_which_run_of_the_lab_its_page_must_be_of(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        async with opened(tmp_path) as here:
            here.happens()
            browser = await deferToThread(Events, here.console.address.port)
            await deferToThread(browser.report)
            page = await here.get("/")
            assert f'data-run="{browser.run}"' in page.body
            runs.append(browser.run)
            browser.close()
    assert runs[0] != runs[1]


@pytest_twisted.ensureDeferred
async def test_too_much_at_once_is_counted_not_shown(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        browser = await deferToThread(Events, here.console.address.port)
        for xid in range(app.AT_ONCE):
            here.happens(xid=xid)
        report = await deferToThread(browser.report)
        assert len(report["lines"]) == app.AT_ONCE
        assert report["lost"] == app.AT_ONCE
        assert report["lines"][-1]["number"] == 2 * app.AT_ONCE
        browser.close()


@pytest_twisted.ensureDeferred
async def test_browsers_are_bounded_and_make_room_when_they_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "READERS", 2)
    async with opened(tmp_path) as here:
        port = here.console.address.port
        browsers = [await deferToThread(Events, port) for _ in range(3)]
        assert [browser.status for browser in browsers] == [200, 200, 503]
        for browser in browsers:
            browser.close()
        for _ in range(100):
            browser = await deferToThread(Events, port)
            browser.close()
            if browser.status == 200:
                break
            await deferLater(reactor, 0.05)
        assert browser.status == 200


@pytest_twisted.ensureDeferred
async def test_the_end_of_the_lab_ends_the_stream(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        browser = await deferToThread(Events, here.console.address.port)
    assert await deferToThread(browser.report) is None
    browser.close()


# --- where it listens -------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_next_free_port_where_its_own_is_taken(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            other = Console(reactor, here.lab, "second")
            await other.start(port)
            assert other.address.host == "127.0.0.1"
            assert other.address.port not in (0, port)
            await other.stop()
