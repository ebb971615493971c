"""Captures dissected one by one, in this process or in others: the same task, the same results, in the same order.

What another process makes of a capture comes back whole, its text packed, since it is printed in its turn. Any
`concurrent.futures` executor will do: a pool of processes, or a Dask cluster's.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import attrs

from wire.capture.conversations import dissect
from wire.capture.extraction import Extraction, Report
from wire.capture.files import CaptureError, is_capture
from wire.capture.messages import Conversation, Message
from wire.capture.redact import redacted
from wire.capture.statistics import Statistics
from wire.capture.sup import FileData, OpenFile
from wire.capture.views import View
from wire.formats.sup import Recv

if TYPE_CHECKING:
    from concurrent.futures import Executor


@attrs.frozen
class Source:
    """A capture file: where it is (``-`` is standard input), and a file name that no other of the same run has."""

    path: str
    label: str


def sources(paths: Iterable[str]) -> list[Source]:
    """The captures that *paths* name: files as they are, and every capture below a directory, sorted.

    Raises OSError.
    """
    found: list[Source] = []
    taken: set[str] = set()
    for path in paths:
        for file in _captures(Path(path)) if path != "-" and os.path.isdir(path) else [path]:
            base = os.path.relpath(file, path) if file != path else Path(file).name
            label, number = base.replace(os.sep, "-"), 1
            while label in taken:
                number += 1
                label = f"{base.replace(os.sep, '-')}-{number}"
            taken.add(label)
            found.append(Source(file, label))
    return found


def _captures(directory: Path) -> list[str]:
    return [str(path) for path in sorted(directory.rglob("*")) if path.is_file() and _is_wanted(path)]


def _is_wanted(path: Path) -> bool:
    """Whether a file of a folder is a capture; one that cannot be read will be named in its turn."""
    try:
        return is_capture(path)
    except OSError:
        return True


@attrs.frozen
class Told:
    """What became of a capture: how many messages were shown, figures and what was extracted if that was wanted, and
    what went wrong, in a sentence."""

    source: Source
    seen: int = 0
    statistics: Statistics | None = None
    report: Report | None = None
    problem: str = ""
    packed: bytes = b""
    """The text that a view made in another process, as gzip."""

    def write(self, out: TextIO) -> None:
        """Writes the text of another process."""
        if self.packed:
            with gzip.open(
                io.BytesIO(self.packed), "rt", encoding="utf-8", errors="surrogatepass", newline=""
            ) as text:
                while piece := text.read(1 << 16):
                    out.write(piece)


@attrs.frozen
class Task:
    """What is wanted of every capture.

    where: the expression of a filter.  follow: the number of a conversation.  extract: the directory for files of SUP
    sessions, and whether each capture has one of its own in it.
    """

    view: View
    decode_as: Mapping[int, str] = attrs.field(factory=dict)
    where: str | None = None
    follow: int | None = None
    redact: bool = False
    extract: tuple[Path, bool] | None = None

    def tell(self, source: Source, out: TextIO, opened: Callable[[str], Any] | None = None) -> Told:
        """Shows one capture; *opened* opens its file."""
        told = Told(source)
        try:
            extraction = self._extraction(source)
            with (opened or opening)(source.path) as file:
                counted = _Counted(self._messages(file, extraction))
                statistics = self.view.show(source.path, source.label, counted, out)
        except CaptureError as error:
            return attrs.evolve(told, problem=f"{source.path}: {error}")
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            name, done = error.filename or source.path, "read" if error.filename == source.path else "written"
            return attrs.evolve(told, problem=f"{name} cannot be {done}: {error.strerror or error}")
        report = None if extraction is None else extraction.report
        return attrs.evolve(told, seen=counted.seen, statistics=statistics, report=report)

    def _extraction(self, source: Source) -> Extraction | None:
        if self.extract is None:
            return None
        directory, each = self.extract
        return Extraction(directory / source.label if each else directory)

    def _opener(self, extraction: Extraction) -> OpenFile:
        """What takes the files of the conversations that are wanted."""

        def opened(conversation: Conversation, recv: Recv) -> FileData | None:
            wanted = self.follow is None or conversation.number == self.follow
            return extraction.opened(conversation, recv) if wanted else None

        return opened

    def _messages(self, file: BinaryIO, extraction: Extraction | None) -> Iterator[Message]:
        found = dissect(file, self.decode_as, None if extraction is None else self._opener(extraction))
        if self.redact:
            found = map(redacted, found)
        if self.follow is not None:
            found = (message for message in found if message.conversation.number == self.follow)
        if self.where is not None:
            from wire.capture.filters import message_filter  # rule-engine takes a quarter second to load

            found = filter(message_filter(self.where), found)
        return found


class _Counted:
    """Messages on their way to a view."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages = messages
        self.seen = 0

    def __iter__(self) -> Iterator[Message]:
        for message in self._messages:
            self.seen += 1
            yield message


@contextmanager
def opening(path: str) -> Iterator[BinaryIO]:
    """A capture open for reading. Raises OSError."""
    if path == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb", buffering=1 << 20) as file:
        yield file


def apart(task: Task, source: Source) -> Told:
    """`Task.tell` for another process: the text comes back in what is told."""
    packed = io.BytesIO()
    with gzip.open(
        packed, "wt", compresslevel=1, encoding="utf-8", errors="surrogatepass", newline=""
    ) as out:
        told = task.tell(source, out)
    return attrs.evolve(told, packed=packed.getvalue())


def in_turn(task: Task, found: Iterable[Source], executor: Executor) -> Iterator[Told]:
    """What an executor's processes make of captures, in the order of the captures."""
    return executor.map(partial(apart, task), found)
