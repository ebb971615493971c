"""The scan file (SUP 6.8): the result of a walk, kept so that no session has to go through the disk.

    V2
    40755 1795219338 1795219338 data
    B100644 1795219338 1700000000 data/a
    Xrun data/a now

Mode (octal), ctime and mtime of each name, after B for backup and N for noaccount; X lines are the shell
commands of the entry above. There is no escape: a name or command that holds a newline cannot be written.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from sup.names import UnsafeName, is_refused, normalise
from sup.walk import BACKUP, EVERYTHING, MAX_ENTRIES, NEW, NOACCOUNT, Entry, TooManyEntries, Wanted, int32

HEADER = b"V2\n"
_PART = 1 << 20  # of the text, at a time: a scan file may be larger than memory should be
_LINE = re.compile(rb"(B?)(N?)([0-7]{1,11}) (-?[0-9]{1,20}) (-?[0-9]{1,20}) ([^\n]+)\n|X([^\n]*)\n")


class ScanFileError(ValueError):
    """A damaged scan file; the text is what the client is told in GOAWAY."""

    def __init__(self) -> None:
        super().__init__("scanfile format inconsistent")


def write(entries: Iterable[Entry], file: BinaryIO) -> list[bytes]:
    """Write `entries`, sorted by name, to `file`; the names it cannot hold are left out and returned."""
    unheld = []
    file.write(HEADER)
    for entry in entries:
        if b"\n" in entry.name:
            unheld.append(entry.name)
            continue
        marks = (b"B" if entry.flags & BACKUP else b"") + (b"N" if entry.flags & NOACCOUNT else b"")
        file.write(b"%s%o %d %d %s\n" % (marks, entry.mode, entry.ctime, entry.mtime, entry.name))
        for command in entry.commands:
            file.write(b"X%s\n" % command)
    return unheld


def is_usable(file: BinaryIO) -> bool:
    """Whether `file` begins as a scan file of this version does; any other is ignored. Reads that line."""
    return file.readline(len(HEADER)) == HEADER


def read(file: BinaryIO, wanted: Wanted = EVERYTHING, limit: int = MAX_ENTRIES) -> dict[bytes, Entry]:
    """The wanted entries by name, in bytewise order, from the part of `file` after its first line.

    Names are normalised; one that would leave the collection, which Debian's supscan writes for an odd list
    file, is left out. Raises ScanFileError, and TooManyEntries beyond `limit` names.
    """
    found: dict[bytes, Entry] = {}
    lasttime, newonly, refused = wanted.lasttime, wanted.newonly, wanted.refused
    latest: Entry | None = None
    commands: list[bytes] = []
    any_entry = False
    for line in _lines(file):
        backup, noaccount, mode, ctime_text, mtime_text, written, command = line.groups()
        if command is not None:
            if not any_entry:
                raise ScanFileError
            commands.append(command)
            continue
        if commands:
            _attach(found, latest, commands)
            commands = []
        any_entry = True
        latest = None
        ctime = int32(int(ctime_text))
        if ctime <= lasttime and newonly:
            continue
        try:
            name = normalise(written)
        except UnsafeName:
            continue
        if refused and is_refused(name, refused):
            continue
        flags = NEW if ctime > lasttime else 0
        if backup:
            flags |= BACKUP
        if noaccount:
            flags |= NOACCOUNT
        latest = found[name] = Entry(name, int(mode, 8), flags, int32(int(mtime_text)), ctime)
        if len(found) > limit:
            raise TooManyEntries(f"Collection has more than {limit} names")
    if commands:
        _attach(found, latest, commands)
    return dict(sorted(found.items()))


def _attach(found: dict[bytes, Entry], entry: Entry | None, commands: list[bytes]) -> None:
    if entry is not None:
        ordered = tuple(sorted(set(commands)))
        found[entry.name] = Entry(entry.name, entry.mode, entry.flags, entry.mtime, entry.ctime, ordered)


def _lines(file: BinaryIO) -> Iterator[re.Match[bytes]]:
    """The lines that follow, taken apart; ScanFileError at the first that is neither entry nor command."""
    rest = b""
    while part := file.read(_PART):
        text = rest + part
        end = text.rfind(b"\n") + 1
        yield from _whole_lines(text, end)
        rest = text[end:]
        if len(rest) > _PART:
            raise ScanFileError
    if rest:
        yield from _whole_lines(rest + b"\n", len(rest) + 1)


def _whole_lines(text: bytes, end: int) -> Iterator[re.Match[bytes]]:
    at = 0
    for line in _LINE.finditer(text, 0, end):
        if line.start() != at:
            raise ScanFileError
        at = line.end()
        yield line
    if at != end:
        raise ScanFileError
