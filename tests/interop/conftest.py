"""Our own programs as their users run them, for the tests with real ones."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.peers import SUP_DEBUG_PORT, loopback, wait_until

SUPFILESRV = [sys.executable, "-c", "from sup.commands.supfilesrv import main; main(prog_name='supfilesrv')"]


@attrs.define
class OurSupfilesrv:
    """Our supfilesrv, at the debug port of an address of its own."""

    host: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """End it as a service manager does; AssertionError if that takes long or it complains."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) in (0, -signal.SIGKILL)

    def logged(self, text: str) -> bool:
        """Whether its log holds `text`."""
        return text in self.log.read_text(errors="replace")


StartServer = Callable[..., OurSupfilesrv]


@contextlib.contextmanager
def starting_supfilesrv(folder: Path) -> Iterator[StartServer]:
    """Starts servers, whose logs are in `folder`, with `-P --user root` and the flags given; ends them afterwards."""
    started: list[OurSupfilesrv] = []

    def start(*flags: str, user: str = "root") -> OurSupfilesrv:
        host = loopback()
        log = folder / f"supfilesrv-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*SUPFILESRV, "-P", "--listen", host, "--user", user, *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = OurSupfilesrv(host, process, log)
        started.append(server)
        wait_until(
            lambda: server.logged(f"{host}:{SUP_DEBUG_PORT}") or process.poll() is not None,
            "the server to listen",
        )
        assert process.poll() is None, log.read_text(errors="replace")
        return server

    try:
        yield start
    finally:
        for server in started:
            server.stop()


@pytest.fixture
def our_supfilesrv(tmp_path: Path) -> Iterator[StartServer]:
    """Starts our supfilesrv with the flags given."""
    with starting_supfilesrv(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def supfilesrv_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurSupfilesrv]:
    """One server for all tests of a module; it serves every collection below pytest's own directories."""
    folder = tmp_path_factory.mktemp("server")
    with starting_supfilesrv(folder) as start:
        yield start("--base", str(tmp_path_factory.getbasetemp()))
