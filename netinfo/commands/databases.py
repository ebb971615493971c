"""`ghostports netinfo`: databases in and out, as raw text or as the originals kept them (NETINFO 6.1 to
6.3)."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from netinfo.commands.servers import checked_tag, default_state
from netinfo.generation import GENERATIONS, NEXT

FORMATS = ("raw", "next", "apple")


@click.group()
def netinfo() -> None:
    """Bring NetInfo databases in and out."""


@netinfo.command("import", short_help="Make a database from text or an old disk.")
@click.argument("source", type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the databases.")
@click.option("--tag", help="The domain's tag [default: the name of SOURCE].")
def import_database(source: Path, state: Path | None, tag: str | None) -> None:
    """Make a new database of SOURCE: raw text (`-`: stdin), or a `.nidb` directory of NeXT or Mac OS X.

    Doubts about an old disk are told on stderr; what can be read is kept.
    """
    from netinfo import nidb
    from netinfo.rawformat import RawFormatError, load, plant
    from netinfo.server import database_of
    from netinfo.store import Store, StoreError
    from netinfo.tree import image_of

    raw_tag = checked_tag(tag or source.stem)
    directory = state or default_state()
    path = database_of(directory, raw_tag)
    if path.exists():
        raise click.ClickException(f"{path} exists already; take another --tag")
    try:
        if source.is_dir():
            imported = nidb.read(source)
            tree = imported.tree
            for note in imported.notes:
                click.echo(f"note: {note}", err=True)
        else:
            data = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
            tree = plant(load(data), NEXT)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(path)
        try:
            store.begin(image_of(tree))
        finally:
            store.close()
    except (nidb.NidbError, RawFormatError, StoreError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{path}: {len(tree.directories)} directories, checksum {tree.checksum}")


@netinfo.command("export", short_help="Write a database as text or for an old disk.")
@click.argument("destination", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the databases.")
@click.option("--tag", default="network", show_default=True, help="The domain's tag.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Raw text, or a database of NeXT or Mac OS X [default: raw, or next for a DESTINATION called *.nidb].",
)
def export_database(destination: Path, state: Path | None, tag: str, form: str | None) -> None:
    """Write a database to DESTINATION: raw text (`-`: stdout), or a `.nidb` directory.

    The server must not be running; from a running one, `nidump -r` and READALL give the same.
    """
    from netinfo import nidb
    from netinfo.rawformat import branch_of, dump
    from netinfo.server import database_of
    from netinfo.store import Store, StoreError
    from netinfo.tree import ROOT

    path = database_of(state or default_state(), checked_tag(tag))
    if not path.exists():
        raise click.ClickException(f"{path} does not exist")
    form = form or ("next" if destination.suffix == ".nidb" else "raw")
    try:
        store = Store(path)
        try:
            tree = store.load(GENERATIONS.get(form, NEXT))
        finally:
            store.close()
        root = tree.get(ROOT)
        if root is None:
            raise click.ClickException(f"{path} is empty")
        if form == "raw":
            data = dump(branch_of(tree, root))
            if str(destination) == "-":
                sys.stdout.buffer.write(data)
                return
            destination.write_bytes(data)
        else:
            (nidb.write_next if form == "next" else nidb.write_apple)(tree, destination)
    except (nidb.NidbError, StoreError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{destination}: {len(tree.directories)} directories, checksum {tree.checksum}")
