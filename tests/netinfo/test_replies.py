"""Kept replies: found while the directory is as it was, bounded in size, useful ones outliving useless ones."""

from __future__ import annotations

from netinfo.replies import KEPT, OVERHEAD, Replies, directory_named, key_of
from netinfo.tree import Directory
from wire.formats.netinfo import NETINFO, ListArgs, NameIndexArgs, NiId


def directory(number: int = 3, family: int = 11) -> Directory:
    return Directory(number, 1, 1, 0, (), 1, family=family)


KEY = key_of(7, True) + b"argument"


def test_reply_is_found_only_for_its_state() -> None:
    replies, here = Replies(), directory()
    replies.put(KEY, here, b"reply")
    assert replies.get(KEY, {3: here}) == b"reply"
    assert replies.get(key_of(7, False) + b"argument", {3: here}) is None
    assert replies.get(KEY, {3: directory(family=12)}) is None
    assert replies.get(KEY, {}) is None
    replies.put(KEY, directory(family=12), b"later")
    assert replies.get(KEY, {3: directory(family=12)}) == b"later"
    assert replies.get(KEY, {3: here}) is None


def test_size_is_bounded_and_what_is_used_stays() -> None:
    here = directory()
    replies = Replies(budget=20 * (OVERHEAD + 104))
    replies.put(b"used", here, b"u" * 100)
    for number in range(1000):
        replies.put(b"%04d" % number, here, b"x" * 100)
        assert replies.get(b"used", {3: here}) == b"u" * 100
        assert len(replies._young) + len(replies._old) <= 20
    assert replies.get(b"0500", {3: here}) is None
    assert replies.get(b"0999", {3: here}) is not None


def test_replacing_an_entry_does_not_count_twice() -> None:
    replies = Replies(budget=4 * (OVERHEAD + len(KEY) + 100))
    for family in range(100):
        replies.put(KEY, directory(family=family), b"x" * 100)
    assert len(replies._young) + len(replies._old) == 1


def test_reply_larger_than_all_room_is_not_kept() -> None:
    replies, here = Replies(budget=1000), directory()
    replies.put(KEY, here, b"x" * 1000)
    assert replies.get(KEY, {3: here}) is None


def test_stale_entry_of_the_old_generation_is_not_given() -> None:
    replies, here = Replies(budget=2 * (OVERHEAD + len(KEY) + 10)), directory()
    replies.put(KEY, here, b"x" * 10)
    replies.put(KEY[::-1], here, b"y" * 10)
    assert KEY in replies._old
    assert replies.get(KEY, {3: directory(family=12)}) is None


def test_reading_procedures_that_name_a_directory_are_kept() -> None:
    kept = {NETINFO.by_number[number].name for number in KEPT}
    reading = {row.name for row in NETINFO.procedures if not row.mutates}
    elsewhere = {"STATISTICS", "RPARENT", "BIND", "READALL", "CRASHED", "RESYNC"}
    assert kept == reading - elsewhere


def test_directory_that_a_call_names() -> None:
    assert directory_named(None) == 0
    assert directory_named(NiId(7, 2)) == 7
    assert directory_named(ListArgs(NiId(7, 2), b"name")) == 7
    assert directory_named(NameIndexArgs(NiId(7, 2), 8, 9)) == 7
