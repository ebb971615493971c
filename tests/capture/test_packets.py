"""wire.capture.packets: IP, UDP and TCP, and what damage becomes."""

from __future__ import annotations

from pathlib import Path

from dpkt import ip, pcap
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import TCP4, UDP4, A, B, ether, ip6_packet, only, pcap_file, udp_packet
from wire.capture.files import Frame, Notice
from wire.capture.packets import ACK, Decoder, Segment, read_packets

CAPTURES = Path(__file__).parent.parent / "captures"


def test_ip_version_6_extension_headers() -> None:
    hop, authentication = bytes((51, 0)) + bytes(6), bytes((17, 1)) + bytes(10)
    found = only(pcap_file(ip6_packet(udp_packet(b"hello"), hop + authentication, first=0), link=101))
    assert found.payload == b"hello"


def test_a_tcp_segment() -> None:
    segment = only(pcap_file(ether(TCP4)))
    assert isinstance(segment, Segment)
    assert (segment.sequence, segment.payload, segment.flags) == (5, b"hello", ACK)


def test_offloaded_segment_with_total_length_zero() -> None:
    segment = only(pcap_file(ether(TCP4[:2] + b"\0\0" + TCP4[4:])))
    assert segment.payload == b"hello"


def test_other_protocols_are_passed_over() -> None:
    icmp = bytes(ip.IP(src=A, dst=B, p=ip.IP_PROTO_ICMP, data=b"ping"))
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    assert list(read_packets(pcap_file(ether(icmp), arp))) == []


def test_snapped_packets_tell_what_is_missing() -> None:
    packet = only(pcap_file(ether(TCP4)[:-3]))
    assert (packet.payload, packet.missing) == (b"he", 3)
    packet = only(pcap_file(ether(UDP4)[:-3]))
    assert (packet.payload, packet.missing) == (b"he", 3)
    (notice,) = read_packets(pcap_file(ether(UDP4)[:30]))
    assert isinstance(notice, Notice)
    assert notice.reason == "packet 1 is cut off inside its headers"


def test_every_recording_is_read_whole() -> None:
    for path in sorted(CAPTURES.glob("*/*.pcap")):
        with path.open("rb") as file:
            found = list(read_packets(file))
        assert found
        assert not [packet for packet in found if isinstance(packet, Notice)], path.name


@given(st.sampled_from([TCP4, UDP4]), st.data())
def test_the_short_way_gives_what_the_long_way_gives(packet: bytes, data: st.DataObject) -> None:
    """Damaged or not, plain IPv4 in Ethernet is read as the same packet without a link layer."""
    bare = bytearray(packet)
    for _ in range(data.draw(st.integers(0, 3))):
        bare[data.draw(st.integers(0, len(bare) - 1))] = data.draw(st.integers(0, 255))
    short = bytes(bare[: data.draw(st.integers(0, len(bare)))])
    found = []
    for link, frame in ((pcap.DLT_EN10MB, bytes(12) + b"\x08\0" + short), (pcap.DLT_IPV4, short)):
        decoder = Decoder()
        found.append((decoder.decode(Frame(1, 0.0, link, frame)), decoder.notices))
    if short[:1] and short[0] >> 4 == 4:
        assert found[0] == found[1]
