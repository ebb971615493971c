"""`ghostports dissect`: tells what captures say, as lines, field trees, JSON, statistics or a page."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import click

from wire.capture.batch import Source, Task, Told, in_turn, opening, sources
from wire.capture.conversations import PROTOCOLS
from wire.capture.extraction import Report
from wire.capture.statistics import Statistics
from wire.capture.text import plain
from wire.capture.values import NAMES
from wire.capture.views import Figures, Json, Lines, Page, Table, View, print_figures
from wire.lean import collect_seldom

LARGE = 8 << 20
"""Bytes of a file from which on a progress bar is worth its place."""
CLUSTER_TIMEOUT = 10
"""Seconds that a cluster's scheduler has to answer."""


class PortProtocol(click.ParamType[Any]):
    """``PORT=PROTOCOL``, for --decode-as."""

    name = "PORT=PROTOCOL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, str]:
        port, _, protocol = str(value).partition("=")
        if not port.isdecimal() or not 0 < int(port) < 65536 or protocol not in _DECODE_AS:
            self.fail(
                f"{value!r} is not PORT=PROTOCOL with a protocol of {', '.join(_DECODE_AS)}", param, ctx
            )
        return int(port), _DECODE_AS[protocol]


_DECODE_AS = {name: name for name in PROTOCOLS} | {"netinfo": "rpc", "nibind": "rpc", "portmap": "rpc"}


def _names(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        for name, known in NAMES.items():
            kind = {float: "number", str: "text", bool: "yes/no"}[known.type]
            click.echo(f"{name:13} {kind:7} {known.doc}")
        ctx.exit()


@click.command(short_help="Tell what a packet capture says.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a message.")
@click.option("--html", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path),
              help="Write one page that explains every message, for any browser, without a network.")  # fmt: skip
@click.option("--follow", metavar="N", type=click.IntRange(1), help="Only conversation N.")
@click.option("--where", metavar="EXPR", help="""Only messages for which EXPR holds, such as
              'procedure == "LOOKUP" and status != "NI_OK"'.""")  # fmt: skip
@click.option("--names", is_flag=True, is_eager=True, expose_value=False, callback=_names,
              help="List the names that --where may use.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Every field of every message, beside its bytes.")
