"""`ghostports dissect`: tells what captures say, as lines, field trees, JSON, statistics or a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from wire.capture.conversations import PROTOCOLS
from wire.capture.conversations import dissect as dissected
from wire.capture.extraction import Extraction
from wire.capture.files import CaptureError
from wire.capture.messages import Message
from wire.capture.redact import redacted
from wire.capture.text import plain
from wire.capture.values import NAMES
from wire.capture.views import Figures, Json, Lines, Page, View

LARGE = 8 << 20
"""Bytes of a file from which on a progress bar is worth its place."""


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
) -> None:
    """Tell what packet captures say: NetInfo, nibind, portmapper and SUP, on any port.

    FILE is a pcap or pcapng file, or - for standard input. Prints one line a message: number, seconds since the
    first one, conversation, who, what, result, latency.
    """
    view = _view(files, as_json, html, explain, stats)
    matches = None if where is None else _filter(where)
    extraction = _extraction(extract)

    def messages(file: BinaryIO) -> Iterator[Message]:
        found = dissected(file, dict(decode_as), extraction.opened if extraction is not None else None)
        if redact:
            found = map(redacted, found)
        if follow is not None:
            found = (message for message in found if message.conversation.number == follow)
        return found if matches is None else filter(matches, found)

    for name in files:
        with reading(name, quiet=view.streams and sys.stdout.isatty()) as file:
            try:
                view.take(name, messages(file))
            except CaptureError as error:
                raise click.ClickException(f"{name}: {error}") from error
    seen = view.end()
    if extraction is not None:
        _report(extraction, extract)
    if not seen and not stats:
        click.echo("Nothing of NetInfo, nibind, the portmapper or SUP was found.", err=True)


def _view(files: tuple[str, ...], as_json: bool, html: Path | None, explain: bool, stats: bool) -> View:
    """The view that the options ask for."""
    if html is not None:
        if stats or as_json or explain:
            raise click.UsageError("--html is a view of its own: leave --json, --stats and --explain out.")
        if len(files) > 1:
            raise click.UsageError("--html makes a page about one FILE.")
        return Page(html)
    if stats:
        return Figures(as_json)
    return Json(explain, len(files) > 1) if as_json else Lines(explain, len(files) > 1)


def _filter(where: str) -> Callable[[Message], bool]:
    """The test that --where asks for."""
    from wire.capture.filters import FilterError, message_filter  # rule-engine takes a quarter second to load

    try:
        return message_filter(where)
    except FilterError as error:
        raise click.BadParameter(str(error), param_hint="--where") from error


def _extraction(directory: Path | None) -> Extraction | None:
    if directory is None:
        return None
    try:
        return Extraction(directory)
    except OSError as error:
        raise click.ClickException(f"{directory} cannot be used: {error.strerror}") from error


@contextmanager
def reading(name: str, quiet: bool = False) -> Iterator[BinaryIO]:
    """A capture file open for reading; a large one shows its progress on a terminal, unless *quiet*."""
    try:
        file: BinaryIO = sys.stdin.buffer if name == "-" else open(name, "rb", buffering=1 << 20)  # noqa: SIM115
    except OSError as error:
        raise click.ClickException(f"{name} cannot be read: {error.strerror}") from error
    with file:
        size = 0 if name == "-" else os.fstat(file.fileno()).st_size
        if quiet or size < LARGE or not sys.stderr.isatty():
            yield file
            return
        from rich.console import Console
        from rich.progress import wrap_file

        with wrap_file(file, size, description=name, console=Console(stderr=True), transient=True) as watched:
            yield watched


def _report(extraction: Extraction, directory: Path | None) -> None:
    report = extraction.report
    click.echo(f"{report.files:,} files, {report.bytes:,} bytes written below {directory}", err=True)
    for problem in report.problems:
        click.echo(f"  {plain(problem)}", err=True)
