"""A progress bar for transfers that take a while, on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sup.client import Progress, Quiet

AFTER = 1.0
"""Seconds after which a transfer is worth a bar."""
EVERY = 0.05
"""Seconds between two looks of the bar, so that it does not cost more than the files."""


@contextmanager
def progress(title: str, shown: bool) -> Iterator[Progress]:
    """Who watches the transfer of one collection: a bar, or nobody."""
    if not shown:
        yield Quiet()
        return
    bar = Bar(title)
    try:
        yield bar
    finally:
        bar.close()


class Bar:
    """Files and bytes so far. It appears when the transfer has taken a second."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._files = self._done = self._bytes = 0
        self._began = self._looked = time.monotonic()
        self._rich: Any = None
        self._task: Any = None

    def expect(self, files: int) -> None:
        self._files = files
        self._began = time.monotonic()

    def receive(self) -> None:
        self._done += 1
        self._show()

    def data(self, size: int) -> None:
        self._bytes += size
        self._show()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._rich is not None:
            self._update()
            self._rich.stop()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._looked < EVERY or now - self._began < AFTER:
            return
        self._looked = now
        if self._rich is None:
            self._start()
        self._update()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[size]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self._rich.start()
        self._task = self._rich.add_task(self._title, total=self._files, size="")

    def _update(self) -> None:
        from rich.filesize import decimal

        self._rich.update(self._task, completed=self._done, size=decimal(self._bytes))
        self._rich.refresh()
