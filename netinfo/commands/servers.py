"""`ghostports netinfod`, `nibindd` and `portmap`: NetInfo's daemons, each as a program of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import platformdirs

from netinfo.access import Guards
from netinfo.addresses import is_loopback
from netinfo.binder import is_tag
from netinfo.client.names import BadNameError, Portmapper, local_portmapper
from netinfo.generation import GENERATIONS
from netinfo.ports import BINDER, DEFAULT_BASE, PORTMAPPER, Ports
from netinfo.settings import SUPERUSERS, Settings
from wire.capture.recording import Recording, pcap_options
from wire.transport.foreground import Stop, run_server

F = TypeVar("F", bound=Callable[..., Any])

SYSTEM_STATE = Path("/var/lib/ghostports/netinfo")
GUARDS = ("readall", "throttle", "passwords")


def default_state() -> Path:
    """Where databases are kept unless --state says otherwise: the user's state folder, or the system's for
    root.
    """
    if os.geteuid() == 0:
        return SYSTEM_STATE
    return platformdirs.user_state_path("ghostports", appauthor=False) / "netinfo"


@attrs.frozen
class Running:
    """How a server runs: what the options that all of them have say."""

    settings: Settings
    portmapper: Portmapper
    state: Path
    user: str
    debug: bool
    recording: Recording

    def run(self, start: Callable[[Any, Settings], Awaitable[Stop]], *, keeps_state: bool = True) -> None:
        """Run until a signal, and exit with the server's code."""
        from netinfo.server import SUFFIX

        with self.recording.taps() as taps:
            settings = attrs.evolve(self.settings, taps=taps)

            async def begin(reactor: Any) -> Stop:
                return await start(reactor, settings)

            databases = [self.state, *self.state.glob(f"*{SUFFIX}*")] if keeps_state else []
            code = run_server(begin, account=self.user, writable=databases, debug=self.debug)
        sys.exit(code)


def server_options(command: F) -> F:
    """The options that every one of these servers has; the command receives a `Running` as `running`."""

    @click.option(
        "--listen",
        default="127.0.0.1",
        metavar="ADDR",
        show_default=True,
        help="IPv4 address to listen on; 0.0.0.0 for all of them, and for broadcasts.",
    )
    @click.option(
        "--user",
        default="",
        metavar="NAME",
        help="Account to become when started as root [default: anon, else nobody].",
    )
    @click.option("--debug", is_flag=True, help="Log more.")
    @pcap_options
    @wraps(command)
    def with_running(
        *args: Any, listen: str, user: str, debug: bool, recording: Recording, **rest: Any
    ) -> Any:
        if not is_loopback(listen):
            click.echo(
                f"warning: listening on {listen}: whoever reaches this machine can read what is served",
                err=True,
            )
        try:
            portmapper = local_portmapper()
        except BadNameError as error:
            raise click.UsageError(str(error)) from None
        settings = Settings(listen=listen, portmapper_port=portmapper.port)
        running = Running(settings, portmapper, default_state(), user, debug, recording)
        return command(*args, running=running, **rest)

    return with_running  # type: ignore[return-value]


