"""Clients and servers of SUP, Debian's and ours, and rsync for comparison: started, run once, and what that cost.

All of them live in network namespaces of the benchmark's own, each server in another one, so that all have one port.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import attrs

from tests.interop.programs import SUP, SUPFILESRV, readable_by
from tests.peers import SUP_DEBUG_PORT, NetworkNamespace, peer, wait_until
from tests.relay import Relay

LONGEST = 1200.0
"""Seconds after which a client is ended."""
RELAY_DELAY = 0.01
"""Seconds, each way."""


@attrs.frozen
class Place:
    """Where a benchmark runs: its files, and networks of its servers and of its clients."""

    top: Path
    servers: NetworkNamespace
    clients: NetworkNamespace
    """Another one if there is a relay between them; clients name 127.0.0.1 in any case."""

    @property
    def srv(self) -> Path:
        """What is served: `data`, and the control files of collection `demo`."""
        return self.top / "srv"

    @property
    def cli(self) -> Path:
        """What it is copied to."""
        return self.top / "cli"

    def clear(self) -> None:
        """Let the client begin with nothing, and the disk with nothing to do.

        What the client had stays beside it, without its data: ext4 that keeps no journal looks for a new file's inode
        at each that was freed in the last minutes, so that deleting 10,000 files would make the next 10,000 slow.
        """
        for directory, _, names in os.walk(self.cli):
            for name in names:
                os.truncate(Path(directory, name), 0)
        self.cli.rename(Path(tempfile.mkdtemp(prefix="before-", dir=self.top), "cli"))
        self.cli.mkdir()
        os.sync()


@contextlib.contextmanager
def near(top: Path) -> Iterator[Place]:
    """Clients and servers on one machine."""
    with NetworkNamespace() as network:
        yield Place(top, network, network)


@contextlib.contextmanager
def far(top: Path) -> Iterator[Place]:
    """A relay between clients and servers adds twice RELAY_DELAY to each round trip."""
    with NetworkNamespace() as servers, NetworkNamespace() as clients:
        servers.connect(clients, "10.0.0.1/24", "10.0.0.2/24")
        with contextlib.ExitStack() as stack:
            with clients.inside():  # where the relay's thread begins it stays
                stack.enter_context(Relay("10.0.0.1", SUP_DEBUG_PORT, RELAY_DELAY, port=SUP_DEBUG_PORT))
            yield Place(top, servers, clients)


# --- servers -----------------------------------------------------------------------------------------------------


@attrs.define
class Cost:
    """What a session cost its server."""

    cpu: float | None = None
    """Seconds of the processor."""


class Server(Protocol):
    """A server that is there, or comes when a client does."""

    def session(self) -> contextlib.AbstractContextManager[Cost]:
        """A server for one client; its cost is known afterwards."""
        ...

    def peak(self) -> int | None:
        """The most memory that it has held, in bytes."""
        ...


@attrs.frozen
class Original:
    """Debian's supfilesrv, one process for each session, so that its cost is known to the microsecond."""

    place: Place

    @contextlib.contextmanager
    def session(self) -> Iterator[Cost]:
        with quiet(self.place.servers, [peer("supfilesrv"), "-P", "-d"]) as server:
            self.place.servers.wait_for_port(SUP_DEBUG_PORT)
            cost = Cost()
            yield cost
            cost.cpu = cpu_of_ended(server)

    def peak(self) -> None:
        return None


@attrs.frozen
class Standing:
    """A server that serves one session after another."""

    process: subprocess.Popen[bytes]
    cpu_counts: bool

    @contextlib.contextmanager
    def session(self) -> Iterator[Cost]:
        cost = Cost()
        if not self.cpu_counts:
            yield cost
            return
        clock = ~self.process.pid << 3 | 2  # clock_getcpuclockid(3): all threads, to the nanosecond
        before = time.clock_gettime(clock)
        yield cost
        cost.cpu = time.clock_gettime(clock) - before

    def peak(self) -> int | None:
        if not self.cpu_counts:
            return None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def original(place: Place) -> Iterator[Server]:
    """Debian's supfilesrv."""
    yield Original(place)


