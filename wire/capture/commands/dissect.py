"""`ghostports dissect`: tells what captures say, as lines, field trees, JSON, statistics or a page."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from wire.capture.conversations import PROTOCOLS
from wire.capture.conversations import dissect as dissected
from wire.capture.extraction import Extraction
from wire.capture.messages import Message
from wire.capture.packets import CaptureError
from wire.capture.redact import redacted
from wire.capture.statistics import Statistics
from wire.capture.text import duration, explained, moment, plain, summary
from wire.capture.values import NAMES, as_dict

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
    follow: int | None,
    where: str | None,
    explain: bool,
    stats: bool,
    extract: Path | None,
    decode_as: tuple[tuple[int, str], ...],
    redact: bool,
) -> None:
    """Tell what packet captures say: NetInfo, nibind, portmapper and SUP, on any port.

    FILE is a pcap or pcapng file, or - for standard input. Prints one line a message: number, seconds since
    the first one, conversation, who, what, result, latency.
    """
    extraction = _extraction(extract)
    choose = _chosen(follow, where)
    opener = extraction.opened if extraction is not None else None
    figures = Statistics()

    def messages(file: BinaryIO) -> Iterator[Message]:
        for message in dissected(file, dict(decode_as), opener):
            shown = redacted(message) if redact else message
            if choose(shown):
                yield shown

    seen = 0
    for name in files:
        with reading(name, quiet=not (stats or not sys.stdout.isatty())) as file:
            try:
                if stats:
                    for message in messages(file):
                        figures.add(message)
                elif as_json:
                    seen += _print_json(messages(file), name if len(files) > 1 else None, explain)
                else:
                    if len(files) > 1:
                        click.echo(f"== {name}")
                    seen += _print_lines(messages(file), explain)
            except CaptureError as error:
                raise click.ClickException(f"{name}: {error}") from error
    if stats:
        seen = figures.messages + figures.notices
        if as_json:
            click.echo(json.dumps(figures.as_dict(), indent=2))
        else:
            _print_figures(figures)
    if extraction is not None:
        _report(extraction, extract)
    if not seen and not stats:
        click.echo("Nothing of NetInfo, nibind, the portmapper or SUP was found.", err=True)


def _chosen(follow: int | None, where: str | None) -> Callable[[Message], bool]:
    """The messages to show."""
    if where is None:
        return lambda message: follow is None or message.conversation.number == follow
    from wire.capture.filters import FilterError, message_filter  # rule-engine takes a quarter second to load

    try:
        matches = message_filter(where)
    except FilterError as error:
        raise click.BadParameter(str(error), param_hint="--where") from error
    return lambda message: (follow is None or message.conversation.number == follow) and matches(message)


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


def _print_json(messages: Iterable[Message], file: str | None, explain: bool) -> int:
    count = 0
    for message in messages:
        made = as_dict(message, explain)
        if file is not None:
            made = {"file": file} | made
        sys.stdout.write(json.dumps(made, ensure_ascii=False) + "\n")
        count += 1
    return count


def _print_lines(messages: Iterable[Message], explain: bool) -> int:
    count = 0
    colour = sys.stdout.isatty()
    write = sys.stdout.write
    start = 0.0
    for message in messages:
        if not count:
            start = message.time
            write(f"  nr.    seconds conv. {'from → to':41} message, from {moment(start)} on\n")
        line = summary(message, start)
        if colour:
            line = click.style(line, **_style(message, explain))
        write(line + "\n")
        if explain:
            write("".join(f"{part}\n" for part in explained(message)) + "\n")
        count += 1
    return count


def _style(message: Message, explain: bool) -> dict[str, Any]:
    style: dict[str, Any] = {"bold": explain}
    if message.damage is not None or message.kind == "notice":
        style["fg"] = "yellow"
    elif message.failed:
        style["fg"] = "red"
    return style


def _print_figures(figures: Statistics) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("protocol")
    table.add_column("message")
    for title in ("calls", "replies", "failed", "bytes", "p50", "p99", "wasted"):
        table.add_column(title, justify="right")
    for row in figures.sorted_rows():
        p50, p99 = row.latencies.percentile(0.5), row.latencies.percentile(0.99)
        table.add_row(
            row.protocol,
            plain(row.name),
            f"{row.calls:,}",
            f"{row.replies:,}",
            f"{row.failed:,}" if row.failed else "",
            f"{row.bytes:,}",
            "" if p50 is None else duration(p50),
            "" if p99 is None else duration(p99),
            f"{row.wasted:,}" if row.wasted else "",
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    if figures.rows:
        console.print(table)
        bad = [(key, count) for key, count in figures.statuses.most_common() if key[1] not in _GOOD]
        if bad:
            console.print("\nfailures: " + ", ".join(f"{status} {count:,}" for (_, status), count in bad))
    made = figures.as_dict()
    console.print(
        f"\n{figures.messages:,} messages in {figures.conversations:,} conversations, {figures.bytes:,} bytes, "
        f"{made['seconds']:,.3f} s; {figures.notices:,} gaps or notices, {figures.damaged:,} damaged, "
        f"{sum(row.wasted for row in figures.rows.values()):,} round trips wasted"
    )


_GOOD = frozenset({"SUCCESS", "NI_OK", "OK", "DONTLOG"})


def _report(extraction: Extraction, directory: Path | None) -> None:
    report = extraction.report
    click.echo(f"{report.files:,} files, {report.bytes:,} bytes written below {directory}", err=True)
    for problem in report.problems:
        click.echo(f"  {plain(problem)}", err=True)
