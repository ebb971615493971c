"""`supscan`: makes the scan files of collections, so that the file server need not walk the disk (SUP 6.8, 7.3)."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from sup.collection import Collection, CollectionError
from sup.config import DEFAULT_SUPFILES, ConfigError, ServerConfig, load, read_coll_dir
from sup.names import UnsafeName, is_collection_name
from sup.releases import NoSuchRelease
from sup.report import printable
from sup.scanning import make_scans
from sup.supfile import SupfileError, parse_hosts
from sup.walk import Listener

EVERYWHERE = (b"/",)
"""supscan looks wherever its user may: what the file server may serve is decided when it is asked."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v", "verbose", is_flag=True, help="Name the directories that are scanned, and what is left out."
)
@click.option("-q", "quiet", is_flag=True, help="Print errors only.")
@click.option(
    "-s", "system", is_flag=True, help="Scan every collection that coll.host places on this machine."
)
@click.option(
    "-f",
    "dirfile",
    type=click.Path(path_type=Path),
    help="A file of collections and base directories, in place of coll.dir; without COLLECTION, scan all of it.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The file server's configuration: collections, supfiles, historic.",
)
@click.option("--historic", is_flag=True, help="Read list files as the original does, quirks included.")
@click.argument("collection", required=False)
@click.argument("basedir", required=False)
def main(
    verbose: bool,
    quiet: bool,
    system: bool,
    dirfile: Path | None,
    config: Path | None,
    historic: bool,
    collection: str | None,
    basedir: str | None,
) -> None:
    """Write the scan files of COLLECTION, whose base directory is BASEDIR.

    Without BASEDIR it is the one in the configuration or in coll.dir, else /usr/COLLECTION. Run it again
    whenever the files have changed: clients see what the scan file says.
    """
    try:
        settings = load(config) if config else ServerConfig()
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if system and (collection or dirfile):
        raise click.UsageError("-s takes no collection and no -f.")
    if not system and not collection and not dirfile:
        raise click.UsageError("Which collection? Name one, or use -f or -s.")
    supfiles = Path(settings.supfiles or DEFAULT_SUPFILES)
    known = dirs(settings, dirfile or supfiles / "coll.dir")
    if dirfile and not dirfile.is_file():
        raise click.UsageError(f"Unable to open {dirfile}.")
    if system:
        wanted = on_this_host(supfiles / "coll.host")
    elif collection:
        wanted = [os.fsencode(collection)]
    else:
        wanted = list(read_coll_dir(dirfile)) if dirfile else []
    failed = False
    for name in wanted:
        base = os.fsencode(basedir) if basedir else known.get(name, b"/usr/" + name)
        failed |= not scan(name, base, settings.historic or historic, verbose, quiet)
    raise SystemExit(1 if failed else 0)


def dirs(settings: ServerConfig, dirfile: Path) -> dict[bytes, bytes]:
    """Base directories of collections: those of coll.dir, and before them those of the configuration."""
    configured = {os.fsencode(name): os.fsencode(held.base) for name, held in settings.collections.items()}
    return read_coll_dir(dirfile) | configured


def on_this_host(coll_host: Path) -> list[bytes]:
    """The collections that coll.host places on this machine: its name, or the beginning of its name (SUP 6.7)."""
    try:
        held = parse_hosts(coll_host.read_bytes(), str(coll_host))
    except OSError as error:
        raise click.ClickException(f"Unable to open {coll_host}: {error.strerror}") from None
    except SupfileError as error:
        raise click.ClickException(str(error)) from None
    own = socket.gethostname().lower()
    return [name for name, hosts in held.items() if any(is_own(host.lower(), own) for host in hosts)]


def is_own(host: str, own: str) -> bool:
    """Whether `host` and this machine's name `own` are the same, one of them perhaps without its domain."""
    return own == host or own.startswith(host + ".") or host.startswith(own + ".")


def scan(name: bytes, base: bytes, historic: bool, verbose: bool, quiet: bool) -> bool:
    """Make the scan files of one collection; whether all of it could be written down."""
    shown = printable(name)
    now = time.time()

    def say(text: str) -> None:
        if not quiet:
            click.echo(text)

    say(f"SUP Scan for {shown} starting at {time.ctime(now)}")
    try:
        if not is_collection_name(name):
            raise CollectionError(f"{shown} cannot be the name of a collection")
        with (
            watching(verbose, quiet) as listener,
            Collection(name, base, EVERYWHERE, historic, listener=listener) as held,
        ):
            made = make_scans(held, now)
    except (CollectionError, NoSuchRelease, UnsafeName, OSError) as error:
        cause = f" ({error.cause})" if isinstance(error, CollectionError) and error.cause else ""
        click.echo(f"supscan: {error}{cause}", err=True)
        click.echo(f"SUP: Scan for {shown} aborted at {time.ctime(time.time())}", err=True)
        return False
    for file in made:
        for unheld in file.unheld:
            click.echo(
                f"supscan: {printable(unheld)} cannot be in a scan file: a newline is in its name", err=True
            )
        say(f"SUP Scan for {shown}: {file.names} names in {printable(file.file)}")
    say(f"SUP Scan for {shown} completed at {time.ctime(time.time())}")
    return not any(file.unheld for file in made)


@contextmanager
def watching(verbose: bool, quiet: bool) -> Iterator[Listener]:
    """What is heard of the walk: every directory with -v, else a count of them while it lasts on a terminal."""
    if verbose:
        yield Listener(
            lambda name, reason: click.echo(f"Left out {printable(name)}: {reason}"),
            lambda name: click.echo(f"Scanning directory {printable(name)}"),
        )
    elif quiet or not os.isatty(2):
        yield Listener()
    else:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.completed} directories"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=None)
            yield Listener(entering=lambda name: progress.advance(task))
