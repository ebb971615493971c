"""Scan files in the original's format, read and written."""

import io
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup import scanfile
from sup.scanfile import HEADER, ScanFileError
from sup.walk import BACKUP, EVERYTHING, NEW, NOACCOUNT, Entry, TooManyEntries, Wanted

EXAMPLE = b"""V2
40755 1795219338 1795219338 data
B100644 1795219338 1700000000 data/a
Xrun data/a now
BN100644 1795219340 1700000000 data/b
120777 1795219338 1795219338 data/sl
"""
ENTRIES = [
    Entry(b"data", 0o40755, NEW, 1795219338, 1795219338),
    Entry(b"data/a", 0o100644, NEW | BACKUP, 1700000000, 1795219338, (b"run data/a now",)),
    Entry(b"data/b", 0o100644, NEW | BACKUP | NOACCOUNT, 1700000000, 1795219340),
    Entry(b"data/sl", 0o120777, NEW, 1795219338, 1795219338),
]


def read(text: bytes, wanted: Wanted = EVERYTHING, limit: int = 100) -> list[Entry]:
    file = io.BytesIO(text)
    assert scanfile.is_usable(file)
    return list(scanfile.read(file, wanted, limit).values())


def write(entries: list[Entry]) -> tuple[bytes, list[bytes]]:
    file = io.BytesIO()
    unheld = scanfile.write(entries, file)
    return file.getvalue(), unheld


def test_the_example_of_the_specification() -> None:
    assert read(EXAMPLE) == ENTRIES
    assert write(ENTRIES) == (EXAMPLE, [])


def test_new_files_only() -> None:
    assert [entry.name for entry in read(EXAMPLE, Wanted(1795219338, newonly=True))] == [b"data/b"]
    old = read(EXAMPLE, Wanted(1795219338))
    assert [entry.flags & NEW for entry in old] == [0, 0, NEW, 0]
    assert old[1].commands == (b"run data/a now",)


numbers = st.one_of(
    st.integers(-9, 9), st.integers(0, 2**31 - 1), st.sampled_from([2**31, 2**32, -(2**31), 10**18])
)
written_numbers = st.builds(
    lambda zero, number: b"%s%s%d" % (b"-" if number < 0 else b"", zero, abs(number)),
    st.sampled_from([b"", b"0"]),
    numbers,
)


@given(
    st.lists(st.tuples(written_numbers, st.lists(st.sampled_from([b"x", b""]), max_size=2)), min_size=1),
    st.integers(-5, 2**31 - 1),
)
def test_new_files_are_those_of_a_full_list_that_are_new(
    lines: list[tuple[bytes, list[bytes]]], lasttime: int
) -> None:
    """However ctimes are written, and wherever those stand that are passed over."""
    text = HEADER
    for number, (ctime, commands) in enumerate(lines):
        for near in (ctime, b"%d" % lasttime, b"%d" % (lasttime + 1), b"%d" % (lasttime - 1)):
            text += b"100644 %s 1 %05d%s\n" % (near, number, near)
            text += b"".join(b"X%s\n" % command for command in commands)
    everything = read(text, Wanted(lasttime), limit=10_000)
    assert read(text, Wanted(lasttime, newonly=True)) == [entry for entry in everything if entry.flags & NEW]


@pytest.mark.parametrize("line", [b"garbage", b"100648 1 1 a", b"100644 x 1 a", b"100644 1 1 ", b""])
def test_damage_among_old_files(line: bytes) -> None:
    with pytest.raises(ScanFileError):
        read(EXAMPLE + line + b"\n" + EXAMPLE.removeprefix(HEADER), Wanted(1795219340, newonly=True))


def test_commands_of_an_old_file_go_to_no_other() -> None:
    """Not even where they stand apart from it, at the beginning of a part of the text."""
    new = b"100644 9 1 new\n"
    old = b"100644 1 1 %s\n"
    filling = (1 << 20) - len(new) - len(old % b"")
    found = read(HEADER + new + old % (b"o" * filling) + b"Xcommand\n", Wanted(5, newonly=True))
    assert [(entry.name, entry.commands) for entry in found] == [(b"new", ())]


