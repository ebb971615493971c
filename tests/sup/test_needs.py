"""The need decision, row by row of SUP 8.1, and what a delete run would remove."""

import os
import stat
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sup.needs import Doomed, doomed, needed, read_listing, to_int32
from sup.supfile import Collection
from wire.formats.sup import EntryFlag, ListEntry, NeedEntry

FILE, DIRECTORY, LINK, FIFO = 0o100644, 0o040755, 0o120777, 0o010644
NEW = int(EntryFlag.NEW)


def local(mode: int, mtime: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, 0, 0, 0, 0, mtime, 0))


def decide(entry: ListEntry, found: os.stat_result | None, **switches: Any) -> int | None:
    wanted = needed(
        read_listing([entry], b"sup/demo"),
        evolve(Collection(b"demo"), **switches),
        lambda _: found,
        lambda _: found,
    )
    return wanted[entry.name].update if wanted else None


@pytest.mark.parametrize(
    ("flags", "mode", "found", "switches", "answer"),
    [
        # 1. -a fetches, whatever is here
        (0, FILE, local(FILE, 50), {"fetch_all": True}, 0),
        # 2. neither new nor -o: not looked at; -d alone does not look either
        (0, FILE, None, {}, None),
        (0, FILE, None, {"delete": True}, None),
        # 3. missing, or of another type
        (NEW, FILE, None, {}, 0),
        (0, FILE, None, {"old": True}, 0),
        (NEW, FILE, local(DIRECTORY, 50), {}, 0),
        (NEW, LINK, local(FILE, 50), {}, 0),
        (0, DIRECTORY, local(LINK, 50), {"old": True}, 0),
        (NEW, FIFO, None, {}, 0),
        # 4. not a regular file
        (NEW, DIRECTORY, local(DIRECTORY, 50), {}, 0),
        (0, DIRECTORY, local(DIRECTORY, 9), {"old": True}, None),
        (NEW, LINK, local(LINK, 50), {}, 0),
        (0, LINK, local(LINK, 9), {"old": True}, None),
        # 5. a regular file
        (NEW, FILE, local(FILE, 60), {"keep": True}, None),
        (NEW, FILE, local(FILE, 40), {"keep": True}, 0),
        (NEW, FILE, local(FILE, 50), {"keep": True}, 1),
        (NEW, FILE, local(FILE, 50), {}, 1),
        (0, FILE, local(FILE, 50), {"old": True}, None),
        (NEW, FILE, local(FILE, 60), {}, 0),
        (NEW, FILE, local(FILE, 40), {}, 0),
        (0, FILE, local(FILE, 40), {"old": True}, 0),
        # other modes of the same type make no difference
        (NEW, FILE, local(0o100600, 50), {}, 1),
        # other flags do not make an entry new
        (int(EntryFlag.BACKUP | EntryFlag.NOACCOUNT), FILE, None, {}, None),
    ],
)
def test_the_decision(
    flags: int, mode: int, found: os.stat_result | None, switches: dict[str, Any], answer: int | None
) -> None:
    assert decide(ListEntry(b"x", mode, flags, 50), found, **switches) == answer


def test_later_years_wrap_and_stay_equal() -> None:
    assert to_int32(2208988800) == -2085978496
    entry = ListEntry(b"x", FILE, NEW, -2085978496)
    assert decide(entry, local(FILE, 2208988800)) == 1


@given(st.integers(-(2**40), 2**40))
def test_any_time_fits(seconds: int) -> None:
    assert -(2**31) <= to_int32(seconds) < 2**31
    assert (to_int32(seconds) - seconds) % 2**32 == 0


