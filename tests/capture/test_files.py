"""wire.capture.files: pcap and pcapng of every kind, and what damage becomes."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import pytest
from dpkt import pcap, pcapng
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import TCP4, UDP4, ether, only, pcap_file
from wire.capture.files import CaptureError, Notice
from wire.capture.packets import Datagram, Segment, read_packets

CAPTURES = Path(__file__).parent.parent / "captures"


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


@given(st.data())
def test_a_damaged_real_capture_is_read_to_some_end(data: st.DataObject) -> None:
    whole = bytearray((CAPTURES / "netinfo" / "next-binding.pcap").read_bytes()[:6000])
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(24, len(whole) - 1))] = data.draw(st.integers(0, 255))
    list(read_packets(io.BytesIO(bytes(whole))))


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


def test_pcapng_with_an_interface_of_another_kind() -> None:
    """Wireshark can record USB or Bluetooth beside Ethernet: what is known is read all the same."""
    usb, other = 189, enhanced(0, 1, b"not IP")
    data = (
        section()
        + interface(usb)
        + interface(101)
        + other
        + enhanced(1, 2, UDP4)
        + other
        + enhanced(1, 3, UDP4)
    )
    notice, *found = read_packets(io.BytesIO(data))
    assert isinstance(notice, Notice)
    assert notice.reason.startswith("link type 189 is not known here")
    assert [packet.frame for packet in found] == [2, 4]


def test_pcapng_without_any_interface_that_is_known() -> None:
    with pytest.raises(CaptureError, match="link type 105 is not known"):
        list(read_packets(io.BytesIO(section() + interface(105) + enhanced(0, 1, UDP4))))


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
