"""wire.capture.reassembly: TCP as captures really hold it."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import A, B, segment
from wire.capture import reassembly
from wire.capture.packets import ACK, FIN, RST, SYN, Segment
from wire.capture.reassembly import Opening, Reassembler


@attrs.define
class Heard:
    """A sink which remembers; a gap stands in the bytes as so many question marks."""

    opening: Opening
    streams: list[bytes] = attrs.field(factory=lambda: [b"", b""])
    gaps: list[tuple[int, int, str]] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)
    frames: list[int] = attrs.field(factory=list)

    def data(self, direction: int, data: bytes, time: float, frame: int) -> None:
        assert not self.ended
        assert data
        self.streams[direction] += data
        self.frames.append(frame)

    def gap(self, direction: int, size: int, reason: str, time: float, frame: int) -> None:
        self.streams[direction] += b"?" * size
        self.gaps.append((direction, size, reason))

    def closed(self, reason: str, time: float, frame: int) -> None:
        self.ended.append(reason)


def follow(*segments: Segment) -> list[Heard]:
    heard: list[Heard] = []

    def opened(opening: Opening) -> Heard:
        heard.append(Heard(opening))
        return heard[-1]

    reassembler = Reassembler(opened)
    for piece in segments:
        reassembler.segment(piece)
    reassembler.finish(99.0, 99)
    assert all(len(one.ended) == 1 for one in heard)
    return heard


HANDSHAKE = (
    segment(seq=100, flags=SYN),
    segment(seq=500, flags=SYN | ACK, back=True, ack=101),
    segment(seq=101, ack=501),
)


def test_a_whole_connection() -> None:
    (one,) = follow(
        *HANDSHAKE,
        segment(b"call", 101, ack=501),
        segment(b"reply", 501, back=True, ack=105),
        segment(b"", 105, FIN | ACK, ack=506),
        segment(b"", 506, FIN | ACK, back=True, ack=106),
        segment(b"", 106, ack=507),
    )
    assert one.streams == [b"call", b"reply"]
    assert one.ended == ["closed"]
    assert one.opening.handshake
    assert (one.opening.source, one.opening.source_port) == (A, 700)


def test_retransmission_overlap_and_disorder() -> None:
    (one,) = follow(
        *HANDSHAKE,
        segment(b"ab", 101),
        segment(b"ab", 101),  # again
        segment(b"bcd", 102),  # overlaps
        segment(b"gh", 107),  # too early
        segment(b"fg", 106),  # too early, overlaps what waits
        segment(b"ef", 105),  # fills
        segment(b"i", 109),
    )
    assert one.streams[0] == b"abcdefghi"
    assert not one.gaps


def test_what_came_first_is_kept() -> None:
    (one,) = follow(*HANDSHAKE, segment(b"abc", 101), segment(b"XYZd", 101))
    assert one.streams[0] == b"abcd"


def test_keep_alives_change_nothing() -> None:
    (one,) = follow(
        *HANDSHAKE, segment(b"ab", 101), segment(b"b", 102), segment(b"", 102), segment(b"c", 103)
    )
    assert one.streams[0] == b"abc"


def test_sequence_numbers_wrap() -> None:
    (one,) = follow(
        segment(seq=2**32 - 3, flags=SYN),
        segment(b"de", 2**32 + 1),
        segment(b"abc", 2**32 - 2),
        segment(b"fg", 2**32 + 3),
    )
    assert one.streams[0] == b"abcdefg"


def test_a_capture_that_begins_in_the_middle() -> None:
    (one,) = follow(
        segment(b"", 100, ack=7), segment(b"re", 7, back=True), segment(b"cd", 102), segment(b"ef", 104)
    )
    assert not one.opening.handshake
    assert one.opening.source == B
    assert one.streams == [b"re", b"cdef"]


def test_only_the_second_half_of_the_handshake() -> None:
    (one,) = follow(*HANDSHAKE[1:], segment(b"call", 101))
    assert one.opening.handshake
    assert one.opening.source == A
    assert one.streams[0] == b"call"


def test_lost_bytes_that_the_receiver_had_become_a_gap_soon() -> None:
    answers = [segment(b"", 501, back=True, ack=115) for _ in range(reassembly.PATIENCE + 1)]
    (one,) = follow(
        *HANDSHAKE, segment(b"abc", 101), segment(b"xyz", 109, frame=4), *answers, segment(b"!", 112)
    )
    assert one.streams[0] == b"abc?????xyz!"
    assert one.gaps == [(0, 5, "not in the capture, although the receiver had them")]
    assert one.frames[1] == 4  # told with the packet that carried them


def test_lost_bytes_that_the_receiver_had_long_ago_are_given_up_at_once() -> None:
    late = segment(b"", 501, back=True, ack=112)._replace(time=reassembly.GRACE * 2)
    (one,) = follow(*HANDSHAKE, segment(b"xyz", 109), late, segment(b"abcdefgh", 101))
    assert one.streams[0] == b"????????xyz"
    early = segment(b"", 501, back=True, ack=105)._replace(time=reassembly.GRACE * 2)
    (one,) = follow(*HANDSHAKE, segment(b"xyz", 109), early, segment(b"abcdefgh", 101))
    assert one.streams[0] == b"abcdefghxyz"


def test_a_late_packet_within_the_patience_is_no_gap() -> None:
    (one,) = follow(
        *HANDSHAKE,
        segment(b"def", 104),
        segment(b"", 501, back=True, ack=107),
        segment(b"abc", 101),
        segment(b"g", 107),
    )
    assert one.streams[0] == b"abcdefg"
    assert not one.gaps


def test_lost_bytes_at_the_end() -> None:
    (one,) = follow(*HANDSHAKE, segment(b"xyz", 109), segment(b"", 112, FIN | ACK))
    assert one.streams[0] == b"????????xyz"
    assert one.gaps == [(0, 8, "not in the capture")]


def test_too_much_waits() -> None:
    step = 1 << 16
    early = [
        segment(bytes(step), 200 + number * step) for number in range(reassembly.MAX_WAITING // step + 1)
    ]
    (one,) = follow(*HANDSHAKE, *early, segment(b"!", 200 + len(early) * step))
    assert one.gaps == [(0, 99, "not in the capture, although much that came later is")]
    assert one.streams[0].endswith(b"!")
    early = [segment(b"x", 200 + number) for number in range(reassembly.MAX_WAITING_SEGMENTS + 1)]
    (one,) = follow(*HANDSHAKE, *early)
    assert len(one.gaps) == 1


@pytest.mark.parametrize("size", [1, 400])
def test_too_much_waits_in_all_connections_together(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many segments of one byte take as much room as fewer of some hundred."""
    monkeypatch.setattr(reassembly, "MAX_WAITING_TOTAL", 2 * (size + reassembly.OVERHEAD))
    first = [segment(bytes(10), 50, port=port) for port in (1, 2, 3)]
    heard = follow(*first, *(segment(bytes(size), 500, port=port) for port in (1, 2, 3)))
    assert [one.gaps[0][2] for one in heard] == [
        "not in the capture",
        "not in the capture",
        "not in the capture, although much that came later is",
    ]


