"""wire.capture.packets: every kind of file and link, IP fragments, and what damage becomes."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import pytest
from dpkt import ip, pcap, pcapng, udp
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import A, B, ether, ip4, ip6_packet, pcap_file, tcp_packet, udp_packet
from wire.capture import packets
from wire.capture.packets import CaptureError, Datagram, Notice, Segment, read_packets

CAPTURES = Path(__file__).parent.parent / "captures"
UDP4 = ip4(udp_packet(b"hello"))
TCP4 = ip4(tcp_packet(b"hello", seq=5))
COOKED = struct.pack(">HHH8s", 0, 1, 6, bytes(8))
COOKED2 = struct.pack(">HHiHBB8s", 0x0800, 0, 1, 1, 0, 6, bytes(8))


def only(file: io.BytesIO) -> Datagram | Segment:
    (packet,) = read_packets(file)
    assert not isinstance(packet, Notice)
    return packet


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


def test_ip_version_6_extension_headers() -> None:
    hop, authentication = bytes((51, 0)) + bytes(6), bytes((17, 1)) + bytes(10)
    found = only(pcap_file(ip6_packet(udp_packet(b"hello"), hop + authentication, first=0), link=101))
    assert found.payload == b"hello"


def test_a_tcp_segment() -> None:
    segment = only(pcap_file(ether(TCP4)))
    assert isinstance(segment, Segment)
    assert (segment.sequence, segment.payload, segment.flags) == (5, b"hello", packets.ACK)


def test_offloaded_segment_with_total_length_zero() -> None:
    segment = only(pcap_file(ether(TCP4[:2] + b"\0\0" + TCP4[4:])))
    assert segment.payload == b"hello"


def test_other_protocols_are_passed_over() -> None:
    icmp = bytes(ip.IP(src=A, dst=B, p=ip.IP_PROTO_ICMP, data=b"ping"))
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    assert list(read_packets(pcap_file(ether(icmp), arp))) == []


# -------------------------------------------------------------------------------------------------- fragments


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
    lonely = [fragments(bytes(100), ident=number)[0] for number in range(3 * packets.MAX_PENDING_FRAGMENTS)]
    decoder = packets.Decoder()
    for number, frame in enumerate(lonely):
        decoder.decode(packets.Frame(number + 1, 1000.0, 1, frame))
        assert len(decoder._pending) <= packets.MAX_PENDING_FRAGMENTS
    assert len(decoder.notices) == 2 * packets.MAX_PENDING_FRAGMENTS
    decoder.decode(packets.Frame(9999, 1000.0 + packets.FRAGMENT_SECONDS, 1, lonely[0]))
    assert len(decoder._pending) == 1


def test_a_flood_of_overlapping_fragments_stays_small() -> None:
    decoder = packets.Decoder()
    for offset in range(4000):
        part = ip.IP(src=A, dst=B, p=17, id=1, _flags_offset=ip.IP_MF | offset, len=1020, data=bytes(1000))
        decoder.decode(packets.Frame(1, 0.0, 1, ether(bytes(part))))
    (pending,) = decoder._pending.values()
    assert sum(map(len, pending.parts.values())) < 200_000


# ----------------------------------------------------------------------------------------------------- damage


def test_snapped_packets_tell_what_is_missing() -> None:
    packet = only(pcap_file(ether(TCP4)[:-3]))
    assert (packet.payload, packet.missing) == (b"he", 3)
    packet = only(pcap_file(ether(UDP4)[:-3]))
    assert (packet.payload, packet.missing) == (b"he", 3)
    (notice,) = read_packets(pcap_file(ether(UDP4)[:30]))
    assert isinstance(notice, Notice)
    assert notice.reason == "packet 1 is cut off inside its headers"


def test_a_file_cut_short_is_read_as_far_as_it_goes() -> None:
    whole = pcap_file(ether(UDP4), ether(TCP4)).getvalue()
    found = list(read_packets(io.BytesIO(whole[:-2])))
    assert isinstance(found[0], Datagram)
    assert isinstance(found[1], Notice)
    assert found[1].reason == "the file is cut short in packet 2: 57 of its 59 bytes are there"
    assert isinstance(found[2], Segment)
    assert found[2].missing == 2
    (_, notice) = read_packets(io.BytesIO(whole[: 24 + 16 + len(ether(UDP4)) + 5]))
    assert isinstance(notice, Notice)
    assert notice.reason == "the file is cut short in the header of packet 2"


def test_a_length_out_of_this_world_ends_the_file() -> None:
    data = bytearray(pcap_file(ether(UDP4), ether(UDP4)).getvalue())
    data[24 + 8 : 24 + 12] = b"\xff\xff\xff\x7f"
    (notice,) = read_packets(io.BytesIO(bytes(data)))
    assert isinstance(notice, Notice)
    assert "2,147,483,647" in notice.reason


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"GET / HTTP/1.0", "begins with the bytes 47 45 54 20"),
        (b"\xd4\xc3\xb2\xa1\2\0", "ends inside its file header"),
        (pcap_file(b"", link=105).getvalue(), "link type 105 is not known"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0abcd", "no byte-order mark"),
    ],
)
def test_files_of_other_kinds_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(CaptureError, match=sentence):
        list(read_packets(io.BytesIO(data)))


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b"\xa1\xb2\x3c\x4d"]),
)
def test_hostile_files_end_in_words(data: bytes, magic: bytes) -> None:
    with contextlib.suppress(CaptureError):
        list(read_packets(io.BytesIO(magic + data)))


@given(st.binary(max_size=120), st.sampled_from(sorted(packets._LINKS)))
def test_hostile_packets_end_in_words(data: bytes, link: int) -> None:
    list(read_packets(pcap_file(data, data, link=link)))


@given(st.data())
def test_a_damaged_real_capture_is_read_to_some_end(data: st.DataObject) -> None:
    whole = bytearray((CAPTURES / "netinfo" / "next-binding.pcap").read_bytes()[:6000])
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(24, len(whole) - 1))] = data.draw(st.integers(0, 255))
    list(read_packets(io.BytesIO(bytes(whole))))


# ----------------------------------------------------------------------------------------------------- pcapng


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(pcapng.PCAPNG_BT_SHB, struct.pack(order + "IHHq", pcapng.BYTE_ORDER_MAGIC, 1, 0, -1), order)


def interface(link: int, options: bytes = b"", order: str = "<") -> bytes:
    return block(pcapng.PCAPNG_BT_IDB, struct.pack(order + "HHI", link, 0, 0) + options, order)


def enhanced(index: int, ticks: int, data: bytes, options: bytes = b"", order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(pcapng.PCAPNG_BT_EPB, head + data + bytes(-len(data) % 4) + options, order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_two_interfaces_clocks_and_a_comment(order: str) -> None:
    nanoseconds = struct.pack(order + "HHB3x", 9, 1, 9)
    shifted = struct.pack(order + "HHB3xHHq", 9, 1, 0x80 | 10, 14, 8, 100)
    comment = struct.pack(order + "HH", 1, 8) + b"netinfod" + bytes(4)
    data = (
        section(order)
        + interface(pcap.DLT_EN10MB, nanoseconds, order)
        + interface(101, shifted, order)
        + block(4, b"names of hosts", order)
        + enhanced(0, 5_000_000_000, ether(UDP4), comment, order)
        + enhanced(1, 7 * 1024, UDP4, order=order)
        + block(3, struct.pack(order + "I", len(ether(UDP4))) + ether(UDP4), order)
    )
    found = [packet for packet in read_packets(io.BytesIO(data)) if isinstance(packet, Datagram)]
    assert [(packet.time, packet.comment) for packet in found] == [
        (5.0, "netinfod"),
        (107.0, ""),
        (107.0, ""),
    ]


def test_pcapng_sections_of_both_byte_orders_in_one_file() -> None:
    data = b"".join(
        section(order) + interface(101, order=order) + enhanced(0, 1, UDP4, order=order)
        for order in ("<", ">", "<")
    )
    assert len(list(read_packets(io.BytesIO(data)))) == 3


def test_dpkt_writes_what_is_read() -> None:
    file = io.BytesIO()
    writer = pcapng.Writer(file, linktype=pcap.DLT_EN10MB)
    writer.writepkt(ether(UDP4), 1000.25)
    file.seek(0)
    assert only(file).time == 1000.25


@pytest.mark.parametrize(
    ("tail", "sentence"),
    [
        (enhanced(0, 1, UDP4)[:-8], "cut short after packet 0"),
        (b"\6\0", "cut short after packet 0"),
        (struct.pack("<II", 6, 2), "impossible length"),
        (struct.pack("<II", 6, 0x7FFFFFFC), "claims 2,147,483,632 bytes"),
        (struct.pack("<II", 99, 0x7FFFFFFC) + bytes(50), "cut short"),
        (enhanced(4, 1, UDP4), "packet 1 belongs to no interface"),
        (block(pcapng.PCAPNG_BT_EPB, bytes(8)), "ends inside its header"),
        (block(pcapng.PCAPNG_BT_EPB, struct.pack("<IIIII", 0, 0, 0, 900, 900)), "claims 900 bytes"),
        (b"\x0a\x0d\x0d\x0a" + bytes(8), "no byte-order mark"),
    ],
)
def test_damaged_pcapng_is_named(tail: bytes, sentence: str) -> None:
    (notice,) = read_packets(io.BytesIO(section() + interface(101) + tail))
    assert isinstance(notice, Notice)
    assert sentence in notice.reason


@given(st.data())
def test_damaged_pcapng_is_read_to_some_end(data: st.DataObject) -> None:
    whole = bytearray(section() + interface(1) + enhanced(0, 1, ether(UDP4)) + enhanced(0, 2, ether(TCP4)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(28, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CaptureError):
        list(read_packets(io.BytesIO(bytes(whole))))


def test_every_recording_is_read_whole() -> None:
    for path in sorted(CAPTURES.glob("*/*.pcap")):
        with path.open("rb") as file:
            found = list(read_packets(file))
        assert found
        assert not [packet for packet in found if isinstance(packet, Notice)], path.name
