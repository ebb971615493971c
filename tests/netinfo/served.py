"""A host with domains in this process, on an address of the test's own, and one in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from netinfo.generation import NEXT
from netinfo.host import Host
from netinfo.ports import ANY, Ports
from netinfo.rawformat import Branch, load
from netinfo.settings import Settings
from netinfo.starter import sample

EMPTY = load(b'{ "master" = ( "srv/network" ); }')


@asynccontextmanager
async def host(
    address: str = "127.0.0.1", ports: Ports = ANY, state: Path | None = None, **settings: Any
) -> AsyncIterator[Host]:
    """A portmapper and a binder at any free ports; everything is closed afterwards."""
    from twisted.internet import reactor

    port = settings.pop("portmapper_port", 0)
    known_as = settings.pop("address_for_others", "")
    made = Host(
        reactor, Settings(listen=address, address=known_as, superuser="same-user", **settings), ports, state
    )
    try:
        await made.start_portmapper(port)
        await made.start_binder()
        yield made
    finally:
        await made.stop()


def reach(made: Host, tag: bytes = b"network") -> str:
    """How a client names a domain of the host: HOST:PMAP/TAG."""
    assert made.portmapper_address is not None
    return f"{made.portmapper_address}/{tag.decode()}"


@attrs.frozen
class Served:
    """A host in another process: its portmapper, and the ports of `network` and `local`."""

    pid: int
    portmapper: str
    network: str
    local: str

    def by_tag(self, tag: str = "network") -> str:
        return f"{self.portmapper}/{tag}"


@contextmanager
def process(state: Path, generation: str = "next") -> Iterator[Served]:
    """A host with the sample domains, in a process of its own; it ends with the block."""
    command = [sys.executable, "-m", "tests.netinfo.served", str(state), generation]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            yield Served(running.pid, **json.loads(running.stdout.readline()))
        finally:
            running.stdin.close()
            running.wait(timeout=30)


def main() -> None:
    """Serve the samples until stdin ends."""
    from twisted.internet import reactor as installed
    from twisted.internet import stdio
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Protocol

    from netinfo.generation import GENERATIONS

    reactor: Any = installed
    state, generation = Path(sys.argv[1]), GENERATIONS[sys.argv[2]]
    address = "127.0.0.1"
    settings = Settings(listen=address, superuser="same-user", generation=generation, hostname="srv")
    made = Host(reactor, settings, ANY, state)

    class Watch(Protocol):
        def connectionLost(self, reason: Any = None) -> None:
            Deferred.fromCoroutine(made.stop()).addBoth(lambda _: reactor.stop())

    async def start() -> None:
        where = await made.start_portmapper()
        await made.start_binder()
        for tag in (b"local", b"network"):
            await made.start_domain(tag, sample(tag, address))
        places = {tag.decode(): str(server.address) for tag, server in made.servers.items()}
        sys.stdout.write(json.dumps({"portmapper": str(where), **places}) + "\n")
        sys.stdout.flush()
        stdio.StandardIO(Watch())

    def failed(failure: Any) -> None:
        failure.printTraceback(sys.stderr)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addErrback(failed))
    reactor.run()


__all__ = ["EMPTY", "NEXT", "Branch", "Served", "host", "process", "reach"]

if __name__ == "__main__":
    main()
