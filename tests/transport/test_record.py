import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.transport.errors import RecordError
from wire.transport.record import RecordReader, mark

RECORDS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=6)
"""Records as lists of their fragments."""


def marked(fragments: list[bytes]) -> bytes:
    ends = [*[False] * (len(fragments) - 1), True]
    return b"".join(mark(len(part), last) + part for part, last in zip(fragments, ends, strict=True))


@given(RECORDS, st.lists(st.integers(1, 60)))
def test_whatever_the_fragments_and_segments_the_records_come_out(
    records: list[list[bytes]], cuts: list[int]
) -> None:
    records = [fragments for fragments in records if b"".join(fragments)]
    stream = b"".join(map(marked, records))
    reader, got, at = RecordReader(1000), [], 0
    for cut in [*cuts, len(stream)]:
        reader.feed(stream[at : at + cut])
        at += cut
        got += list(reader)
    assert got == [b"".join(fragments) for fragments in records]
    assert not reader.partial
    assert reader.buffered == 0


@given(RECORDS, st.lists(st.integers(1, 60)), st.booleans())
def test_a_record_alone_is_told_apart_from_all_else(
    records: list[list[bytes]], cuts: list[int], whole: bool
) -> None:
    """Segments that are one record each, or any; `alone` takes what it can, and the same records come out."""
    records = [fragments for fragments in records if b"".join(fragments)]
    stream = b"".join(map(marked, records))
    sizes = [len(marked(fragments)) for fragments in records] if whole else [*cuts, len(stream)]
    reader, got, taken, at = RecordReader(1000), [], 0, 0
    for size in sizes:
        segment = stream[at : at + size]
        at += size
        record = reader.alone(segment)
        if record is not None:
            got.append(record)
            taken += 1
            continue
        reader.feed(segment)
        got += list(reader)
    assert got == [b"".join(fragments) for fragments in records]
    assert reader.buffered == 0
    if whole:
        assert taken >= sum(len(fragments) == 1 for fragments in records)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\0\0",
        mark(0),
        mark(11) + bytes(11),
        mark(3) + b"ab",
        mark(1) + b"ab",
        mark(2, False) + b"ab",
    ],
)
def test_what_is_no_record_alone(data: bytes) -> None:
    assert RecordReader(10).alone(data) is None


def test_byte_by_byte() -> None:
    reader, got = RecordReader(100), []
    for byte in marked([b"ab", b"", b"c"]) + marked([b"de"]):
        reader.feed(bytes([byte]))
        got += list(reader)
    assert got == [b"abc", b"de"]


def test_an_iteration_that_is_left_goes_on_later() -> None:
    reader = RecordReader(100)
    reader.feed(marked([b"one"]) + marked([b"t", b"wo"]) + marked([b"three"])[:6])
    assert next(iter(reader)) == b"one"
    reader.feed(marked([b"three"])[6:])
    assert list(reader) == [b"two", b"three"]


@pytest.mark.parametrize("last", [False, True])
def test_an_announced_length_beyond_the_limit_is_refused_before_its_bytes(last: bool) -> None:
    reader = RecordReader(1 << 20)
    reader.feed(mark(2**31 - 1, last) + b"a few")
    with pytest.raises(RecordError, match="longer than the 1048576 bytes"):
        list(reader)


def test_a_length_within_the_limit_allocates_nothing() -> None:
    reader = RecordReader(2**31 - 1)
    reader.feed(mark(2**31 - 1))
    assert list(reader) == []
    assert reader.partial
    assert reader.buffered == 0


def test_fragments_that_add_up_to_too_much() -> None:
    reader = RecordReader(10)
    reader.feed(mark(6, False) + b"abcdef")
    assert list(reader) == []
    reader.feed(mark(5))
    with pytest.raises(RecordError):
        list(reader)


def test_exactly_the_limit_is_not_too_much() -> None:
    reader = RecordReader(6)
    reader.feed(mark(6) + b"abcdef" + mark(3, False) + b"abc" + mark(3) + b"def")
    assert list(reader) == [b"abcdef", b"abcdef"]


@pytest.mark.parametrize("stream", [mark(0), mark(0, False) + mark(0)])
def test_an_empty_record_is_an_error(stream: bytes) -> None:
    reader = RecordReader(10)
    reader.feed(stream)
    with pytest.raises(RecordError, match="empty"):
        list(reader)


def test_records_before_the_error_are_given() -> None:
    reader = RecordReader(10)
    reader.feed(mark(1) + b"a" + mark(0))
    records = iter(reader)
    assert next(records) == b"a"
    with pytest.raises(RecordError):
        next(records)


def test_ten_thousand_fragments_of_one_byte_take_no_more_room_than_one() -> None:
    reader = RecordReader(20_000)
    reader.feed(b"".join(mark(1, False) + b"x" for _ in range(10_000)))
    assert list(reader) == []
    assert reader.buffered == 10_000
    reader.feed(mark(1) + b"y")
    assert list(reader) == [b"x" * 10_000 + b"y"]


def test_a_long_record_can_be_drained() -> None:
    reader = RecordReader(6)
    reader.feed(mark(5, False) + b"abcde")
    assert list(reader) == []
    assert reader.beginning(3) == b"abc"
    assert reader.drain() == b"abcde"
    assert reader.drain() == b""
    reader.feed(mark(4, False) + b"fg")
    assert list(reader) == []
    assert reader.drain() == b"fg"
    reader.feed(b"hi" + mark(0) + mark(1) + b"z")
    assert list(reader) == [b"hi", b"z"]


def test_a_record_drained_to_its_end_is_not_empty() -> None:
    reader = RecordReader(6)
    reader.feed(mark(2, False) + b"ab")
    assert list(reader) == []
    assert reader.drain() == b"ab"
    reader.feed(mark(0))
    assert list(reader) == [b""]
