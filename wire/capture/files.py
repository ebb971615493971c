"""Frames out of capture files: pcap and pcapng, read once, in order, in bounded memory.

The layouts of headers and blocks are dpkt's tables of fields. Its readers are not used: they follow a damaged
length anywhere, and know one interface per pcapng file. What cannot be read becomes a `Notice` which says where
and why.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import attrs
from dpkt import pcap, pcapng

from wire.capture.links import LINKS, layout

MAX_FRAME = 262_144
"""Longest packet accepted from a file, in bytes (what libpcap and Wireshark accept too)."""
MAX_BLOCK = 1 << 20
"""Longest pcapng block that is read whole; a longer one which is not a packet is skipped."""


class CaptureError(Exception):
    """A file that is not a capture, or of a kind which cannot be read; the text says which."""


# Tuples, not attrs classes: one is made per packet, and a frozen attrs instance costs three times as much.


class Frame(NamedTuple):
    """One captured frame. `number` counts from 1 through the file, `time` is in seconds since 1970."""

    number: int
    time: float
    link: int
    data: bytes
    comment: str = ""


class Notice(NamedTuple):
    """Something in the capture that could not be read: where, and the reason as a sentence."""

    frame: int
    time: float
    reason: str


def read_frames(file: BinaryIO) -> Iterator[Frame | Notice]:
    """The frames of a pcap or pcapng file, in order; a damaged file ends with a notice.

    Raises CaptureError when the file begins like neither.
    """
    magic = file.read(4)
    if magic == _PCAPNG:
        return _read_pcapng(file)
    if magic in _PCAP:
        return _read_pcap(file, *_PCAP[magic])
    raise CaptureError(
        "this is neither a pcap nor a pcapng file (it is empty)"
        if not magic
        else f"this is neither a pcap nor a pcapng file (it begins with the bytes {magic.hex(' ')})"
    )


def is_capture(path: Path) -> bool:
    """Whether a file begins like one that can be read here. Raises OSError."""
    with path.open("rb") as file:
        magic = file.read(4)
    return magic == _PCAPNG or magic in _PCAP


_PCAPNG = struct.pack("<I", pcapng.PCAPNG_BT_SHB)  # a palindrome: the same in both byte orders
_PCAP: dict[bytes, tuple[str, type[pcap.PktHdr], float]] = {
    struct.pack(order + "I", magic): (order, header, unit)
    for order in "<>"
    for magic, header, unit in (
        (pcap.TCPDUMP_MAGIC, pcap.PktHdr, 1e-6),
        (pcap.TCPDUMP_MAGIC_NANO, pcap.PktHdr, 1e-9),
        (pcap.MODPCAP_MAGIC, pcap.PktModHdr, 1e-6),
    )
}
"""By a pcap file's first bytes: byte order, packet header, and the unit of its times in seconds."""

_new = tuple.__new__  # a named tuple's own constructor takes three times as long


def _read_pcap(
    file: BinaryIO, order: str, header_class: type[pcap.PktHdr], unit: float
) -> Iterator[Frame | Notice]:
    rest = layout(pcap.FileHdr, order, skip=4)
    head = file.read(rest.size)
    if len(head) < rest.size:
        raise CaptureError("this pcap file ends inside its file header")
    link = rest.unpack(head)[-1] & 0xFFFF  # the upper half tells about frame check sequences
    _check_link(link)
    header = layout(header_class, order)
    size, unpack, read = header.size, header.unpack, file.read
    number, time = 0, 0.0
    while head := read(size):
        number += 1
        if len(head) < size:
            yield Notice(number, time, f"the file is cut short in the header of packet {number}")
            return
        fields = unpack(head)
        time = fields[0] + fields[1] * unit
        length = fields[2]
        if length > MAX_FRAME:
            yield Notice(
                number, time, f"packet {number} claims {length:,} bytes: the file is damaged from here on"
            )
            return
        data = read(length)
        if len(data) < length:
            yield Notice(
                number,
                time,
                f"the file is cut short in packet {number}: {len(data)} of its {length} bytes are there",
            )
        yield _new(Frame, (number, time, link, data, ""))


@attrs.define
class _Interface:
    """What a pcapng interface description says that its packets need: link type, clock, and snap length."""

    link: int
    unit: float = 1e-6
    offset: float = 0.0
    snap: int = 0


