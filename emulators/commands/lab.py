"""`ghostports lab`: the whole lab in the foreground, what to try printed first, then a line for each request."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from emulators.config import ConfigError, LabConfig, with_options
from emulators.state import DEFAULT_NAME, StateError, directory_of, open_state
from wire.capture.recording import Recording, pcap_options
from wire.transport.tap import Tap

ADVICE = {
    errno.EADDRINUSE: "Is another lab running, or at port 111 the system's rpcbind? Stop it, or choose other ports: "
    "--port-base 20000, or 0 for any free.",
    errno.EACCES: "Without --historic-ports each is 10000 + the historic one.",
    errno.EADDRNOTAVAIL: "Give --listen an address of this machine, or 0.0.0.0 for all of them.",
}
"""What to do where a port cannot be opened, by the system's error number."""
BEGIN_ANEW = "Choose another directory with --state, or lose what this one holds and begin anew with --fresh."
"""What to do where the state cannot be used."""


@click.command(short_help="Run every server on this machine, with samples to try.")
@click.argument("name", default=DEFAULT_NAME)
@click.option("--config", "config_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Read the configuration from this TOML file; options given here win.")  # fmt: skip
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep databases and collections in this directory instead of your own state folder.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Destroy what the lab holds, and begin anew with the samples.")
@click.option(
    "--listen", metavar="ADDR", help="Listen on this IPv4 address (default 127.0.0.1; 0.0.0.0 for all)."
)
@click.option("--historic-ports", is_flag=True, help="Take the historic ports themselves, which needs root.")
@click.option("--port-base", type=click.IntRange(min=0), metavar="N",
              help="Take N + the historic port (default 10000); 0 takes any free ports.")  # fmt: skip
@click.option("--console", "console_port", type=click.IntRange(0, 65_535), metavar="PORT",
              help="Serve the web console here, or at the next free port (default 8877).")  # fmt: skip
@click.option("--no-console", is_flag=True, help="Do without the web console.")
@click.option("--fault", metavar="SPEC",
              help="Lose, delay and repeat messages by chance, as in drop=0.1,delay=50ms,dup=0.05.")  # fmt: skip
@pcap_options
@click.option("--user", default="", metavar="NAME",
              help="Started as root, become this account (default: anon where it exists, else nobody).")  # fmt: skip
def lab(
    name: str,
    config_file: Path | None,
    state: Path | None,
    fresh: bool,
    listen: str | None,
    historic_ports: bool,
    port_base: int | None,
    console_port: int | None,
    no_console: bool,
    fault: str | None,
    user: str,
    recording: Recording,
) -> None:
    """Run portmapper, binder, two NetInfo domains and a SUP file server, with samples to try.

    NAME sets labs apart that you keep for different classes or purposes: each has a directory of its own.

    The lab prints what runs where, the sample accounts, and commands to try in a second terminal; then one line for
    each request, until Ctrl-C.
    """
    if historic_ports and port_base is not None:
        raise click.UsageError("--historic-ports and --port-base exclude each other.")
    if no_console and console_port is not None:
        raise click.UsageError("--console and --no-console exclude each other.")
    try:
        config = with_options(
            config_file,
            {
                "console": False if no_console else None if console_port is None else True,
                "console_port": console_port,
                "listen": listen,
                "historic_ports": historic_ports or None,
                "port_base": port_base,
                "fault": fault,
            },
        )
        directory = state if state is not None else directory_of(name)
    except (ConfigError, StateError) as error:
        raise click.UsageError(str(error)) from error
    with recording.taps() as taps:
        raise SystemExit(_serve(name, config, directory, fresh, user, taps))


def account_of_lab(user: str) -> tuple[str, str]:
    """Whom a lab becomes that was told to become *user* ("": not told), and what to tell a person of it, if anything.

    A server would refuse to start where no other account can read the program; a lab, whose samples are there to play
    with, stays root. Raises ProgramError.
    """
    from wire.transport.account import account_named, hidden_from

    if user or os.geteuid() != 0:
        return user, ""
    account = account_named("")
    hidden = hidden_from(account)
    if hidden is None:
        return account.pw_name, ""
    return "root", (
        f"The lab stays root, because account {account.pw_name} may not read the program below {hidden}. "
        "Better: move it to a place that all may read, or name an account that may with --user."
    )


def _serve(name: str, config: LabConfig, directory: Path, fresh: bool, user: str, taps: Sequence[Tap]) -> int:
    """Run until Ctrl-C; the exit code."""
    from twisted.internet.task import LoopingCall

    from emulators.lab import Lab
    from emulators.requests import RequestLog
    from emulators.table import show
    from netinfo.settings import Settings
    from netinfo.store import StoreError
    from wire.transport.errors import ListenError, ProgramError
    from wire.transport.foreground import Stop, run_server

    try:
        account, advice = account_of_lab(user)
        held = open_state(directory, Settings(listen=config.listen).own_address, fresh=fresh)
    except (ProgramError, StateError) as error:
        raise click.ClickException(str(error)) from error

    async def start(reactor: Any) -> Stop:
        from emulators.console.app import (
            Console,
        )  # here: its web server takes hold of the reactor that is installed

        running = Lab(reactor, config, held, taps)
        requests = RequestLog()
        running.watcher.listeners.append(requests)
        if advice:
            running.notes.append(advice)
        try:
            await running.start()
        except ListenError as error:
            raise ProgramError(f"{error} {ADVICE.get(error.errno or 0, '')}".rstrip()) from error
        except StoreError as error:
            raise ProgramError(f"{str(error).rstrip('.')}. {BEGIN_ANEW}") from error
        except OSError as error:
            where = error.filename or directory
            raise ProgramError(f"{where} cannot be used: {error.strerror}. {BEGIN_ANEW}") from error
        console = Console(reactor, running, name) if config.console else None
        if console is not None:
            await console.start(config.console_port)
        with suppress(OSError, SystemExit):  # rich exits where nobody reads any more; serving goes on
            show(name, running, console.url if console is not None else None)
        sweeping = LoopingCall(lambda: requests.sweep(time.time()))
        sweeping.start(1.0, now=False)

        async def stop() -> None:
            sweeping.stop()
            if console is not None:
                await console.stop()
            await running.stop()
            with suppress(OSError):  # as with `| tee`, which the same Ctrl-C has ended
                click.echo("The lab has ended.")

        return stop

    try:
        return run_server(start, account=account, writable=[directory, *directory.rglob("*")])
    finally:
        held.close()
