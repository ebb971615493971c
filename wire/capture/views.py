"""The ways in which `ghostports dissect` shows the messages of a capture: lines, JSON, figures, or a page.

A view is a small value that can be sent to another process (`wire.capture.batch`), and keeps nothing between captures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TextIO

import attrs
import click

from wire.capture.messages import Message
from wire.capture.statistics import Statistics
from wire.capture.text import duration, explained, moment, plain, summary
from wire.capture.values import as_dict

_GOOD = frozenset({"SUCCESS", "NI_OK", "OK", "DONTLOG"})


class View(Protocol):
    """One way to show messages."""

    @property
    def streams(self) -> bool:
        """Whether it prints as it goes."""

    def show(self, name: str, label: str, messages: Iterable[Message], out: TextIO) -> Statistics | None:
        """Shows the messages of the file *name*, of which no other has the *label*; the figures, if it makes some.

        Raises OSError if what it writes beside *out* cannot be written.
        """


@attrs.frozen
class Lines:
    """One line a message, for a person; with *explain*, its fields beside its bytes."""

    explain: bool
    titles: bool
    colour: bool
    streams: bool = True

    def show(self, name: str, label: str, messages: Iterable[Message], out: TextIO) -> None:
        write = out.write
        start: float | None = None
        if self.titles:
            write(f"== {name}\n")
        for message in messages:
            if start is None:
                start = message.time
                write(f"  nr.    seconds conv. {'from → to':41} message, from {moment(start)} on\n")
            line = summary(message, start)
            if self.colour:
                line = click.style(line, **_style(message, self.explain))
            write(f"{line}\n")
            if self.explain:
                write("".join(f"{part}\n" for part in explained(message)) + "\n")


@attrs.frozen
class Json:
    """One JSON object a message, a line each."""

    explain: bool
    titles: bool
    streams: bool = True

    def show(self, name: str, label: str, messages: Iterable[Message], out: TextIO) -> None:
        for message in messages:
            made = as_dict(message, self.explain)
            if self.titles:
                made = {"file": name} | made
            out.write(json.dumps(made, ensure_ascii=False) + "\n")


@attrs.frozen
class Figures:
    """Statistics, to be shown when those of all captures are known (`print_figures`)."""

    streams: bool = False

    def show(self, name: str, label: str, messages: Iterable[Message], out: TextIO) -> Statistics:
        statistics = Statistics()
        for message in messages:
            statistics.add(message)
        return statistics


@attrs.frozen
class Page:
    """A page of HTML."""

    path: Path
    streams: bool = False

    def show(self, name: str, label: str, messages: Iterable[Message], out: TextIO) -> None:
        from wire.capture.page import page  # Jinja takes its time to load

        self.path.write_text(page(messages, Path(name).name), encoding="utf-8")


@attrs.frozen
class Table:
    """A Parquet file in a directory."""

    directory: Path
    streams: bool = False

    def show(self, name: str, label: str, messages: Iterable[Message], out: TextIO) -> None:
        from wire.capture.table import write_table  # pyarrow is an extra

        write_table(self.directory / f"{label}.parquet", name, messages)


def _style(message: Message, explain: bool) -> dict[str, Any]:
    style: dict[str, Any] = {"bold": explain}
    if message.damage is not None or message.kind == "notice":
        style["fg"] = "yellow"
    elif message.failed:
        style["fg"] = "red"
    return style


def print_figures(figures: Statistics) -> None:
    """The table of statistics, and its sums."""
    from rich.console import Console
    from rich.table import Table as Grid

    table = Grid(box=None, header_style="bold")
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
    console.print(
        f"\n{figures.messages:,} messages in {figures.conversations:,} conversations, {figures.bytes:,} bytes, "
        f"{figures.seconds:,.3f} s; {figures.notices:,} gaps or notices, {figures.damaged:,} damaged, "
        f"{sum(row.wasted for row in figures.rows.values()):,} round trips wasted"
    )
