"""The ways in which `ghostports dissect` shows messages: lines, JSON, figures, or a page.

A view takes the messages of one file after the other, and says at the end how many it was given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import click

from wire.capture.messages import Message
from wire.capture.statistics import Statistics
from wire.capture.text import duration, explained, moment, plain, summary
from wire.capture.values import as_dict

_GOOD = frozenset({"SUCCESS", "NI_OK", "OK", "DONTLOG"})


class View(Protocol):
    """One way to show messages. `streams` tells whether it prints as it goes."""

    streams: bool

    def take(self, name: str, messages: Iterable[Message]) -> None:
        """Shows the messages of the file *name*."""

    def end(self) -> int:
        """Shows what can only be shown at the end; how many messages there were."""


class Lines:
    """One line a message, for a person; with *explain*, its fields beside its bytes."""

    streams = True

    def __init__(self, explain: bool, titles: bool) -> None:
        self._explain = explain
        self._titles = titles
        self._count = 0

    def take(self, name: str, messages: Iterable[Message]) -> None:
        colour = sys.stdout.isatty()
        write = sys.stdout.write
        start: float | None = None
        if self._titles:
            write(f"== {name}\n")
        for message in messages:
            if start is None:
                start = message.time
                write(f"  nr.    seconds conv. {'from → to':41} message, from {moment(start)} on\n")
            line = summary(message, start)
            if colour:
                line = click.style(line, **_style(message, self._explain))
            write(f"{line}\n")
            if self._explain:
                write("".join(f"{part}\n" for part in explained(message)) + "\n")
            self._count += 1

    def end(self) -> int:
        return self._count


class Json:
    """One JSON object a message, a line each."""

    streams = True

    def __init__(self, explain: bool, titles: bool) -> None:
        self._explain = explain
        self._titles = titles
        self._count = 0

    def take(self, name: str, messages: Iterable[Message]) -> None:
        for message in messages:
            made = as_dict(message, self._explain)
            if self._titles:
                made = {"file": name} | made
            sys.stdout.write(json.dumps(made, ensure_ascii=False) + "\n")
            self._count += 1

    def end(self) -> int:
        return self._count


class Figures:
    """Statistics of all files together, as a table or as JSON."""

    streams = False

    def __init__(self, as_json: bool) -> None:
        self.statistics = Statistics()
        self._as_json = as_json

    def take(self, name: str, messages: Iterable[Message]) -> None:
        self.statistics.begin()
        for message in messages:
            self.statistics.add(message)

    def end(self) -> int:
        if self._as_json:
            click.echo(json.dumps(self.statistics.as_dict(), indent=2))
        else:
            print_figures(self.statistics)
        return self.statistics.messages + self.statistics.notices


class Page:
    """A page of HTML about one file. Raises click.ClickException if it cannot be written."""

    streams = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def take(self, name: str, messages: Iterable[Message]) -> None:
        from wire.capture.page import page  # Jinja takes its time to load

        html = page(self._counted(messages), Path(name).name)
        try:
            self._path.write_text(html, encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{self._path} cannot be written: {error.strerror}") from error

    def _counted(self, messages: Iterable[Message]) -> Iterable[Message]:
        for message in messages:
            self._count += 1
            yield message

    def end(self) -> int:
        return self._count


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
    console.print(
        f"\n{figures.messages:,} messages in {figures.conversations:,} conversations, {figures.bytes:,} bytes, "
        f"{figures.seconds:,.3f} s; {figures.notices:,} gaps or notices, {figures.damaged:,} damaged, "
        f"{sum(row.wasted for row in figures.rows.values()):,} round trips wasted"
    )