@contextlib.contextmanager
def ours(place: Place) -> Iterator[Server]:
    """Our supfilesrv, under the account that Debian's has."""
    options = ["-P", "--user", "anon", "--listen", "0.0.0.0", "--base", str(place.top)]
    command = [*readable_by("anon"), *SUPFILESRV, *options]
    with quiet(place.servers, command) as process:
        place.servers.wait_for_port(SUP_DEBUG_PORT)
        yield Standing(process, cpu_counts=True)


@contextlib.contextmanager
def rsync_daemon(place: Place) -> Iterator[Server]:
    """An rsync daemon; its processes, one for each session, are not counted."""
    configuration = place.top / "rsyncd.conf"
    configuration.write_text(f"use chroot = no\n[demo]\npath = {place.srv}\nexclude = /sup\n")
    daemon = ["--daemon", "--no-detach", f"--port={SUP_DEBUG_PORT}", f"--config={configuration}"]
    with quiet(place.servers, [peer("rsync"), *daemon]) as process:
        place.servers.wait_for_port(SUP_DEBUG_PORT)
        yield Standing(process, cpu_counts=False)


@contextlib.contextmanager
def quiet(network: NetworkNamespace, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended afterwards, and whose port is free again."""
    void = subprocess.DEVNULL
    process = network.popen(command, stdin=void, stdout=void, stderr=void)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)
        wait_until(lambda: not network.is_listening(SUP_DEBUG_PORT), "the port to be free")


def cpu_of_ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end of a process; the seconds of the processor that it and its children took."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


# --- clients -----------------------------------------------------------------------------------------------------


def supfile(place: Place) -> str:
    """A supfile of the one collection."""
    path = place.top / "supfile"
    path.write_text(f"demo host=127.0.0.1 base={place.cli} hostbase={place.srv} timeout=0\n")
    return str(path)


def debian_sup(place: Place) -> list[str]:
    """Debian's client."""
    return [peer("sup"), "-P", supfile(place)]


def our_sup(place: Place) -> list[str]:
    """Our client; what it has written is on the disk when it ends."""
    return [*SUP, "-P", supfile(place)]


def our_sup_without_fsync(place: Place) -> list[str]:
    """Our client, as careless as the others."""
    return [*SUP, "-P", "--no-fsync", supfile(place)]


def rsync(place: Place) -> list[str]:
    """rsync, from its daemon."""
    return [peer("rsync"), "-a", f"rsync://127.0.0.1:{SUP_DEBUG_PORT}/demo/", str(place.cli)]


def rsync_with_fsync(place: Place) -> list[str]:
    """rsync; what it has written is on the disk when it ends."""
    return [*rsync(place), "--fsync"]


# --- pairings ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Pairing:
    """A client and a server."""

    name: str
    client: Callable[[Place], list[str]]
    server: Callable[[Place], contextlib.AbstractContextManager[Server]]
    rsync: str = "rsync"
    """The pairing of rsync's that promises as much."""


REAL, RSYNC, RSYNC_FSYNC = "real x real", "rsync", "rsync --fsync"
PAIRINGS = (
    Pairing(REAL, debian_sup, original),
    Pairing("real client x our server", debian_sup, ours),
    Pairing("our client x real server", our_sup, original, RSYNC_FSYNC),
    Pairing("ours x ours", our_sup, ours, RSYNC_FSYNC),
    Pairing("ours x ours --no-fsync", our_sup_without_fsync, ours),
    Pairing(RSYNC_FSYNC, rsync_with_fsync, rsync_daemon, RSYNC_FSYNC),
    Pairing(RSYNC, rsync, rsync_daemon),
)


@attrs.frozen
class Run:
    """What one run of a client took."""

    seconds: float
    client_cpu: float
    server_cpu: float | None


def run(place: Place, pairing: Pairing, server: Server) -> Run:
    """Run the client once. Raises AssertionError if it complains."""
    said = place.top / "said"
    with server.session() as cost, said.open("wb") as output:
        began = time.monotonic()
        client = place.clients.popen(
            pairing.client(place), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        watch = threading.Timer(LONGEST, client.kill)
        watch.start()
        try:
            cpu = cpu_of_ended(client)
        finally:
            watch.cancel()
        seconds = time.monotonic() - began
    complaint = re.search(b"(?i)abort|error|busy|denied|retry", said.read_bytes())
    assert (client.returncode, complaint) == (0, None), (pairing.name, said.read_bytes())
    return Run(seconds, cpu, cost.cpu)