def domain_options(command: F) -> F:
    """The options about how domains behave; they go into the command's `running`."""

    @click.option(
        "--state",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Directory of the databases [default: in the user's state folder].",
    )
    @click.option(
        "--generation",
        type=click.Choice(list(GENERATIONS)),
        default="next",
        show_default=True,
        help="Behave as NeXT's or as Apple's servers did.",
    )
    @click.option(
        "--superuser",
        type=click.Choice(list(SUPERUSERS)),
        default="reserved-port",
        show_default=True,
        help="Which callers of this host may change everything.",
    )
    @click.option(
        "--no-guard",
        "unguarded",
        type=click.Choice(GUARDS),
        multiple=True,
        help="Switch a modern guard off, as the originals were.",
    )
    @click.option("--hostname", help="This host's name in new domains [default: the system's].")
    @wraps(command)
    def with_settings(
        *args: Any,
        running: Running,
        state: Path | None,
        generation: str,
        superuser: str,
        unguarded: Sequence[str],
        hostname: str | None,
        **rest: Any,
    ) -> Any:
        settings = attrs.evolve(
            running.settings,
            generation=GENERATIONS[generation],
            superuser=superuser,
            guards=Guards(**{guard: guard not in unguarded for guard in GUARDS}),
            hostname=hostname or running.settings.hostname,
        )
        running = attrs.evolve(running, settings=settings, state=state or running.state)
        return command(*args, running=running, **rest)

    return with_settings  # type: ignore[return-value]


def checked_tag(tag: str) -> bytes:
    """A tag from the command line. Raises click.BadParameter."""
    raw = os.fsencode(tag)
    if not is_tag(raw):
        raise click.BadParameter(f"{tag!r}: a tag is 1 to 64 of A-Z a-z 0-9 . _ - and begins with no dot")
    return raw


@click.command()
@click.option("--tag", default="network", show_default=True, help="The domain's tag on this host.")
@click.option(
    "--load",
    "load_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Raw text that a new database begins with.",
)
@click.option("--master", metavar="HOST/TAG", help="Be a clone of this master.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port, UDP and TCP; 0 for any free one [default: 10000 + the tag's historic port].",
)
@click.option("--root", "forced_root", is_flag=True, help="Never look for a parent domain.")
@click.option("--register/--no-register", default=True, help="Tell this host's binder, if one runs.")
@click.option(
    "--sigint-locks",
    is_flag=True,
    help="With --generation apple: SIGINT (Ctrl-C) locks and unlocks the database, as it did; SIGTERM ends.",
)
@server_options
@domain_options
def netinfod(
    running: Running,
    tag: str,
    load_file: Path | None,
    master: str | None,
    port: int | None,
    forced_root: bool,
    register: bool,
    sigint_locks: bool,
) -> None:
    """Serve one NetInfo domain.

    A new database begins with --load, as a clone of --master, or as the bare domain that `netinfod -m TAG`
    made.
    """
    from netinfo.commands.running import start_netinfod

    if sigint_locks and not running.settings.generation.sigint_locks:
        raise click.UsageError("--sigint-locks is for --generation apple; NeXT's servers had nothing like it")
    raw_tag = checked_tag(tag)
    text = load_file.read_bytes() if load_file else None
    running = attrs.evolve(running, settings=attrs.evolve(running.settings, forced_root=forced_root))
    binder_at = running.portmapper if register else None

    async def start(reactor: Any, settings: Settings) -> Stop:
        return await start_netinfod(
            reactor, settings, running.state, raw_tag, text, master, port, binder_at, sigint_locks
        )

    running.run(start)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_BASE + BINDER,
    show_default=True,
    help="Port, UDP and TCP; 766 puts domains at their historic ports, too.",
)
@server_options
@domain_options
def nibindd(running: Running, port: int) -> None:
    """Serve the binder and every domain in the state directory, as `nibindd` and its `netinfod`s did.

    `nidomain` makes and unmakes domains. A portmapper must run for clients to find the binder: rpcbind, or
    `ghostports portmap`; GHOSTPORTS_PORTMAP=HOST:PORT says where if not at port 111.
    """
    from netinfo.commands.running import start_nibindd

    ports = Ports(port - BINDER) if port >= BINDER else Ports(None)

    async def start(reactor: Any, settings: Settings) -> Stop:
        return await start_nibindd(reactor, settings, running.state, ports, port, running.portmapper)

    running.run(start)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_BASE + PORTMAPPER,
    show_default=True,
    help="Port, UDP and TCP; 111 is the historic one.",
)
@server_options
def portmap(running: Running, port: int) -> None:
    """Serve as this host's portmapper: ONC RPC program 100000 version 2.

    Programs of this host register by SET; clients elsewhere may only ask.
    """
    from netinfo.commands.running import start_portmap

    async def start(reactor: Any, settings: Settings) -> Stop:
        return await start_portmap(reactor, settings, port)

    running.run(start, keeps_state=False)
