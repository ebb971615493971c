"""Files taken out of captured SUP sessions.

Every file goes below the chosen directory, whatever its name says: names are walked component by component
without following links, ``..`` and empty parts are refused, nothing that exists outside this extraction is
overwritten, and modes are never more than the owner's to read and write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from wire.capture.messages import Conversation
from wire.formats import sup
from wire.formats.sup import FILE_TYPE

MAX_FILE = 1 << 31
"""Longest file written, in bytes: what a SUP client could have received plain (SUP 1.4)."""
MAX_DEPTH = 128
"""Directories below one another."""
MAX_PROBLEMS = 1000
"""Problems that are reported in full."""
SESSION = "session-"
"""What the name of a session's directory begins with, before the number of the conversation."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class RefusedName(ValueError):
    """A file's name that would not stay below the directory, or cannot be a name here."""


@attrs.define
class Report:
    """What an extraction did: files and bytes written, and a sentence for each thing that it did not do; `more` such
    things are only counted."""

    files: int = 0
    bytes: int = 0
    problems: list[str] = attrs.field(factory=list)
    more: int = 0

    def problem(self, sentence: str) -> None:
        """Notes a thing that was not done."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(sentence)
        else:
            self.more += 1


def parts_of(name: bytes) -> list[bytes]:
    """The components of a name in a capture. Raises RefusedName."""
    name = name.partition(b"\0")[0]  # where the historic programs end it
    parts = [part for part in name.split(b"/") if part != b"."]
    if name.startswith(b"/"):
        parts = parts[1:]
    if not parts or b".." in parts or b"" in parts:
        raise RefusedName(f"{os.fsdecode(name)!r} would not stay below the directory")
    if len(parts) > MAX_DEPTH:
        raise RefusedName(f"{os.fsdecode(name[:60])!r}... is more than {MAX_DEPTH} directories deep")
    return parts


class Extraction:
    """Writes the files of SUP sessions below *directory*, each session in a directory of its own.

    Its `opened` is the `opener` that a dissector calls. Raises OSError if *directory* cannot be made, or holds what an
    older extraction left there.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.glob(f"{SESSION}*")):
            sentence = "it holds the files of an older extraction; name another directory, or remove them"
            raise FileExistsError(errno.EEXIST, sentence, str(directory))
        self._top = directory
        self._sessions: set[int] = set()
        self.report = Report()

    def opened(self, conversation: Conversation, recv: sup.Recv) -> _Writer | None:
        """Called for each RECV: makes a directory, or returns what takes the data of a file."""
        assert recv.name is not None
        kind = (recv.mode or 0) & FILE_TYPE
        try:
            parts = parts_of(recv.name)
            if kind == stat.S_IFDIR:
                with self._within(conversation, parts):
                    return None
            if kind == stat.S_IFREG and recv.size is not None:
                return _Writer(self, conversation, recv, parts)
            if kind == stat.S_IFLNK:
                name = os.fsdecode(recv.name)
                self.report.problem(f"{name!r} is a symbolic link, which is not made")
        except (OSError, RefusedName) as error:
            self.report.problem(str(error))
        return None

    @contextmanager
    def _within(self, conversation: Conversation, parts: list[bytes]) -> Iterator[int]:
        """A descriptor of the directory *parts* of a session, made where it is missing."""
        session = f"{SESSION}{conversation.number}".encode()
        with contextlib.ExitStack() as stack:
            place = os.open(self._top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, place)
            if conversation.number not in self._sessions:
                os.mkdir(session, 0o700, dir_fd=place)  # what somebody else made meanwhile is left as it is
                self._sessions.add(conversation.number)
            for part in (session, *parts):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=place)
                place = os.open(part, _DIRECTORY, dir_fd=place)
                stack.callback(os.close, place)
            yield place


class _Writer:
    """One file being written (`wire.capture.sup.FileData`)."""

    def __init__(
        self, extraction: Extraction, conversation: Conversation, recv: sup.Recv, parts: list[bytes]
    ) -> None:
        self._extraction = extraction
        self._conversation = conversation
        self._recv = recv
        self._parts = parts
        self._size = 0
        self._problem = ""
        with extraction._within(conversation, parts[:-1]) as place:
            with contextlib.suppress(FileNotFoundError):  # a name twice in a session: the last one stays
                os.unlink(parts[-1], dir_fd=place)
            self._file = os.fdopen(os.open(parts[-1], _NEW, 0o600, dir_fd=place), "wb")

    def write(self, data: bytes) -> None:
        if self._size + len(data) > MAX_FILE:
            self._problem = f"longer than {MAX_FILE:,} bytes, the rest is left out"
            data = data[: MAX_FILE - self._size]
        try:
            self._file.write(data)
        except OSError as error:
            self._problem = str(error)
        self._size += len(data)

    def close(self, reason: str) -> None:
        report, name = self._extraction.report, os.fsdecode(self._recv.name or b"")
        try:
            self._file.close()
        except OSError as error:
            self._problem = str(error)
        report.files += 1
        report.bytes += self._size
        problem = reason or self._problem
        if problem:
            report.problem(f"{name!r} is not whole: {problem}")
        for link in self._recv.links or ():
            try:
                self._link(parts_of(link))
            except (OSError, RefusedName) as error:
                report.problem(str(error))

    def _link(self, parts: list[bytes]) -> None:
        """A further name of the file, as a hard link."""
        within = self._extraction._within
        with (
            within(self._conversation, self._parts[:-1]) as source,
            within(self._conversation, parts[:-1]) as place,
        ):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(parts[-1], dir_fd=place)
            os.link(self._parts[-1], parts[-1], src_dir_fd=source, dst_dir_fd=place, follow_symlinks=False)
