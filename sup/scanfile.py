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

from sup.names import LONGEST_NAME, UnsafeName, is_refused, normalise
from sup.walk import BACKUP, EVERYTHING, MAX_ENTRIES, NEW, NOACCOUNT, Entry, TooManyEntries, Wanted, int32
from wire.formats.blocks import STRING_LIMIT

HEADER = b"V2\n"
_PART = 1 << 20  # of the text, at a time: a scan file may be larger than memory should be
_LINE = re.compile(
    rb"(B?)(N?)([0-7]{1,10}) (-?[0-9]{1,20}) (-?[0-9]{1,20}) ([^\n]+)\n|X([^\n]{0,%d})\n" % STRING_LIMIT
)


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
    file, is left out, and so is one that is too long to travel. Raises ScanFileError, and TooManyEntries beyond
    `limit` names.
    """
    found: dict[bytes, Entry] = {}
    commands: dict[bytes, set[bytes]] = {}
    lasttime, newonly, refused = wanted.lasttime, wanted.newonly, wanted.refused
    any_entry = False
    latest: bytes | None = None
    for line in _lines(file, _not_after(lasttime) if newonly and lasttime > 0 else None):
        if line is None:
            any_entry, latest = True, None
            continue
        backup, noaccount, mode, ctime_text, mtime_text, written, command = line.groups()
        if command is not None:
            if not any_entry:
                raise ScanFileError
            if latest is not None:
                commands.setdefault(latest, set()).add(command)
            continue
        any_entry, latest = True, None
        ctime = int32(int(ctime_text))
        if ctime <= lasttime and newonly:
            continue
        if len(written) > LONGEST_NAME:
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
        found[name] = Entry(name, int(mode, 8), flags, int32(int(mtime_text)), ctime)
        latest = name
        if len(found) > limit:
            raise TooManyEntries(f"Collection has more than {limit} names")
    for name, those in commands.items():
        entry = found[name]
        found[name] = Entry(name, entry.mode, entry.flags, entry.mtime, entry.ctime, tuple(sorted(those)))
    return {name: found[name] for name in sorted(found)}


def _not_after(lasttime: int) -> re.Pattern[bytes]:
    """Matches entries in a row, with their commands, whose ctime is not negative and not after `lasttime`.

    A client that is up to date has nearly all of them: they are passed over without being taken apart. Some hundreds at
    a time, so that there is little to go back over; a possessive `++` would say that better, but Python 3.11.2, which
    is Debian 12's, then ends such a match within the entry that it does not take.
    """
    last = b"%d" % lasttime
    times = [last]
    for at, digit in enumerate(last):
        if digit > ord("0"):
            times.append(last[:at] + b"[0-%c][0-9]{%d}" % (digit - 1, len(last) - at - 1))
    if len(last) > 1:
        times.append(b"[0-9]{1,%d}" % (len(last) - 1))
    entry = rb"B?N?[0-7]{1,10} (?:%s) -?[0-9]{1,20} [^\n]+\n" % b"|".join(times)
    return re.compile(rb"(?:%s(?:X[^\n]*\n)*){1,500}" % entry)


def _lines(file: BinaryIO, passed: re.Pattern[bytes] | None) -> Iterator[re.Match[bytes] | None]:
    """The lines that follow, taken apart; None for those that `passed` matches, however many.

    Raises ScanFileError at the first that is neither entry nor command.
    """
    rest = b""
    while part := file.read(_PART):
        text = rest + part
        end = text.rfind(b"\n") + 1
        yield from _whole_lines(text, end, passed)
        rest = text[end:]
        if len(rest) > _PART:
            raise ScanFileError
    if rest:
        yield from _whole_lines(rest + b"\n", len(rest) + 1, passed)


def _whole_lines(text: bytes, end: int, passed: re.Pattern[bytes] | None) -> Iterator[re.Match[bytes] | None]:
    at = 0
    while at < end:
        known = passed.match(text, at, end) if passed is not None else None
        line = known or _LINE.match(text, at, end)
        if line is None:
            raise ScanFileError
        yield None if known else line
        at = line.end()
