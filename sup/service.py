"""The file server as a running thing: sessions on a port, threads for what waits for the disk, places for clients.

This is the shell around `sup.server`, whose rules know nothing of sockets, threads and processes.
"""

import mmap
import socket
import struct
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from sup import hosts
from sup.channel import Channel
from sup.config import ServerConfig
from sup.server import Server, Threads, serve
from sup.trace import TracingChannel
from wire.transport.endpoint import Listening
from wire.transport.sup_stream import MessageStream, SupListening, listen_sup
from wire.transport.tap import Tap

T = TypeVar("T")

WAITING_CONNECTIONS = 64
"""Connections there must at least be room for besides those that are served: clients that are told to wait."""
MOMENTARY_THREADS = 8
WALKING_THREADS = READING_THREADS = PACKING_THREADS = 4
"""What they look at is mostly in memory; more would only take the interpreter from one another."""


class SharedSlots:
    """Places for clients, counted over several processes without a lock (`-C`, `--workers`).

    Each process keeps its own number in memory that all of them see, and reads those of the others. Two that
    take the last place in the same instant may both get it, which `-C` can bear; a process that dies gives
    its places back when its number is cleared.
    """

    def __init__(self, limit: int, processes: int = 1) -> None:
        self._limit = limit
        self._processes = processes
        self._counts = mmap.mmap(-1, 4 * processes)
        self._own = 0

    def become(self, process: int) -> None:
        """Be process number `process` from now on, counted from 0; nothing is taken yet."""
        self._own = process
        self.clear(process)

    def clear(self, process: int) -> None:
        """Give back everything that a process holds."""
        struct.pack_into("i", self._counts, 4 * process, 0)

    def taken(self) -> int:
        """How many are taken in all processes together."""
        return sum(struct.unpack(f"{self._processes}i", self._counts))

    def take(self) -> bool:
        if self.taken() >= self._limit:
            return False
        self._add(1)
        return True

    def give_back(self) -> None:
        self._add(-1)

    def _add(self, change: int) -> None:
        (own,) = struct.unpack_from("i", self._counts, 4 * self._own)
        struct.pack_into("i", self._counts, 4 * self._own, own + change)


def resolve(name: str) -> list[str]:
    """The addresses of a host name; none if it is not known."""
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)})
    except (OSError, UnicodeError):
        return []


def host_name(address: str) -> str:
    """The name of an address, or the address if it has none."""
    try:
        return socket.gethostbyaddr(address)[0]
    except (OSError, UnicodeError):
        return address


def is_own_address(address: str) -> bool:
    """Whether `address` is one of this machine's: only then can a socket be bound to it."""
    plain = hosts.plain_address(address)
    family = socket.AF_INET6 if plain.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(plain), 0))
        except OSError:
            return False
    return True


class FileServer:
    """Listens, and gives every connection a session of its own."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        slots: SharedSlots,
        taps: Sequence[Tap] = (),
        trace: int = 0,
        tell_connections: bool = False,
    ) -> None:
        """`trace` is the level of `-N`, 0 for none; `tell_connections` logs each as it comes (`-l`)."""
        self._reactor = reactor
        least = config.max_clients + WAITING_CONNECTIONS
        self._limits = attrs.evolve(config.limits, connections=max(config.limits.connections, least))
        self._taps = taps
        self._trace = trace
        self._tell_connections = tell_connections
        self._allowed = [ip_network(network, strict=False) for network in config.clients]
        momentary = ThreadPool(0, MOMENTARY_THREADS, "supfilesrv looks")
        naming = ThreadPool(0, config.max_clients + 1, "supfilesrv asks for names")
        walking = ThreadPool(0, WALKING_THREADS, "supfilesrv walks")
        reading = ThreadPool(0, READING_THREADS, "supfilesrv reads")
        packing = ThreadPool(0, PACKING_THREADS, "supfilesrv packs")
        self._pools = (momentary, naming, walking, reading, packing)
        self._server = Server(
            config=config,
            slots=slots,
            in_thread=self._in(momentary),
            in_naming_thread=self._in(naming),
            in_walking_thread=self._in(walking),
            in_reading_thread=self._in(reading),
            in_packing_thread=self._in(packing),
            clock=time.time,
            resolve=resolve,
            host_name=host_name,
            is_own_address=is_own_address,
            idle=self._limits.afterwards,
        )

    def _in(self, pool: ThreadPool) -> Threads:
        def run(function: Callable[..., T], *args: Any) -> Deferred[T]:
            return deferToThreadPool(self._reactor, pool, function, *args)

        return run

    async def listen(
        self, host: str, port: int, reuse_port: bool = False, after_one: Callable[[], None] | None = None
    ) -> SupListening:
        """Serve files at a port; 0 is any free one. Raises ListenError.

        With `after_one`, the port is closed when a client connects, and the function called when it is served.
        """
        self._start_threads()
        listening: SupListening

        async def once(stream: MessageStream) -> None:
            await Listening.stop(listening)
            await self.session(stream)
            await stream.finish()
            if after_one is not None:
                after_one()

        listening = await listen_sup(
            self._reactor,
            host,
            port,
            once if after_one else self.session,
            limits=self._limits,
            taps=self._taps,
            reuse_port=reuse_port,
        )
        return listening

    def _start_threads(self) -> None:
        for pool in self._pools:
            if not pool.started:
                pool.start()

    def stop_threads(self) -> None:
        """To be called when no session is left."""
        for pool in self._pools:
            if pool.started:
                pool.stop()

    async def session(self, stream: MessageStream) -> None:
        """Serve one client."""
        if self._allowed and not any(hosts.plain_address(stream.peer.host) in net for net in self._allowed):
            self.log.warn("{peer}: not one of the clients that may connect", peer=stream.peer)
            stream.abort()
            return
        if self._tell_connections:
            self.log.info("{peer}: connected", peer=stream.peer)
        channel: Channel = stream
        if self._trace:
            channel = TracingChannel(
                stream, self._trace, lambda line: self.log.info("{peer}: {line}", peer=stream.peer, line=line)
            )
        await serve(channel, self._server)
