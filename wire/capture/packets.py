"""Packets out of frames: through link layer and IP down to UDP datagrams and TCP segments.

Headers are read with dpkt's tables of fields (`wire.capture.links.layout`). Plain IPv4 in Ethernet, which nearly all
captures hold, goes a shorter way to the same results.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dpkt import ethernet, ip, ip6, pcap, tcp, udp

from wire.capture.files import Frame, Notice, read_frames
from wire.capture.fragments import MAX_DATAGRAM, Fragments, Key
from wire.capture.links import LINKS, layout

FIN, SYN, RST, ACK = tcp.TH_FIN, tcp.TH_SYN, tcp.TH_RST, tcp.TH_ACK


# Tuples, not attrs classes: one is made per packet, and a frozen attrs instance costs three times as much.


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
    decode, notices = decoder.decode, decoder.notices
    for item in read_frames(file):
        if type(item) is Frame:
            packet = decode(item)
            if packet is not None:
                yield packet
            if notices:
                yield from notices
                notices.clear()
        else:
            yield item  # type: ignore[misc]
    decoder.finish()
    yield from notices


_IP4, _IP6, _UDP = layout(ip.IP), layout(ip6.IP6), layout(udp.UDP)
_TCP = layout(tcp.TCP, only={"sport", "dport", "seq", "ack", "_off_flags"})
_IN_ETHERNET = struct.Struct(
    layout(ethernet.Ethernet, only={"type"}).format
    + layout(ip.IP, only={"_v_hl", "len", "_flags_offset", "p", "src", "dst"}).format[1:]
)
_PLAIN_IP4 = 0x45  # version 4, no options
_FRAGMENTED = ip.IP_MF | ip.IP_OFFMASK
_IP6_FRAGMENT = struct.Struct(">BBHI")
_EXTENSIONS = frozenset({ip.IP_PROTO_HOPOPTS, ip.IP_PROTO_ROUTING, ip.IP_PROTO_DSTOPTS, ip.IP_PROTO_AH})
_MAX_EXTENSIONS = 16


class Decoder:
    """Frames to datagrams and segments. `notices` collects what could not be decoded; the caller empties it."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._fragments = Fragments()

    def decode(self, frame: Frame) -> Packet | None:
        """The datagram or segment that this frame carries or completes; None when it holds something else."""
        number, time, link, data, _ = frame
        try:
            if link == pcap.DLT_EN10MB and len(data) >= _IN_ETHERNET.size:
                kind, head, total, fragment, protocol, source, destination = _unpack(data)
                end = _HEADER + total
                if (
                    kind == _IP
                    and head == _PLAIN_IP4
                    and not fragment & _FRAGMENTED
                    and total
                    and end <= len(data)
                ):
                    return _transport(frame, protocol, source, destination, data, _IN_ETHERNET.size, end, 0)
            version, start = LINKS[link](data)
            if version == 4:
                return self._ip4(frame, data, start)
            if version == 6:
                return self._ip6(frame, data, start)
        except (struct.error, IndexError):
            self.notices.append(Notice(number, time, f"packet {number} is cut off inside its headers"))
        return None

    def finish(self) -> None:
        """Call at the end of the capture: gives up datagrams of which fragments are still missing."""
        self._fragments.finish()
        self._tell_given_up()

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
            key = (source, destination, ident, protocol)
            place, more = (fragment & ip.IP_OFFMASK) * 8, bool(fragment & ip.IP_MF)
            return self._fragment(frame, key, data[start:end], place, more, missing)
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
        self, frame: Frame, key: Key, part: bytes, offset: int, more: bool, missing: int
    ) -> Packet | None:
        if key[3] not in (ip.IP_PROTO_TCP, ip.IP_PROTO_UDP):
            return None
        if missing or offset + len(part) > MAX_DATAGRAM:
            reason = "is cut off" if missing else "reaches past the longest datagram"
            self._notice(frame.number, frame.time, f"the IP fragment in packet {frame.number} {reason}")
            return None
        data = self._fragments.add(key, part, offset, more, frame.number, frame.time)
        self._tell_given_up()
        if data is None:
            return None
        return _transport(frame, key[3], key[0], key[1], data, 0, len(data), 0)

    def _tell_given_up(self) -> None:
        for frame, time in self._fragments.given_up:
            self._notice(
                frame, time, f"fragments are missing of the IP datagram that begins in packet {frame}"
            )
        self._fragments.given_up.clear()

    def _notice(self, frame: int, time: float, reason: str) -> None:
        self.notices.append(Notice(frame, time, reason))


_new = tuple.__new__  # named tuples' own constructors take three times as long
_unpack = _IN_ETHERNET.unpack_from
_unpack_tcp = _TCP.unpack_from
_HEADER = ethernet.Ethernet.__hdr_len__
_IP = ethernet.ETH_TYPE_IP


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
    """The segment or datagram at *start* of *data*, whose IP packet reaches to *end*, *missing* bytes past the data."""
    if protocol == ip.IP_PROTO_TCP:
        from_port, to_port, sequence, acknowledged, words = _unpack_tcp(data, start)
        start += (words >> 12) * 4
        missing = min(missing, max(0, end - start)) if missing else 0
        payload = data[start:end]
        return _new(
            Segment, (frame[0], frame[1], source, destination, from_port, to_port, payload, missing, frame[4], sequence,
                      acknowledged, words & 0x1FF)
        )  # fmt: skip
    if protocol == ip.IP_PROTO_UDP:
        from_port, to_port, length, _ = _UDP.unpack_from(data, start)
        if length >= _UDP.size:
            end = min(end, start + length)
        start += _UDP.size
        payload = data[start:end]
        missing = max(0, end - start - len(payload))
        return _new(
            Datagram, (frame[0], frame[1], source, destination, from_port, to_port, payload, missing, frame[4])
        )  # fmt: skip
    return None
