"""A recorder: what a transport's tap hears becomes a pcapng file, without root and without an interface.

Ethernet, IP and TCP around the bytes are made up, so that any program reads the file: right checksums, a
handshake, sequence numbers, acknowledgements, and an end. The first packet of each conversation carries a
comment that names the service. The layouts of blocks and headers are dpkt's. Recordings hold what was sent,
so nobody else may read the file.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

import attrs
from dpkt import ethernet, ip, ip6, pcap, pcapng, tcp, udp

from wire.capture.links import layout
from wire.capture.packets import ACK, FIN, SYN
from wire.transport.tap import Address, TapEvent

SEGMENT = 60_000
"""Longest TCP segment written, in bytes: what an IP packet holds."""
UNACKNOWLEDGED = 1 << 20
"""Bytes after which the silent side acknowledges; far below the window that the handshake announces."""
WINDOW, WINDOW_SHIFT = 65_535, 14

_PUSH = tcp.TH_PUSH
_MASK = (1 << 32) - 1
_IP4, _IP6, _TCP, _UDP = layout(ip.IP), layout(ip6.IP6), layout(tcp.TCP), layout(udp.UDP)
_ETHERNET = struct.Struct(">6s6sH")
_BLOCK = layout(pcapng.EnhancedPacketBlockLE, "<")
_OPTION = layout(pcapng.PcapngOptionLE, "<")
_OPTION_PROGRAM, _OPTION_INTERFACE = 4, 2
_SYN_OPTIONS = struct.pack(">BBHBBBB", 2, 4, SEGMENT, 1, 3, 3, WINDOW_SHIFT)  # longest segment, window scale


class PcapngFile:
    """A pcapng file of Ethernet packets, made anew at *path* with mode 0600. Raises OSError."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # no pipe, and not /dev/null, which is everybody's
            os.fchmod(descriptor, 0o600)  # the file may have been there
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        end = pcapng.PcapngOptionLE()
        program = pcapng.PcapngOptionLE(code=_OPTION_PROGRAM, data=b"Ghostports")
        name = pcapng.PcapngOptionLE(code=_OPTION_INTERFACE, data=b"ghostports")
        self._file.write(bytes(pcapng.SectionHeaderBlockLE(opts=[program, end])))
        self._file.write(
            bytes(pcapng.InterfaceDescriptionBlockLE(linktype=pcap.DLT_EN10MB, snaplen=0, opts=[name, end]))
        )
        self._file.flush()

    def packet(self, data: bytes, time: float, comment: str = "") -> None:
        """Appends one packet; *time* in seconds since 1970."""
        ticks = round(time * 1e6)
        options = b""
        if comment:
            text = comment.encode()[:0xFFFF]
            options = (
                _OPTION.pack(pcapng.PCAPNG_OPT_COMMENT, len(text)) + text + bytes(-len(text) % 4) + bytes(4)
            )
        padding = bytes(-len(data) % 4)
        length = _BLOCK.size + 4 + len(data) + len(padding) + len(options)
        kind = pcapng.PCAPNG_BT_EPB
        head = _BLOCK.pack(kind, length, 0, ticks >> 32, ticks & _MASK, len(data), len(data))
        self._file.write(b"".join((head, data, padding, options, struct.pack("<I", length))))

    @property
    def closed(self) -> bool:
        return self._file.closed

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@attrs.define
class _Side:
    """One end of a connection: its address, and the next sequence number it will use."""

    address: Address
    packed: bytes
    next: int
    unacknowledged: int = 0


@attrs.define
class _Connection:
    """A TCP connection being recorded; `sides` are client and server."""

    sides: tuple[_Side, _Side]
    local: int
    """Which of the two is the local side."""


_Flow = tuple[Address, Address]