@click.option(
    "--stats", is_flag=True, help="Only figures: calls, failures, bytes, latencies, wasted round trips."
)
@click.option("--extract", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Write the files of SUP sessions below DIR.")  # fmt: skip
@click.option("--decode-as", metavar="PORT=PROTOCOL", multiple=True, type=PortProtocol(),
              help="What a server's port carries, where the capture does not show it; "
                   "PROTOCOL is sup, rpc, netinfo, nibind or portmap.")  # fmt: skip
@click.option("--redact", is_flag=True, help="Blank AUTH_UNIX machine names and SUP LOGIN strings.")
@click.option("--parquet", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Write each FILE's messages as a table in DIR, for DuckDB, pandas ... (extra table).")  # fmt: skip
@click.option("--jobs", metavar="N", type=click.IntRange(1), default=1, show_default=True,
              help="Dissect N files at once, each in a process of its own.")  # fmt: skip
@click.option("--cluster", metavar="ADDRESS",
              help="Dissect on the Dask cluster whose scheduler is at ADDRESS (extra cluster).")  # fmt: skip
def dissect(
    files: tuple[str, ...],
    as_json: bool,
    html: Path | None,
    follow: int | None,
    where: str | None,
    explain: bool,
    stats: bool,
    extract: Path | None,
    decode_as: tuple[tuple[int, str], ...],
    redact: bool,
    parquet: Path | None,
    jobs: int,
    cluster: str | None,
) -> None:
    """Tell what packet captures say: NetInfo, nibind, portmapper and SUP, on any port.

    FILE is a pcap or pcapng file, a folder of them, or - for standard input. Prints one line a message: number, seconds
    since the first one, conversation, who, what, result, latency.
    """
    collect_seldom()
    try:
        found = sources(files)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from error
    if where is not None:
        _check_filter(where)
    view = _view(len(found), as_json, html, explain, stats, parquet)
    several = len(found) > 1
    task = Task(view, dict(decode_as), where, follow, redact, None if extract is None else (extract, several))
    seen, failed, total = 0, not found, Statistics()
    if not found:
        click.echo(f"No captures below {', '.join(files)}.", err=True)
    for told in _told(task, found, jobs, cluster):
        told.write(sys.stdout)
        seen += told.seen
        if told.statistics is not None:
            total.merge(told.statistics)
        if told.problem:
            failed = True
            click.echo(f"Error: {plain(told.problem)}", err=True)
        if told.report is not None:
            _report(told.report, extract)
    if stats and as_json:
        click.echo(json.dumps(total.as_dict(), indent=2))
    elif stats:
        print_figures(total)
    elif not seen and not failed:
        chosen = follow is not None or where is not None
        nothing = "Nothing of NetInfo, nibind, the portmapper or SUP was found."
        click.echo("No message is what --follow and --where ask for." if chosen else nothing, err=True)
    sys.exit(1 if failed else 0)


def _told(task: Task, found: list[Source], jobs: int, cluster: str | None) -> Iterator[Told]:
    """What becomes of each capture, in order: in this process, in several, or on a cluster."""
    if jobs == 1 and cluster is None:
        quiet = task.view.streams and sys.stdout.isatty()
        yield from (task.tell(source, sys.stdout, partial(_watched, quiet=quiet)) for source in found)
        return
    if any(source.path == "-" for source in found):
        raise click.UsageError(
            "Standard input is read in this process alone: leave --jobs and --cluster out."
        )
    if cluster is not None:
        if jobs > 1:
            raise click.UsageError("Choose --jobs or --cluster.")
        yield from _on_cluster(task, found, cluster)
        return
    yield from _in_processes(task, found, jobs)


def _in_processes(task: Task, found: list[Source], jobs: int) -> Iterator[Told]:
    from concurrent.futures import ProcessPoolExecutor  # takes longer to load than a small capture to dissect
    from concurrent.futures.process import BrokenProcessPool

    with ProcessPoolExecutor(min(jobs, len(found) or 1)) as pool:
        try:
            yield from _progress(in_turn(task, found, pool), len(found), task.view)
        except BrokenProcessPool as error:
            raise click.ClickException(
                "A process that dissected a capture was ended from outside."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _on_cluster(task: Task, found: list[Source], address: str) -> Iterator[Told]:
    with _extra("--cluster", "cluster"):
        distributed: Any = import_module("distributed")
    task = attrs.evolve(
        task, view=_at_home(task.view), extract=task.extract and (task.extract[0].absolute(), True)
    )
    found = [attrs.evolve(source, path=os.path.abspath(source.path)) for source in found]
    try:
        client = distributed.Client(address, timeout=CLUSTER_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The scheduler at {address} cannot be reached: {error}") from error
    with client:
        try:
            yield from _progress(in_turn(task, found, client.get_executor(pure=False)), len(found), task.view)
        except ImportError as error:
            raise click.ClickException(f"A worker of the cluster lacks Ghostports: {error}") from error


def _at_home(view: View) -> View:
    """A view that writes where it would in this directory, wherever it runs."""
    if isinstance(view, Table):
        return Table(view.directory.absolute())
    return Page(view.path.absolute()) if isinstance(view, Page) else view


def _progress(told: Iterator[Told], number: int, view: View) -> Iterator[Told]:
    """The same; on a terminal that nothing else is printed on, with a bar."""
    if not sys.stderr.isatty() or (view.streams and sys.stdout.isatty()):
        return told
    from rich.console import Console
    from rich.progress import track

    return iter(track(told, "captures", number, console=Console(stderr=True), transient=True))


@contextmanager
def _extra(option: str, extra: str) -> Iterator[None]:
    """Turns an import that fails into the sentence that helps."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f"{option} needs the package {error.name}, which is not installed: pip install 'ghostports[{extra}]'"
        ) from error


def _view(
    files: int, as_json: bool, html: Path | None, explain: bool, stats: bool, parquet: Path | None
) -> View:
    """The view that the options ask for."""
    if html is not None or parquet is not None:
        option = "--html" if html is not None else "--parquet"
        if stats or as_json or explain or (html is not None and parquet is not None):
            raise click.UsageError(f"{option} is a view of its own: leave --json, --stats and --explain out.")
    if parquet is not None:
        with _extra("--parquet", "table"):
            import wire.capture.table  # noqa: F401
        return Table(parquet)
    if html is not None:
        if files > 1:
            raise click.UsageError("--html makes a page about one FILE.")
        return Page(html)
    if stats:
        return Figures()
    return Json(explain, files > 1) if as_json else Lines(explain, files > 1, sys.stdout.isatty())


def _check_filter(where: str) -> None:
    """Raises click.BadParameter if that is no filter."""
    from wire.capture.filters import FilterError, message_filter

    try:
        message_filter(where)
    except FilterError as error:
        raise click.BadParameter(str(error), param_hint="--where") from error


@contextmanager
def _watched(path: str, quiet: bool) -> Iterator[BinaryIO]:
    """A capture open for reading; a large one shows its progress on a terminal, unless *quiet*. Raises OSError."""
    with opening(path) as file:
        size = 0 if path == "-" else os.fstat(file.fileno()).st_size
        if quiet or size < LARGE or not sys.stderr.isatty():
            yield file
            return
        from rich.console import Console
        from rich.progress import wrap_file

        with wrap_file(file, size, description=path, console=Console(stderr=True), transient=True) as watched:
            yield watched


def _report(report: Report, directory: Path | None) -> None:
    click.echo(f"{report.files:,} files, {report.bytes:,} bytes written below {directory}", err=True)
    for problem in report.problems:
        click.echo(f"  {plain(problem)}", err=True)
    if report.more:
        click.echo(f"  and {report.more:,} more of this kind", err=True)
