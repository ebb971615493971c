"""wire.capture.fragments: in any order, lost, overlapping, too many."""

from __future__ import annotations

import struct

import pytest
from dpkt import ip, udp

from tests.capture.frames import A, B, ether, ip6_packet, only, pcap_file, tcp_packet, udp_packet
from wire.capture.files import Frame, Notice
from wire.capture.fragments import MAX_PENDING, SECONDS, Fragments
from wire.capture.packets import Decoder, read_packets


def fragments(payload: bytes, size: int = 16, ident: int = 9) -> list[bytes]:
    whole = bytes(udp.UDP(sport=700, dport=877, data=payload, ulen=8 + len(payload)))
    made = []
    for offset in range(0, len(whole), size):
        part = whole[offset : offset + size]
        more = ip.IP_MF if offset + size < len(whole) else 0
        made.append(
            ether(
                bytes(
                    ip.IP(
                        src=A,
                        dst=B,
                        p=17,
                        id=ident,
                        _flags_offset=more | offset // 8,
                        len=20 + len(part),
                        data=part,
                    )
                )
            )
        )
    return made


@pytest.mark.parametrize("turned", [False, True])
def test_fragments_in_any_order(turned: bool) -> None:
    payload = bytes(range(100))
    parts = fragments(payload)
    packet = only(pcap_file(*(reversed(parts) if turned else parts)))
    assert packet.payload == payload
    assert packet.frame == len(parts)


def test_fragments_of_ip_version_6() -> None:
    whole = bytes(udp_packet(bytes(range(40))))
    first = struct.pack(">BBHI", 17, 0, 1, 77) + whole[:16]
    last = struct.pack(">BBHI", 17, 0, 16, 77) + whole[16:]
    frames = [ip6_packet(tcp_packet(), b"", first=44)[:4] for _ in ()]
    for part in (first, last):
        frames.append(
            ip6_packet(udp_packet(b""), b"", first=44)[:40][:4]
            + struct.pack(">H", len(part))
            + ip6_packet(udp_packet(b""), first=44)[6:40]
            + part
        )
    assert only(pcap_file(*frames, link=101)).payload == bytes(range(40))


def test_a_lost_fragment_is_named() -> None:
    parts = fragments(bytes(100))
    (notice,) = read_packets(pcap_file(*parts[:2], *parts[3:]))
    assert isinstance(notice, Notice)
    assert notice.reason == "fragments are missing of the IP datagram that begins in packet 1"


def test_fragments_are_not_kept_for_ever() -> None:
    lonely = [fragments(bytes(100), ident=number)[0] for number in range(3 * MAX_PENDING + 1)]
    decoder = Decoder()
    for number, frame in enumerate(lonely[:-1], 1):
        decoder.decode(Frame(number, 1000.0, 1, frame))
        assert len(decoder.notices) == max(0, number - MAX_PENDING)
    decoder.decode(Frame(9999, 1000.0 + SECONDS, 1, lonely[-1]))
    assert len(decoder.notices) == 3 * MAX_PENDING
    decoder.finish()
    assert [notice.frame for notice in decoder.notices] == [*range(1, 3 * MAX_PENDING + 1), 9999]


def test_a_flood_of_overlapping_fragments_stays_small() -> None:
    waiting = Fragments()
    for offset in range(0, 32_000, 8):
        assert waiting.add((A, B, 1, 17), bytes(1000), offset, True, 1, 0.0) is None
    (pending,) = waiting._pending.values()
    assert sum(map(len, pending.parts.values())) < 200_000