class Recorder:
    """A tap that records: hand it to servers and clients as one of their taps, and close it at the end.

    A connection that both its ends tell of would be recorded twice: give the tap to one of them. Raises
    OSError when the file cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = PcapngFile(path)
        self._connections: dict[_Flow, _Connection] = {}
        self._named: set[_Flow] = set()
        self._count = 0

    def __call__(self, event: TapEvent) -> None:
        """Takes one event of a transport; those after `close` go unrecorded."""
        if self._file.closed:
            return
        if event.kind == "datagram":
            self._datagram(event)
        elif event.kind == "open":
            self._connections.pop((event.local, event.remote), None)
            self._opened(event, event.outgoing)
        elif event.kind == "data" and event.data:
            self._data(event)
        elif event.kind == "close":
            self._closed(event)
        self._file.flush()

    def close(self) -> None:
        """Ends the file; connections that are open have no end in it."""
        self._file.close()

    # ---------------------------------------------------------------------------------------------------- UDP

    def _datagram(self, event: TapEvent) -> None:
        flow = (event.local, event.remote)
        comment = "" if flow in self._named else event.service
        if len(self._named) >= 65_536:
            self._named.clear()
        self._named.add(flow)
        ends = flow if event.outgoing else flow[::-1]
        source, destination = packed_pair(*ends)
        payload = event.data
        head = _UDP.pack(ends[0].port, ends[1].port, _UDP.size + len(payload), 0)
        total = checksum(_pseudo(source, destination, ip.IP_PROTO_UDP, head + payload)) or 0xFFFF
        head = _UDP.pack(ends[0].port, ends[1].port, _UDP.size + len(payload), total)
        self._count += 1
        self._file.packet(
            _frame(source, destination, ip.IP_PROTO_UDP, head + payload, self._count), event.time, comment
        )

    # ---------------------------------------------------------------------------------------------------- TCP

    def _opened(self, event: TapEvent, outgoing: bool) -> _Connection:
        """The handshake; *outgoing* if the local side opened."""
        ends = (event.local, event.remote) if outgoing else (event.remote, event.local)
        packed = packed_pair(*ends)
        start = int.from_bytes(hashlib.sha256(repr((ends, self._count)).encode()).digest()[:8], "big")
        client = _Side(ends[0], packed[0], start & _MASK)
        server = _Side(ends[1], packed[1], start >> 32)
        connection = _Connection((client, server), 0 if outgoing else 1)
        self._connections[event.local, event.remote] = connection
        self._segment(client, server, SYN, b"", event.time, event.service)
        self._segment(server, client, SYN | ACK, b"", event.time)
        self._segment(client, server, ACK, b"", event.time)
        return connection

    def _data(self, event: TapEvent) -> None:
        connection = self._connections.get((event.local, event.remote))
        if connection is None:  # it was open before the recording began; who opened it, the ports suggest
            connection = self._opened(event, event.local.port > event.remote.port)
        source = connection.sides[connection.local if event.outgoing else 1 - connection.local]
        other = connection.sides[1 - connection.local if event.outgoing else connection.local]
        data = memoryview(event.data)
        for start in range(0, len(data), SEGMENT):
            piece = bytes(data[start : start + SEGMENT])
            self._segment(source, other, ACK | _PUSH, piece, event.time)
            if source.unacknowledged >= UNACKNOWLEDGED:
                self._segment(other, source, ACK, b"", event.time)

    def _closed(self, event: TapEvent) -> None:
        connection = self._connections.pop((event.local, event.remote), None)
        if connection is None:
            return
        first = connection.sides[connection.local if event.outgoing else 1 - connection.local]
        second = connection.sides[1 - connection.local if event.outgoing else connection.local]
        self._segment(first, second, FIN | ACK, b"", event.time)
        self._segment(second, first, FIN | ACK, b"", event.time)
        self._segment(first, second, ACK, b"", event.time)

    def _segment(
        self, source: _Side, destination: _Side, flags: int, payload: bytes, time: float, comment: str = ""
    ) -> None:
        options = _SYN_OPTIONS if flags & SYN else b""
        acknowledged = destination.next if flags & ACK else 0
        destination.unacknowledged = 0
        words = (_TCP.size + len(options)) // 4

        def head(total: int) -> bytes:
            return _TCP.pack(
                source.address.port,
                destination.address.port,
                source.next,
                acknowledged,
                words << 12 | flags,
                WINDOW,
                total,
                0,
            )

        protocol = ip.IP_PROTO_TCP
        body = options + payload
        total = checksum(_pseudo(source.packed, destination.packed, protocol, head(0) + body))
        self._count += 1
        packet = _frame(source.packed, destination.packed, protocol, head(total) + body, self._count)
        self._file.packet(packet, time, comment)
        source.next = (source.next + len(payload) + bool(flags & (SYN | FIN))) & _MASK
        source.unacknowledged += len(payload)


# ---------------------------------------------------------------------------------------------------- headers


def checksum(data: bytes) -> int:
    """The Internet checksum of *data* (RFC 1071): a sum of 16-bit words in ones' complement is a remainder by
    65535.
    """
    total = int.from_bytes(data + bytes(len(data) % 2), "big")
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def packed_pair(*ends: Address) -> tuple[bytes, bytes]:
    """Two addresses as they stand in an IP header, both of the same length."""
    first, second = (_packed(end.host) for end in ends)
    if len(first) != len(second):
        first, second = (
            bytes(10) + b"\xff\xff" + part if len(part) == 4 else part for part in (first, second)
        )
    return first, second


def _packed(host: str) -> bytes:
    """An IP address; a name that was not resolved gets one from the range for documentation (RFC 5737)."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError:
        return (
            bytes((127, 0, 0, 1))
            if host == "localhost"
            else bytes((192, 0, 2, hashlib.sha256(host.encode()).digest()[0]))
        )


def _pseudo(source: bytes, destination: bytes, protocol: int, body: bytes) -> bytes:
    """What the checksums of TCP and UDP cover (RFC 9293 3.1, RFC 8200 8.1)."""
    return source + destination + struct.pack(">II", protocol, len(body)) + body


def _frame(source: bytes, destination: bytes, protocol: int, body: bytes, ident: int) -> bytes:
    """An Ethernet frame around a transport's packet; the hardware addresses are made of the IP addresses."""
    if len(source) == 4:
        kind = ethernet.ETH_TYPE_IP
        fields = (0x45, 0, _IP4.size + len(body), ident & 0xFFFF, ip.IP_DF, 64, protocol)
        head = _IP4.pack(*fields, 0, source, destination)
        head = _IP4.pack(*fields, checksum(head), source, destination)
    else:
        kind = ethernet.ETH_TYPE_IP6
        head = _IP6.pack(6 << 28, len(body), protocol, 64, source, destination)
    return _ETHERNET.pack(b"\2\0" + destination[-4:], b"\2\0" + source[-4:], kind) + head + body