class _Others:
    """Link types of a file that are not known here, beside such as are."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def met(self, frame: Frame, interfaces: list[_Interface]) -> Notice | None:
        """A notice at the first packet of each. Raises CaptureError where there is no other link type."""
        if all(interface.link not in LINKS for interface in interfaces):
            _check_link(frame.link)
        if frame.link in self._told:
            return None
        self._told.add(frame.link)
        return Notice(frame.number, frame.time, f"{_unknown(frame.link)}: its packets are passed over")


def _read_pcapng(file: BinaryIO) -> Iterator[Frame | Notice]:
    """The blocks of a pcapng file whose first type word has been read (draft-ietf-opsawg-pcapng)."""
    number, time = 0, 0.0
    order = "<"
    interfaces: list[_Interface] = []
    others = _Others()
    kind = pcapng.PCAPNG_BT_SHB
    first = True
    while True:
        word = file.read(4)
        if kind == pcapng.PCAPNG_BT_SHB:  # its byte order comes after its length
            mark = file.read(4)
            order = ">" if mark == struct.pack(">I", pcapng.BYTE_ORDER_MAGIC) else "<"
            if mark != struct.pack(order + "I", pcapng.BYTE_ORDER_MAGIC):
                reason = "the pcapng section header has no byte-order mark"
                if first:
                    raise CaptureError(reason)
                yield Notice(number, time, reason)
                return
            interfaces, first = [], False
        length = struct.unpack(order + "I", word)[0] - 12 if len(word) == 4 else 0
        if kind == pcapng.PCAPNG_BT_SHB:
            length -= 4
        if length < 0 or length % 4:
            yield Notice(
                number,
                time,
                f"a pcapng block after packet {number} has an impossible length: damaged from here on",
            )
            return
        if length > MAX_BLOCK:
            if kind in _PACKET_BLOCKS:
                yield Notice(
                    number,
                    time,
                    f"packet {number + 1} claims {length:,} bytes: the file is damaged from here on",
                )
                return
            body, whole = b"", _skip(file, length)
        else:
            body = file.read(length)
            whole = len(body) == length
        if not whole or len(file.read(4)) < 4:
            yield Notice(number, time, f"the file is cut short after packet {number}")
            return
        if kind == pcapng.PCAPNG_BT_IDB:
            interfaces.append(_interface(body, order))
        elif kind in _PACKET_BLOCKS:
            number += 1
            frame = _block_packet(kind, body, order, interfaces, number, time)
            time = frame.time
            known = (
                frame if isinstance(frame, Notice) or frame.link in LINKS else others.met(frame, interfaces)
            )
            if known is not None:
                yield known
        head = file.read(4)
        if len(head) < 4:
            if head:
                yield Notice(number, time, f"the file is cut short after packet {number}")
            return
        kind = struct.unpack(order + "I", head)[0]


_SIMPLE_PACKET = 3  # pcapng's Simple Packet Block, the one kind of packet that dpkt has no constant for
_PACKET_BLOCKS = frozenset({pcapng.PCAPNG_BT_EPB, pcapng.PCAPNG_BT_PB, _SIMPLE_PACKET})
_EPB = {order: layout(pcapng.EnhancedPacketBlock, order, skip=8) for order in "<>"}
_PB = {order: layout(pcapng.PacketBlock, order, skip=8) for order in "<>"}
_IDB = {order: layout(pcapng.InterfaceDescriptionBlock, order, skip=8) for order in "<>"}
_OPTION = {order: layout(pcapng.PcapngOption, order) for order in "<>"}
_OPT_TSRESOL, _OPT_TSOFFSET = pcapng.PCAPNG_OPT_IF_TSRESOL, pcapng.PCAPNG_OPT_IF_TSOFFSET


def _skip(file: BinaryIO, length: int) -> bool:
    while length > 0:
        piece = len(file.read(min(length, MAX_BLOCK)))
        if not piece:
            return False
        length -= piece
    return True


def _options(body: bytes, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    """The (code, value) pairs of a block's options, as far as they are whole."""
    layout = _OPTION[order]
    while start + layout.size <= len(body):
        code, length = layout.unpack_from(body, start)
        start += layout.size
        if code == pcapng.PCAPNG_OPT_ENDOFOPT:
            return
        yield code, body[start : start + length]
        start += (length + 3) & ~3


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < _IDB[order].size:
        raise CaptureError("a pcapng interface description is too short")
    link, _, snap = _IDB[order].unpack_from(body)
    interface = _Interface(link, snap=snap)
    for code, value in _options(body, _IDB[order].size, order):
        if code == _OPT_TSRESOL and len(value) == 1:
            base = 2.0 if value[0] & 0x80 else 10.0
            interface.unit = base ** -(value[0] & 0x7F)
        elif code == _OPT_TSOFFSET and len(value) == 8:
            interface.offset = float(struct.unpack(order + "q", value)[0])
    return interface


def _block_packet(
    kind: int, body: bytes, order: str, interfaces: list[_Interface], number: int, time: float
) -> Frame | Notice:
    """The frame of one packet block; a simple packet has no time and takes that of the packet before it."""
    comment = ""
    if kind == _SIMPLE_PACKET:
        if len(body) < 4 or not interfaces:
            return Notice(number, time, f"packet {number} belongs to no interface of the file")
        length = struct.unpack_from(order + "I", body)[0]
        snap = interfaces[0].snap or length
        return Frame(number, time, interfaces[0].link, body[4 : 4 + min(length, snap)])
    layout = _EPB[order] if kind == pcapng.PCAPNG_BT_EPB else _PB[order]
    if len(body) < layout.size:
        return Notice(number, time, f"packet {number} ends inside its header")
    index, *_, high, low, captured, _length = layout.unpack_from(body)
    if index >= len(interfaces):
        return Notice(number, time, f"packet {number} belongs to no interface of the file")
    interface = interfaces[index]
    time = interface.offset + ((high << 32) | low) * interface.unit
    end = layout.size + captured
    if captured > MAX_FRAME or end > len(body):
        return Notice(number, time, f"packet {number} claims {captured:,} bytes, more than its block holds")
    options = layout.size + ((captured + 3) & ~3)
    if options < len(body):
        for code, value in _options(body, options, order):
            if code == pcapng.PCAPNG_OPT_COMMENT:
                comment = value.decode("utf-8", "replace")
    return Frame(number, time, interface.link, body[layout.size : end], comment)


def _check_link(link: int) -> None:
    if link not in LINKS:
        raise CaptureError(_unknown(link))


def _unknown(link: int) -> str:
    return f"link type {link} is not known here (Ethernet, Linux cooked v1 and v2, raw IP, BSD loopback are)"
