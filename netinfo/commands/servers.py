"""`ghostports netinfod`, `nibindd` and `portmap`: NetInfo's daemons, each as a program of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
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
from netinfo.ports import BINDER, DEFAULT_BASE, Ports
from netinfo.settings import SUPERUSERS, Settings
from wire.transport.foreground import Stop, run_server

F = TypeVar("F", bound=Callable[..., Any])

SYSTEM_STATE = Path("/var/lib/ghostports/netinfo")
GUARDS = ("readall", "throttle", "passwords")


def default_state() -> Path:
    """Where databases are kept unless --state says otherwise: the user's state folder, or the system's for
    root."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    return platformdirs.user_state_path("ghostports", appauthor=False) / "netinfo"


def server_options(command: F) -> F:
    """The options that every one of these servers has."""
    for option in (
        click.option(
            "--listen",
            default="127.0.0.1",
            metavar="ADDR",
            show_default=True,
            help="IPv4 address to listen on; 0.0.0.0 for all.",
        ),
        click.option(
            "--user",
            default="",
            metavar="NAME",
            help="Account to become when started as root [default: anon, else nobody].",
        ),
        click.option("--debug", is_flag=True, help="Log more."),
    ):
        command = option(command)
    return command


def domain_options(command: F) -> F:
    """The options about how domains behave."""
    for option in (
        click.option(
            "--state",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Directory of the databases [default: the state folder of the user].",
        ),
        click.option(
            "--generation",
            type=click.Choice(list(GENERATIONS)),
            default="next",
            show_default=True,
            help="Behave as NeXT's or as Apple's servers did.",
        ),
        click.option(
            "--superuser",
            type=click.Choice(list(SUPERUSERS)),
            default="reserved-port",
            show_default=True,
            help="Which local callers may change everything.",
        ),
        click.option(
            "--no-guard",
            "unguarded",
            type=click.Choice(GUARDS),
            multiple=True,
            help="Switch one of the modern guards off, as the originals were.",
        ),
        click.option(
            "--hostname", default="", help="This host's name in new domains [default: the system's]."
        ),
    ):
        command = option(command)
    return command


def settings_of(
    listen: str,
    generation: str,
    superuser: str,
    unguarded: Sequence[str],
    hostname: str,
    portmapper: Portmapper,
) -> Settings:
    """The settings that options ask for; warns where others can reach the server."""
    if not is_loopback(listen):
        sys.stderr.write(
            f"warning: listening on {listen}: everyone who can reach this machine can read the domains\n"
        )
    settings = Settings(
        listen=listen,
        generation=GENERATIONS[generation],
        superuser=superuser,
        guards=Guards(**{guard: guard not in unguarded for guard in GUARDS}),
        portmapper_port=portmapper.port,
    )
    return attrs.evolve(settings, hostname=hostname) if hostname else settings


def portmapper_of_environment() -> Portmapper:
    """The portmapper to ask and to register with. Raises click.UsageError."""
    try:
        return local_portmapper()
    except BadNameError as error:
        raise click.UsageError(str(error)) from None


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
@domain_options
@server_options
def netinfod(
    tag: str,
    load_file: Path | None,
    master: str | None,
    port: int | None,
    forced_root: bool,
    register: bool,
    state: Path | None,
    generation: str,
    superuser: str,
    unguarded: tuple[str, ...],
    hostname: str,
    listen: str,
    user: str,
    debug: bool,
) -> None:
    """Serve one NetInfo domain.

    A new database begins with --load, as a clone of --master, or as the bare domain that `netinfod -m TAG`
    made.
    """
    from netinfo.commands.running import start_netinfod

    portmapper = portmapper_of_environment()
    settings = settings_of(listen, generation, superuser, unguarded, hostname, portmapper)
    if forced_root:
        settings = attrs.evolve(settings, forced_root=True)
    directory = state or default_state()
    raw_tag = checked_tag(tag)
    text = load_file.read_bytes() if load_file else None

    async def start(reactor: Any) -> Stop:
        return await start_netinfod(
            reactor, settings, directory, raw_tag, text, master, port, portmapper if register else None
        )

    sys.exit(run_server(start, account=user, writable=[directory], debug=debug))


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_BASE + BINDER,
    show_default=True,
    help="Port, UDP and TCP; 766 puts domains at their historic ports, too.",
)
@domain_options
@server_options
def nibindd(
    port: int,
    state: Path | None,
    generation: str,
    superuser: str,
    unguarded: tuple[str, ...],
    hostname: str,
    listen: str,
    user: str,
    debug: bool,
) -> None:
    """Serve the binder and every domain in the state directory, as `nibindd` and its `netinfod`s did.

    `nidomain` makes and unmakes domains. A portmapper must run for clients to find the binder: rpcbind, or
    `ghostports portmap`; GHOSTPORTS_PORTMAP=HOST:PORT says where if not at port 111.
    """
    from netinfo.commands.running import start_nibindd

    portmapper = portmapper_of_environment()
    settings = settings_of(listen, generation, superuser, unguarded, hostname, portmapper)
    directory = state or default_state()
    ports = Ports(port - BINDER) if port >= BINDER else Ports(None)

    async def start(reactor: Any) -> Stop:
        return await start_nibindd(reactor, settings, directory, ports, port, portmapper)

    sys.exit(run_server(start, account=user, writable=[directory], debug=debug))


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_BASE + 111,
    show_default=True,
    help="Port, UDP and TCP; 111 is the historic one.",
)
@server_options
def portmap(port: int, listen: str, user: str, debug: bool) -> None:
    """Serve as this host's portmapper: ONC RPC program 100000 version 2.

    Programs of this host register by SET; clients elsewhere may only ask.
    """
    from netinfo.commands.running import start_portmap

    settings = settings_of(listen, "next", "reserved-port", (), "", Portmapper("127.0.0.1", port))

    async def start(reactor: Any) -> Stop:
        return await start_portmap(reactor, settings, port)

    sys.exit(run_server(start, account=user, debug=debug))
