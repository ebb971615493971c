"""Kept replies: found while the directory is as it was, bounded in size, useful ones outliving useless ones."""

from __future__ import annotations

from netinfo.replies import KEYS, OVERHEAD, Replies
from wire.formats.netinfo import NETINFO


def test_reply_is_found_only_for_its_state() -> None:
    replies = Replies()
    replies.put((7, True, 3), 11, b"reply")
    assert replies.get((7, True, 3), 11) == b"reply"
    assert replies.get((7, False, 3), 11) is None
    assert replies.get((7, True, 3), 12) is None
    replies.put((7, True, 3), 12, b"later")
    assert replies.get((7, True, 3), 12) == b"later"
    assert replies.get((7, True, 3), 11) is None


def test_size_is_bounded_and_what_is_used_stays() -> None:
    entry = OVERHEAD + 100
    replies = Replies(budget=20 * entry)
    replies.put((7, True, 0), 1, b"u" * 100)
    for number in range(1, 1000):
        replies.put((7, True, number), 1, b"x" * 100)
        assert replies.get((7, True, 0), 1) == b"u" * 100
        assert len(replies._young) + len(replies._old) <= 20
    assert replies.get((7, True, 500), 1) is None
    assert replies.get((7, True, 999), 1) is not None


def test_replacing_an_entry_does_not_count_twice() -> None:
    replies = Replies(budget=4 * (OVERHEAD + 100))
    for family in range(100):
        replies.put((7, True, 0), family, b"x" * 100)
    assert len(replies._young) + len(replies._old) == 1


def test_reply_larger_than_all_room_is_not_kept() -> None:
    replies = Replies(budget=1000)
    replies.put((7, True, 0), 1, b"x" * 1000)
    assert replies.get((7, True, 0), 1) is None


def test_stale_entry_of_the_old_generation_is_not_given() -> None:
    replies = Replies(budget=2 * (OVERHEAD + 10))
    replies.put((7, True, 0), 1, b"x" * 10)
    replies.put((7, True, 1), 1, b"y" * 10)
    assert (7, True, 0) in replies._old
    assert replies.get((7, True, 0), 2) is None


def test_reading_procedures_that_name_a_directory_are_kept() -> None:
    kept = {NETINFO.by_number[number].name for number in KEYS}
    reading = {row.name for row in NETINFO.procedures if not row.mutates}
    elsewhere = {"PING", "STATISTICS", "RPARENT", "BIND", "READALL", "CRASHED", "RESYNC"}
    assert kept == reading - elsewhere
