"""`supfilesrv`: the SUP file server (SUP 7.3), and `supfilesrv passwd`, which makes hashes for its users."""

import os
import resource
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click
from attrs import evolve

from sup import nameserver, passwords
from sup.config import ConfigError, ServerConfig, load
from sup.supfile import SupfileError
from sup.workers import reserve_port, run_workers
from wire.capture.recording import Recording, pcap_options
from wire.transport.account import become
from wire.transport.errors import ProgramError
from wire.transport.foreground import Stop, run_server

DEBUG_PORT, DEBUG_NAME_PORT = 1127, 1125
"""Where -P listens (SUP 1.1)."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes lets another: a walk must not keep the network waiting."""


@attrs.frozen(kw_only=True)
class Running:
    """How the server runs, apart from what it serves."""

    once: bool
    log_connections: bool
    silent: bool
    trace: int
    recording: Recording


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-d", "once", is_flag=True, help="Serve one connection and exit.")
@click.option("-l", "log_connections", is_flag=True, help="Log connections as they are accepted.")
@click.option(
    "-N", "trace", count=True, help="Log what travels: messages; -NNN their values, but for LOGIN's."
)
@click.option("-P", "debug_ports", is_flag=True, help="Use the debug ports 1127 and 1125.")
@click.option("-q", "ignored", is_flag=True, help="Accepted and ignored, as ever.")
@click.option("-S", "silent", is_flag=True, help="Log warnings and errors only.")
@click.option(
    "-C", "max_clients", type=click.IntRange(0), metavar="MAX", help="Clients served at once [default: 64]."
)
@click.option(
    "-4", "family", flag_value=4, type=int, help="Listen on an IPv4 address, 127.0.0.1 (the default)."
)
@click.option("-6", "family", flag_value=6, type=int, help="Listen on an IPv6 address, ::1.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration (TOML).")
@click.option("--listen", metavar="ADDR", help="Address to listen on; 0.0.0.0 or :: for all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Port; 0 for any free one [default: 871]."
)
@click.option(
    "--base", "bases", multiple=True, metavar="DIR",
    help="Serve the collections under DIR. May be repeated. Without it, only what the configuration names is served.",
)  # fmt: skip
@click.option(
    "--user", metavar="NAME", help="Account to become when started as root [default: anon, else nobody]."
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that share the port.")
@click.option("--historic", is_flag=True, help="Read list files as the original does, quirks included.")
@click.option(
    "--name-server", is_flag=True, help="Tell clients of protocol 4 and 5 which host has a collection."
)
@pcap_options
@click.pass_context
def main(
    context: click.Context,
    /,
    recording: Recording,
    once: bool,
    log_connections: bool,
    trace: int,
    silent: bool,
    config: Path | None,
    **options: Any,
) -> None:
    """Serve collections of files to SUP clients, in the foreground, until a signal ends it."""
    if context.invoked_subcommand is not None:
        return
    try:
        settings = merged(load(config) if config else ServerConfig(), options)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    for user, hashed in settings.users.items():
        if not passwords.is_hash(hashed):
            raise click.UsageError(f"users.{user}: not a hash of `supfilesrv passwd`")
    if settings.workers > 1 and (once or recording.path):
        raise click.UsageError("-d and --pcap are for one process: leave --workers out.")
    warn(settings)
    running = Running(
        once=once, log_connections=log_connections, silent=silent, trace=trace, recording=recording
    )
    raise SystemExit(run(settings, running))


@main.command("passwd")
@click.argument("user")
def passwd(user: str) -> None:
    """Ask for a password and print the line that gives it to USER, for [users] in the configuration.

    The password is read from the terminal, else from the first line of standard input.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError("An empty password would let everybody in.")
    click.echo(f'"{user}" = "{passwords.hash_password(os.fsencode(password))}"')


def merged(config: ServerConfig, options: dict[str, Any]) -> ServerConfig:
    """The configuration with what the command line says in its place. Raises ConfigError."""
    changes: dict[str, Any] = {
        key: options[key]
        for key in ("max_clients", "listen", "port", "user", "workers")
        if options[key] is not None
    }
    if options["bases"]:
        changes["bases"] = (*config.bases, *(os.path.abspath(base) for base in options["bases"]))
    for key in ("historic", "name_server"):
        if options[key]:
            changes[key] = True
    if options["debug_ports"]:
        changes = {"port": DEBUG_PORT, "name_port": DEBUG_NAME_PORT} | changes
    if options["family"] == 6:
        changes = {"listen": "::1"} | changes
    return evolve(config, **changes)


def warn(config: ServerConfig) -> None:
    """Say on stderr what a person should know before others can reach the server."""
    if config.listen not in ("127.0.0.1", "::1", "localhost") and not config.listen.startswith("127."):
        click.echo(
            f"warning: listening on {config.listen}: SUP sends files, names and passwords in clear, and everyone who "
            "can reach this machine can ask for the collections",
            err=True,
        )
    if not config.roots():
        click.echo(
            "warning: nothing to serve: use --base DIR, or name collections in --config FILE", err=True
        )


def run(config: ServerConfig, running: Running) -> int:
    """Serve until a signal; the exit code."""
    from sup.service import SharedSlots

    allow_many_files()
    slots = SharedSlots(config.max_clients, config.workers)
    if config.workers == 1:
        return serve(config, running, slots, 0)
    try:
        become(config.user)
        held, port = reserve_port(config.listen, config.port)
    except (ProgramError, OSError) as error:
        click.echo(f"supfilesrv: {error}", err=True)
        return 1
    # Who is still root was told to be; whoever is not cannot become anybody else.
    shared = evolve(config, port=port, user=config.user if os.geteuid() == 0 else "")
    with held:
        return run_workers(config.workers, partial(serve, shared, running, slots), slots.clear)


def serve(config: ServerConfig, running: Running, slots: Any, process: int) -> int:
    """What one process does."""
    slots.become(process)
    sys.setswitchinterval(SWITCH_INTERVAL)
    with running.recording.taps() as taps:

        async def start(reactor: Any) -> Stop:
            return await opened(reactor, config, running, slots, process, taps)

        return run_server(start, account=config.user, silent=running.silent)


async def opened(
    reactor: Any, config: ServerConfig, running: Running, slots: Any, process: int, taps: Any
) -> Stop:
    """Open the ports of one process; what closes them."""
    from sup.service import FileServer
    from wire.transport.sup_stream import listen_sup

    server = FileServer(reactor, config, slots, taps, running.trace, running.log_connections)
    listening = [
        await server.listen(
            config.listen, config.port, config.workers > 1, reactor.stop if running.once else None
        )
    ]
    if config.name_server and process == 0:
        try:
            hosts = config.hosts(socket.gethostname())
        except SupfileError as error:
            raise ProgramError(str(error)) from None
        listening.append(
            await listen_sup(
                reactor,
                config.listen,
                config.name_port,
                lambda stream: nameserver.answer(stream, hosts),
                limits=config.limits,
                taps=taps,
                name="supnamesrv",
            )
        )
    if process == 0:
        for each, what in zip(listening, ("files", "names of hosts"), strict=False):
            server.log.info("supfilesrv serves {what} at {address}", what=what, address=each.address)

    async def stop() -> None:
        for each in listening:
            await each.stop()
        server.stop_threads()

    return stop


def allow_many_files() -> None:
    """Raise the number of open files to what the system allows: every session holds some directories open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
