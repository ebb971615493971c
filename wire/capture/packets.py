"""Packets out of capture files: pcap and pcapng, down to UDP datagrams and TCP segments.

The layouts of files and headers are dpkt's: its tables of fields become the `struct` formats used here. Its
reader classes are not used, because they follow a damaged length anywhere, know one interface per pcapng
file, and build an object per header (ten times slower than this module). Everything is read once, in order,
in bounded memory; what cannot be read becomes a `Notice` which says where and why.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import attrs
from dpkt import ethernet, ip, ip6, loopback, pcap, pcapng, sll, sll2, tcp, udp

MAX_FRAME = 262_144
"""Longest packet accepted from a file, in bytes (what libpcap and Wireshark accept too)."""
MAX_BLOCK = 1 << 20
"""Longest pcapng block that is read whole; a longer one which is not a packet is skipped."""
MAX_PENDING_FRAGMENTS = 256
"""IP datagrams waiting for their missing fragments at once."""
FRAGMENT_SECONDS = 30.0
"""Capture time after which an incomplete IP datagram is given up (RFC 791 suggests 15 s, RFC 8200 60 s)."""

FIN, SYN, RST, ACK = tcp.TH_FIN, tcp.TH_SYN, tcp.TH_RST, tcp.TH_ACK


class CaptureError(Exception):
    """A file that is not a capture, or of a kind which cannot be read; the text says which."""


# Tuples, not attrs classes: several are made per packet, and a frozen attrs instance costs three times as
# much.


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


class Segment(NamedTuple):
    """One TCP segment; addresses are packed (4 or 16 bytes). `missing` payload bytes were cut off by the snap
    length.
    """

    frame: int
    time: float
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    payload: bytes
    missing: int
    comment: str
    sequence: int
    acknowledged: int
    flags: int


class Datagram(NamedTuple):
    """One UDP datagram, put together from its IP fragments; fields as in `Segment`."""

    frame: int
    time: float
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    payload: bytes
    missing: int
    comment: str


Packet = Segment | Datagram


def read_packets(file: BinaryIO) -> Iterator[Packet | Notice]:
    """The UDP datagrams and TCP segments of a capture file, in file order, with notices where it is damaged.

    Raises CaptureError when the file is not a capture, or is of a link type which carries no IP.
    """
    decoder = Decoder()
    decode = decoder.decode
    for item in read_frames(file):
        if type(item) is Frame:
            packet = decode(item)
            if packet is not None:
                yield packet
            if decoder.notices:
                yield from decoder.notices
                decoder.notices.clear()
        else:
            assert isinstance(item, Notice)
            yield item
    yield from decoder.finish()


# ------------------------------------------------------------------------------------------------------ files


def read_frames(file: BinaryIO) -> Iterator[Frame | Notice]:
    """The frames of a pcap or pcapng file, in order; a damaged file ends with a notice.

    Raises CaptureError when the file begins like neither.
    """
    magic = file.read(4)
    if magic == struct.pack("<I", pcapng.PCAPNG_BT_SHB):  # a palindrome: the same in both byte orders
        return _read_pcapng(file)
    if len(magic) == 4:
        for order in "<>":
            number = struct.unpack(order + "I", magic)[0]
            if number in _PCAP_MAGIC:
                return _read_pcap(file, order, number)
    raise CaptureError(
        "this is neither a pcap nor a pcapng file (it is empty)"
        if not magic
        else f"this is neither a pcap nor a pcapng file (it begins with the bytes {magic.hex(' ')})"
    )


_PCAP_MAGIC: dict[int, tuple[type[pcap.PktHdr], float]] = {
    pcap.TCPDUMP_MAGIC: (pcap.PktHdr, 1e-6),
    pcap.TCPDUMP_MAGIC_NANO: (pcap.PktHdr, 1e-9),
    pcap.MODPCAP_MAGIC: (pcap.PktModHdr, 1e-6),
}


def layout(header: type, order: str = ">", skip: int = 0) -> struct.Struct:
    """The `struct` of a dpkt header's table of fields, from its byte `skip` on (a pcapng block's closing
    length left out).
    """
    codes = [code for name, code, _ in header.__hdr__ if name != "_len"]  # type: ignore[attr-defined]
    while skip:
        skip -= struct.calcsize(">" + codes.pop(0))
    return struct.Struct(order + "".join(codes))


def _read_pcap(file: BinaryIO, order: str, magic: int) -> Iterator[Frame | Notice]:
    rest = layout(pcap.FileHdr, order, skip=4)
    head = file.read(rest.size)
    if len(head) < rest.size:
        raise CaptureError("this pcap file ends inside its file header")
    link = rest.unpack(head)[-1] & 0xFFFF  # the upper half tells about frame check sequences
    _check_link(link)
    header_class, unit = _PCAP_MAGIC[magic]
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
        yield Frame(number, time, link, data)


@attrs.define
class _Interface:
    """What a pcapng interface description says that its packets need: link type, clock, and snap length."""

    link: int
    unit: float = 1e-6
    offset: float = 0.0
    snap: int = 0


def _read_pcapng(file: BinaryIO) -> Iterator[Frame | Notice]:
    """The blocks of a pcapng file whose first type word has been read (draft-ietf-opsawg-pcapng)."""
    number, time = 0, 0.0
    order = "<"
    interfaces: list[_Interface] = []
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
            interface = _interface(body, order)
            _check_link(interface.link)
            interfaces.append(interface)
        elif kind in _PACKET_BLOCKS:
            number += 1
            frame = _block_packet(kind, body, order, interfaces, number, time)
            time = frame.time
            yield frame
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


# ------------------------------------------------------------------------------------------------ link layers

_ETHERTYPE = struct.Struct(">H")
_VLAN = frozenset({ethernet.ETH_TYPE_8021Q, ethernet.ETH_TYPE_8021AD, 0x9100})
_SNAP = bytes((0xAA, 0xAA, 3, 0, 0, 0))
_ETHERNET_TYPE = 12  # where dpkt.ethernet.Ethernet has its `type`
_SLL_TYPE = sll.SLL.__hdr_len__ - 2
_FAMILIES = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}
"""Address families of BSD loopback headers: AF_INET, and AF_INET6 of Linux, NetBSD, FreeBSD and Mac OS."""


def _after_type(data: bytes, offset: int) -> tuple[int, int]:
    """IP version and offset of what an Ethernet type at `offset` announces, through VLAN tags; (0, 0) if not
    IP.
    """
    kind = _ETHERTYPE.unpack_from(data, offset)[0]
    offset += 2
    while kind in _VLAN:
        kind = _ETHERTYPE.unpack_from(data, offset + 2)[0]
        offset += 4
    if kind <= 1500 and data[offset : offset + 6] == _SNAP:
        kind = _ETHERTYPE.unpack_from(data, offset + 6)[0]
        offset += 8
    if kind == ethernet.ETH_TYPE_IP:
        return 4, offset
    if kind == ethernet.ETH_TYPE_IP6:
        return 6, offset
    return 0, 0


def _ethernet(data: bytes) -> tuple[int, int]:
    return _after_type(data, _ETHERNET_TYPE)


def _cooked(data: bytes) -> tuple[int, int]:
    return _after_type(data, _SLL_TYPE)


def _cooked_v2(data: bytes) -> tuple[int, int]:
    version, offset = _after_type(data[:2] + data[sll2.SLL2.__hdr_len__ :], 0)
    return version, offset + sll2.SLL2.__hdr_len__ - 2


def _raw(data: bytes) -> tuple[int, int]:
    return data[0] >> 4, 0


def _bsd_loopback(data: bytes) -> tuple[int, int]:
    size = loopback.Loopback.__hdr_len__
    family = data[:size]
    number = family[0] or family[size - 1]  # of the recording machine's byte order
    return _FAMILIES.get(number, 0), size


_LINKS: dict[int, Callable[[bytes], tuple[int, int]]] = {
    pcap.DLT_NULL: _bsd_loopback,
    pcap.DLT_EN10MB: _ethernet,
    12: _raw,  # DLT_RAW is 12, 14 or 101, as the recording system had it
    14: _raw,
    101: _raw,
    108: _bsd_loopback,
    pcap.DLT_LINUX_SLL: _cooked,
    pcap.DLT_IPV4: _raw,
    pcap.DLT_IPV6: _raw,
    pcap.DLT_LINUX_SLL2: _cooked_v2,
}


def _check_link(link: int) -> None:
    if link not in _LINKS:
        raise CaptureError(
            f"link type {link} is not known here (Ethernet, Linux cooked v1 and v2, raw IP, BSD loopback are)"
        )


# --------------------------------------------------------------------------------------------------------- IP

_IP4, _IP6, _TCP, _UDP = layout(ip.IP), layout(ip6.IP6), layout(tcp.TCP), layout(udp.UDP)
_unpack_ip4, _unpack_tcp = _IP4.unpack_from, _TCP.unpack_from
_PLAIN_IP4 = 0x45  # version 4, no options
_FRAGMENTED = ip.IP_MF | ip.IP_OFFMASK
_IP6_FRAGMENT = struct.Struct(">BBHI")
_EXTENSIONS = frozenset({ip.IP_PROTO_HOPOPTS, ip.IP_PROTO_ROUTING, ip.IP_PROTO_DSTOPTS, ip.IP_PROTO_AH})
_MAX_EXTENSIONS = 16
_MAX_DATAGRAM = 65_535


@attrs.define
class _Fragments:
    """The fragments seen of one IP datagram: bytes by offset, and the total once the last one is known."""

    frame: int
    time: float
    parts: dict[int, bytes] = attrs.field(factory=dict)
    held: int = 0
    total: int = -1

    def whole(self) -> bytes | None:
        """The datagram, when no part is missing; an overlap keeps what came first."""
        if self.total < 0 or self.held < self.total:
            return None
        data = bytearray()
        for offset in sorted(self.parts):
            if offset > len(data):
                return None
            data += self.parts[offset][len(data) - offset :]
        return bytes(data[: self.total]) if len(data) >= self.total else None


class Decoder:
    """Frames to datagrams and segments; remembers IP fragments, at most MAX_PENDING_FRAGMENTS datagrams of
    them.

    `notices` collects what could not be decoded; the caller empties it.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._pending: dict[tuple[bytes, bytes, int, int], _Fragments] = {}

    def decode(self, frame: Frame) -> Packet | None:
        """The datagram or segment that this frame carries or completes; None when it holds something else."""
        number, time, link, data, comment = frame
        try:
            version, start = _LINKS[link](data)
            if version == 4:
                head, _, total, _, fragment, _, protocol, _, source, destination = _unpack_ip4(data, start)
                if head == _PLAIN_IP4 and protocol == ip.IP_PROTO_TCP and not fragment & _FRAGMENTED:
                    end = start + total
                    if total and end <= len(data):  # the way that nearly all packets take
                        start += _IP4.size
                        sport, dport, seq, ack, words, _, _, _ = _unpack_tcp(data, start)
                        payload = data[start + (words >> 12) * 4 : end]
                        return Segment(
                            number,
                            time,
                            source,
                            destination,
                            sport,
                            dport,
                            payload,
                            0,
                            comment,
                            seq,
                            ack,
                            words & 0x1FF,
                        )
                return self._ip4(frame, data, start)
            if version == 6:
                return self._ip6(frame, data, start)
        except (struct.error, IndexError):
            self.notices.append(Notice(number, time, f"packet {number} is cut off inside its headers"))
        return None

    def finish(self) -> list[Notice]:
        """Call at the end of the capture: the datagrams of which fragments were still missing."""
        for pending in self._pending.values():
            self._incomplete(pending)
        self._pending.clear()
        return self.notices

    def _ip4(self, frame: Frame, data: bytes, start: int) -> Packet | None:
        head, _, total, ident, fragment, _, protocol, _, source, destination = _IP4.unpack_from(data, start)
        size = (head & 15) * 4
        if head >> 4 != 4 or size < 20:
            return None
        # A total of 0 is what a recorder sees of a segment that the network card will cut up (TSO).
        end = start + total if total else len(data)
        missing = max(0, end - len(data))
        start += size
        if fragment & _FRAGMENTED:
            return self._fragment(
                frame,
                (source, destination, ident, protocol),
                data[start:end],
                (fragment & ip.IP_OFFMASK) * 8,
                bool(fragment & ip.IP_MF),
                missing,
            )
        return _transport(frame, protocol, source, destination, data, start, end, missing)

    def _ip6(self, frame: Frame, data: bytes, start: int) -> Packet | None:
        head, length, protocol, _, source, destination = _IP6.unpack_from(data, start)
        if head >> 28 != 6:
            return None
        start += _IP6.size
        end = start + length if length else len(data)
        missing = max(0, end - len(data))
        for _ in range(_MAX_EXTENSIONS):
            if protocol in _EXTENSIONS:
                step = (data[start + 1] + 2) * 4 if protocol == ip.IP_PROTO_AH else (data[start + 1] + 1) * 8
                protocol = data[start]
                start += step
            elif protocol == ip.IP_PROTO_FRAGMENT:
                protocol, _, place, ident = _IP6_FRAGMENT.unpack_from(data, start)
                start += _IP6_FRAGMENT.size
                if place & 0xFFF9:
                    key = (source, destination, ident, protocol)
                    return self._fragment(
                        frame, key, data[start:end], place & 0xFFF8, bool(place & 1), missing
                    )
            else:
                return _transport(frame, protocol, source, destination, data, start, end, missing)
        return None

    def _fragment(
        self,
        frame: Frame,
        key: tuple[bytes, bytes, int, int],
        part: bytes,
        offset: int,
        more: bool,
        missing: int,
    ) -> Packet | None:
        if key[3] not in (ip.IP_PROTO_TCP, ip.IP_PROTO_UDP):
            return None
        if missing or offset + len(part) > _MAX_DATAGRAM:
            reason = "is cut off" if missing else "reaches past the longest datagram"
            self.notices.append(
                Notice(frame.number, frame.time, f"the IP fragment in packet {frame.number} {reason}")
            )
            return None
        self._expire(frame.time)
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = _Fragments(frame.number, frame.time)
        if offset not in pending.parts and pending.held <= 2 * _MAX_DATAGRAM:
            pending.parts[offset] = part
            pending.held += len(part)
        if not more:
            pending.total = offset + len(part)
        data = pending.whole()
        if data is None:
            return None
        del self._pending[key]
        return _transport(frame, key[3], key[0], key[1], data, 0, len(data), 0)

    def _expire(self, now: float) -> None:
        while self._pending:
            key, oldest = next(iter(self._pending.items()))
            if len(self._pending) < MAX_PENDING_FRAGMENTS and now - oldest.time < FRAGMENT_SECONDS:
                return
            del self._pending[key]
            self._incomplete(oldest)

    def _incomplete(self, pending: _Fragments) -> None:
        reason = f"fragments are missing of the IP datagram that begins in packet {pending.frame}"
        self.notices.append(Notice(pending.frame, pending.time, reason))


def _transport(
    frame: Frame,
    protocol: int,
    source: bytes,
    destination: bytes,
    data: bytes,
    start: int,
    end: int,
    missing: int,
) -> Packet | None:
    if protocol == ip.IP_PROTO_TCP:
        ports_from, ports_to, sequence, acknowledged, off_flags, _, _, _ = _TCP.unpack_from(data, start)
        start += (off_flags >> 12) * 4
        return Segment(
            frame.number,
            frame.time,
            source,
            destination,
            ports_from,
            ports_to,
            data[start:end],
            min(missing, end - start) if missing else 0,
            frame.comment,
            sequence,
            acknowledged,
            off_flags & 0x1FF,
        )
    if protocol == ip.IP_PROTO_UDP:
        ports_from, ports_to, length, _ = _UDP.unpack_from(data, start)
        if length >= _UDP.size:
            end = min(end, start + length)
        start += _UDP.size
        payload = data[start:end]
        return Datagram(
            frame.number,
            frame.time,
            source,
            destination,
            ports_from,
            ports_to,
            payload,
            end - start - len(payload),
            frame.comment,
        )
    return None