def test_links_are_looked_at_as_links_and_files_through_them() -> None:
    entries = [ListEntry(b"f", FILE, NEW, 50), ListEntry(b"l", LINK, NEW, 50)]
    looked: list[tuple[str, bytes]] = []

    def look(name: bytes) -> None:
        looked.append(("look", name))

    def lstat(name: bytes) -> None:
        looked.append(("lstat", name))

    needed(read_listing(entries, b"sup/demo"), Collection(b"demo"), look, lstat)
    assert looked == [("look", b"f"), ("lstat", b"l")]


def test_below_a_missing_directory_nothing_is_looked_for() -> None:
    names = [b"d", b"d-x", b"d-x/f", b"d/e", b"d/e/f", b"g/h"]
    looked: list[bytes] = []

    def look(name: bytes) -> os.stat_result | None:
        looked.append(name)
        return local(FILE, 50) if name == b"d-x" else None

    listing = read_listing([ListEntry(name, FILE, NEW, 40) for name in names], None)
    assert set(needed(listing, Collection(b"demo"), look, look)) == set(names)
    assert looked == [b"d", b"d-x", b"d-x/f", b"g/h"]


def test_a_listing_is_sorted_and_in_plain_form_and_the_last_entry_counts() -> None:
    listing = read_listing(
        [
            ListEntry(b"b", FILE, 0, 1),
            ListEntry(b"./a", FILE, 0, 2),
            ListEntry(b"a", DIRECTORY, 0, 3),
            ListEntry(b"d//e/", FILE, NEW, 4),
        ],
        b"sup/demo",
    )
    assert list(listing.entries) == [b"a", b"b", b"d/e"]
    assert listing.entries[b"a"].mtime == 3
    wanted = needed(listing, Collection(b"demo"), lambda _: None, lambda _: None)
    assert wanted == {b"d/e": NeedEntry(b"d//e/", 0)}


def test_what_no_server_may_ask_for() -> None:
    names = [
        b"/etc/passwd",
        b"../x",
        b"a/../../x",
        b"",
        b"a\0b",
        b"sup/demo",
        b"sup/demo/when",
        b"./sup//demo/last",
    ]
    listing = read_listing([ListEntry(name, FILE, NEW, 1) for name in names], b"sup/demo")
    assert not listing.entries
    assert len(listing.rejected) == 5


def test_the_control_files_of_others_are_ordinary_files() -> None:
    names = [b"sup", b"sup/demo2", b"sup/other/list"]
    listing = read_listing([ListEntry(name, FILE, NEW, 1) for name in names], b"sup/demo")
    assert list(listing.entries) == names


def test_what_is_to_go_comes_in_descending_order() -> None:
    here = {b"d": DIRECTORY, b"d/x": FILE, b"d/y": LINK, b"a": FILE, b"b": FILE, b"r/x": FILE}
    last = [b"a", b"b", b"d", b"d/x", b"d/y", b"gone", b"r/x"]

    def lstat(name: bytes) -> os.stat_result | None:
        return local(here[name]) if name in here else None

    found = doomed(last, {b"b": None}, lstat, frozenset({b"r"}))
    assert found == [
        Doomed(b"r/x", FILE, True),
        Doomed(b"d/y", LINK, False),
        Doomed(b"d/x", FILE, False),
        Doomed(b"d", DIRECTORY, False),
        Doomed(b"a", FILE, False),
    ]


def test_a_directory_above_a_listed_name_stays() -> None:
    found = doomed([b"d", b"d/e", b"d/e/f", b"."], {b"d/e/f": None}, lambda _: local(DIRECTORY), frozenset())
    assert found == []


@given(st.integers(0, 0o177777), st.integers(0, 15), st.integers(0, 0o177777), st.booleans(), st.booleans())
def test_only_equal_regular_files_are_left_to_an_update(
    mode: int, flags: int, found: int, old: bool, keep: bool
) -> None:
    answer = decide(ListEntry(b"x", mode, flags, 7), local(found, 7), old=old, keep=keep)
    if answer == 1:
        assert stat.S_ISREG(mode)
        assert stat.S_ISREG(found)
        assert flags & NEW
