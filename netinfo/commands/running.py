"""How NetInfo's daemons start and stop; what the commands in `netinfo.commands.servers` run on the
reactor."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from netinfo import starter
from netinfo.client.errors import NetInfoError
from netinfo.client.names import BadNameError, Portmapper, TaggedServer, parse_server
from netinfo.client.reactor import ReactorNetwork
from netinfo.host import Host
from netinfo.ports import Ports
from netinfo.rawformat import Branch, RawFormatError, load
from netinfo.registration import RegistrationError, register_domain, unregister_domain
from netinfo.server import DomainServer, database_of, open_database
from netinfo.settings import Settings
from netinfo.store import StoreError
from wire.transport.errors import ProgramError, TransportError
from wire.transport.foreground import Stop

log = Logger()


async def beginning_of(
    settings: Settings, tag: bytes, text: bytes | None, master: str | None, network: ReactorNetwork
) -> Branch:
    """What a new database begins with. Raises ProgramError."""
    if text is not None:
        try:
            return load(text)
        except RawFormatError as error:
            raise ProgramError(f"--load: {error}") from None
    if master is None:
        return starter.bare_master(tag, settings.hostname.encode(), [settings.own_address])
    try:
        server = parse_server(master, settings.portmapper_port)
    except BadNameError as error:
        raise ProgramError(f"--master: {error}") from None
    if not isinstance(server, TaggedServer):
        raise ProgramError(f"--master {master}: write HOST/TAG, so that the clone can find it again")
    host = server.portmapper.host
    return starter.bare_clone(host.encode(), await network.resolve(host), server.tag)


def unusable(state: Path, error: StoreError | OSError) -> str:
    """A sentence about databases that cannot be opened."""
    return f"{state} cannot be used: {error.strerror}." if isinstance(error, OSError) else str(error)


async def start_netinfod(
    reactor: Any,
    settings: Settings,
    state: Path,
    tag: bytes,
    text: bytes | None,
    master: str | None,
    port: int | None,
    binder_at: Portmapper | None,
    sigint_locks: bool = False,
) -> Stop:
    """Serve one domain, and tell the binder found through *binder_at*. Raises ProgramError and
    ListenError."""
    network = ReactorNetwork(reactor, settings.taps)
    path = database_of(state, tag)
    if path.exists() and (text is not None or master is not None):
        raise ProgramError(
            f"{path} exists already: leave out --load and --master, or take another --state or --tag"
        )
    beginning = await beginning_of(settings, tag, text, master, network)
    try:
        store, tree = open_database(path, beginning, settings)
    except (StoreError, OSError) as error:
        raise ProgramError(unusable(state, error)) from None
    server = DomainServer(reactor, tag, tree, settings, store, network)
    await server.start(Ports() if port is None else port)
    if sigint_locks:
        signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(server.toggle_lock))
    registered = binder_at is not None and await _register(network, binder_at, server)

    async def stop() -> None:
        if registered and binder_at is not None:
            try:
                await unregister_domain(network, binder_at, tag)
            except (TransportError, NetInfoError, RegistrationError) as error:
                log.info("the binder was not told that the domain ends: {error}", error=error)
        await server.stop()

    return stop


async def _register(network: ReactorNetwork, binder_at: Portmapper, server: DomainServer) -> bool:
    try:
        await register_domain(network, binder_at, server.tag, server.ports)
    except (TransportError, NetInfoError, RegistrationError) as error:
        log.info(
            "not known to a binder, so reached as {address} alone: {error}",
            address=server.address,
            error=error,
        )
        return False
    return True


async def start_nibindd(
    reactor: Any, settings: Settings, state: Path, ports: Ports, port: int, portmapper: Portmapper
) -> Stop:
    """Serve the binder and all stored domains. Raises ProgramError and ListenError."""
    host = Host(reactor, settings, ports, state)
    try:
        address = await host.start_binder(port)
        log.info("binder served at {address}", address=address)
        await host.start_stored()
    except (StoreError, OSError) as error:
        await host.stop()
        raise ProgramError(unusable(state, error)) from None
    if not host.servers:
        log.info("no domains yet: `nidomain -m TAG` makes one")
    try:
        await host.register_with(portmapper)
    except (TransportError, RegistrationError) as error:
        log.warn("clients cannot find the binder: {error}", error=error)
    return host.stop


async def start_portmap(reactor: Any, settings: Settings, port: int) -> Stop:
    """Serve the portmapper. Raises ListenError."""
    host = Host(reactor, settings, Ports(None))
    address = await host.start_portmapper(port)
    log.info("portmapper served at {address}", address=address)
    return host.stop