def test_refused_names_lose_their_commands_too() -> None:
    found = read(EXAMPLE, Wanted(refused=frozenset([b"data/a"])))
    assert [entry.name for entry in found] == [b"data", b"data/b", b"data/sl"]
    assert not any(entry.commands for entry in found)


@pytest.mark.parametrize("text", [b"", b"V3\n100644 1 1 a\n", b"V1\n", b"V", b"hello", b" V2\n"])
def test_other_files_are_no_scan_files(text: bytes) -> None:
    assert not scanfile.is_usable(io.BytesIO(text))


@pytest.mark.parametrize(
    "text",
    [
        b"V2\ngarbage\n",
        b"V2\n20000000000 1 1 a\n",
        b"V2\n100644 1 1 a\nX" + b"x" * 16385 + b"\n",
        b"V2\nXcommand first\n",
        b"V2\n100644 1 1 a\nb\n",
        b"V2\n100644 1 1 a\n\n100644 1 1 b\n",
        b"V2\n100644 1 1 \n",
        b"V2\n100648 1 1 a\n",
        b"V2\n100644 1 x a\n",
        b"V2\n100644 1 1 a\n100644 1",
        b"V2\n" + b"x" * (3 << 20),
    ],
)
def test_damage(text: bytes) -> None:
    with pytest.raises(ScanFileError, match="scanfile format inconsistent"):
        read(text)


def test_odd_lists_of_debians_supscan() -> None:
    text = b"V2\n100644 1 1 d//x\n100644 1 1 ../out\n100644 1 1 /etc/passwd\nXcommand\n100644 1 1 ./a"
    assert [entry.name for entry in read(text)] == [b"a", b"d/x"]


def test_more_than_one_part_is_read() -> None:
    text = b"V2\n" + b"".join(b"100644 1 1 %07d\nXc %d\n" % (number, number) for number in range(60_000))
    found = read(text, limit=60_000)
    assert len(text) > 1 << 20
    assert [int(entry.name) for entry in found] == list(range(60_000))
    assert all(entry.commands == (b"c %d" % number,) for number, entry in enumerate(found))
    with pytest.raises(TooManyEntries):
        read(text, limit=59_999)


def test_names_that_cannot_be_held_are_returned() -> None:
    bad = Entry(b"new\nline", 0o100644, 0, 1, 1)
    assert write([bad, ENTRIES[3]]) == (b"V2\n120777 1795219338 1795219338 data/sl\n", [b"new\nline"])


names = st.binary(min_size=1, max_size=20).filter(
    lambda name: not set(name) & set(b"/\0\n") and name not in (b".", b"..")
)
times = st.integers(-(2**31), 2**31 - 1)
entries = st.builds(
    Entry,
    name=names,
    mode=st.integers(0, 0o7777).map(lambda mode: stat.S_IFREG | mode),
    flags=st.sampled_from([0, BACKUP, NOACCOUNT, BACKUP | NOACCOUNT]),
    mtime=times,
    ctime=times,
    commands=st.lists(st.binary(max_size=9).filter(lambda c: b"\n" not in c), unique=True).map(
        lambda commands: tuple(sorted(commands))
    ),
)


@given(
    st.lists(entries, unique_by=lambda entry: entry.name).map(
        lambda found: sorted(found, key=lambda e: e.name)
    )
)
def test_what_is_written_is_read_back(found: list[Entry]) -> None:
    text, unheld = write(found)
    assert not unheld
    assert read(text, Wanted(2**31 - 1)) == found


def test_names_too_long_to_travel() -> None:
    lines = b"".join(b"100644 5 5 %s\nXrun\n" % (b"n" * length) for length in (1999, 2000))
    assert [len(entry.name) for entry in read(b"V2\n" + lines)] == [1999]