def test_snapped_segments() -> None:
    (one,) = follow(*HANDSHAKE, segment(b"ab", 101, missing=3), segment(b"fg", 106), segment(b"bcdef", 102))
    assert one.streams[0] == b"ab???fg"
    assert one.gaps == [(0, 3, "cut off by the recorder's snap length")]


def test_a_snapped_segment_that_overlaps() -> None:
    (one,) = follow(*HANDSHAKE, segment(b"abcd", 101), segment(b"b", 102, missing=5), segment(b"h", 108))
    assert one.streams[0] == b"abcd???h"


def test_several_connections_on_one_port_pair() -> None:
    first = (*HANDSHAKE, segment(b"one", 101), segment(b"", 104, RST))
    second = (segment(seq=9000, flags=SYN), segment(seq=7, flags=SYN | ACK, back=True), segment(b"two", 9001))
    third = (segment(seq=50, flags=SYN), segment(b"three", 51))
    heard = follow(*first, *second, *second[:1], *third)
    assert [one.streams[0] for one in heard] == [b"one", b"two", b"three"]
    assert [one.ended for one in heard] == [["reset"], ["the ports were used again"], ["the capture ends"]]


def test_the_other_side_opens_the_next_one() -> None:
    heard = follow(
        *HANDSHAKE, segment(b"one", 101), segment(seq=1, flags=SYN, back=True), segment(b"two", 2, back=True)
    )
    assert [one.opening.source for one in heard] == [A, B]
    assert heard[1].streams[0] == b"two"


def test_a_connection_whose_handshake_is_lost_after_another() -> None:
    heard = follow(*HANDSHAKE, segment(b"one", 101), segment(b"", 104, RST), segment(b"two", 90_000_000))
    assert [one.streams[0] for one in heard] == [b"one", b"two"]


def test_what_comes_after_the_end_is_not_another_connection() -> None:
    (one,) = follow(
        *HANDSHAKE,
        segment(b"one", 101),
        segment(b"", 501, RST, back=True),
        segment(b"more", 104),
        segment(b"one", 101),
    )
    assert one.streams[0] == b"one"


def test_sent_again_syn_opens_nothing() -> None:
    assert len(follow(HANDSHAKE[0], HANDSHAKE[0], HANDSHAKE[1], HANDSHAKE[1], segment(b"x", 101))) == 1


def test_stray_acknowledgements_open_nothing() -> None:
    assert follow(segment(b"", 5), segment(b"", 9, back=True), segment(b"", 5, FIN)) == []


def test_connections_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "MAX_CONNECTIONS", 3)
    heard = follow(*(segment(b"x", 1, port=port) for port in range(1000, 1010)))
    assert [one.ended[0] for one in heard].count(
        "too many connections came after it to follow it further"
    ) == 7


@given(st.binary(min_size=1, max_size=60), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_any_segmentation_in_any_order_gives_the_bytes(
    data: bytes, start: int, chance: random.Random
) -> None:
    pieces = []
    for _ in range(chance.randint(0, 12)):
        first = chance.randrange(len(data))
        last = chance.randint(first + 1, len(data))
        pieces.append(segment(data[first:last], start + 1 + first))
    middle = chance.randint(0, len(data))
    pieces += [
        segment(part, start + 1 + at) for part, at in ((data[:middle], 0), (data[middle:], middle)) if part
    ]
    chance.shuffle(pieces)
    (one,) = follow(segment(seq=start, flags=SYN), *pieces)
    assert one.streams[0] == data
    assert not one.gaps


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.integers(0, 12), st.sampled_from([ACK, SYN, FIN, RST, 0]), st.booleans()
        )
    )
)
def test_hostile_segments_end_somewhere(shapes: list[tuple[int, int, int, bool]]) -> None:
    follow(
        *(
            segment(b"x" * size, seq, flags, back, ack=seq, missing=size % 3)
            for seq, size, flags, back in shapes
        )
    )
