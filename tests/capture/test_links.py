"""wire.capture.links: every kind of link layer."""

from __future__ import annotations

import struct

import pytest
from dpkt import pcap
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import UDP4, A, B, ether, ip6_packet, only, pcap_file, udp_packet
from wire.capture.links import LINKS
from wire.capture.packets import Datagram, read_packets

COOKED = struct.pack(">HHH8s", 0, 1, 6, bytes(8))
COOKED2 = struct.pack(">HHiHBB8s", 0x0800, 0, 1, 1, 0, 6, bytes(8))


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (pcap.DLT_EN10MB, ether(UDP4)),
        (pcap.DLT_EN10MB, ether(UDP4, (0x8100,))),
        (pcap.DLT_EN10MB, ether(UDP4, (0x88A8, 0x8100))),
        (pcap.DLT_EN10MB, ether(UDP4) + bytes(20)),  # padded to the least length of a frame
        (pcap.DLT_EN10MB, bytes(12) + struct.pack(">H", len(UDP4) + 8) + b"\xaa\xaa\3\0\0\0\x08\0" + UDP4),
        (pcap.DLT_LINUX_SLL, COOKED + b"\x08\0" + UDP4),
        (pcap.DLT_LINUX_SLL, COOKED + b"\x81\0\0\7\x08\0" + UDP4),
        (pcap.DLT_LINUX_SLL2, COOKED2 + UDP4),
        (pcap.DLT_LINUX_SLL2, b"\x81\0" + COOKED2[2:] + b"\0\7\x08\0" + UDP4),
        (12, UDP4),
        (14, UDP4),
        (101, UDP4),
        (pcap.DLT_IPV4, UDP4),
        (pcap.DLT_NULL, b"\2\0\0\0" + UDP4),
        (pcap.DLT_NULL, b"\0\0\0\2" + UDP4),
        (108, b"\0\0\0\2" + UDP4),
    ],
)
def test_every_link_type(link: int, frame: bytes) -> None:
    packet = only(pcap_file(frame, link=link))
    assert packet == Datagram(1, 1000.0, A, B, 700, 877, b"hello", 0, "")


@pytest.mark.parametrize(
    ("link", "before"),
    [
        (pcap.DLT_EN10MB, None),
        (pcap.DLT_NULL, 24),
        (pcap.DLT_NULL, 28),
        (pcap.DLT_NULL, 30),
        (pcap.DLT_IPV6, b""),
    ],
)
def test_ip_version_6(link: int, before: int | bytes | None) -> None:
    packet = ip6_packet(udp_packet(b"hello"))
    frame = (
        ether(packet)
        if before is None
        else (struct.pack("<I", before) if isinstance(before, int) else b"") + packet
    )
    found = only(pcap_file(frame, link=link))
    assert (found.payload, found.source[-1], found.destination[-1]) == (b"hello", 1, 2)


@given(st.binary(max_size=120), st.sampled_from(sorted(LINKS)))
def test_hostile_packets_end_in_words(data: bytes, link: int) -> None:
    list(read_packets(pcap_file(data, data, link=link)))
