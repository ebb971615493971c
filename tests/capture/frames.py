"""Packets made by hand for the tests of wire.capture, with dpkt's builders."""

from __future__ import annotations

import io
import socket
import struct

from dpkt import ethernet, ip, ip6, pcap, tcp, udp

from wire.capture.packets import ACK, SYN, Segment

A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def tcp_packet(
    payload: bytes = b"", sport: int = 700, dport: int = 877, seq: int = 1, flags: int = ACK
) -> tcp.TCP:
    return tcp.TCP(sport=sport, dport=dport, seq=seq, ack=0, flags=flags, data=payload)


def udp_packet(payload: bytes, sport: int = 700, dport: int = 877) -> udp.UDP:
    return udp.UDP(sport=sport, dport=dport, data=payload, ulen=8 + len(payload))


def ip4(inner: tcp.TCP | udp.UDP, source: bytes = A, destination: bytes = B) -> bytes:
    protocol = ip.IP_PROTO_TCP if isinstance(inner, tcp.TCP) else ip.IP_PROTO_UDP
    return bytes(ip.IP(src=source, dst=destination, p=protocol, data=inner))


def ip6_packet(inner: tcp.TCP | udp.UDP, before: bytes = b"", first: int | None = None) -> bytes:
    protocol = ip.IP_PROTO_TCP if isinstance(inner, tcp.TCP) else ip.IP_PROTO_UDP
    body = before + bytes(inner)
    head = ip6.IP6(
        src=socket.inet_pton(socket.AF_INET6, "fd00::1"),
        dst=socket.inet_pton(socket.AF_INET6, "fd00::2"),
        nxt=protocol if first is None else first,
        plen=len(body),
        hlim=64,
    )
    return bytes(head.pack_hdr()) + body


def ether(packet: bytes, tags: tuple[int, ...] = ()) -> bytes:
    kind = ethernet.ETH_TYPE_IP if packet[0] >> 4 == 4 else ethernet.ETH_TYPE_IP6
    head = b"\2\0\0\0\0\2\2\0\0\0\0\1"
    for tag in tags:
        head += struct.pack(">HH", tag, 7)
    return head + struct.pack(">H", kind) + packet


def pcap_file(*packets: bytes, link: int = pcap.DLT_EN10MB, start: float = 1000.0) -> io.BytesIO:
    file = io.BytesIO()
    writer = pcap.Writer(file, linktype=link)
    for number, packet in enumerate(packets):
        writer.writepkt(packet, start + number)
    file.seek(0)
    return file


def segment(
    payload: bytes = b"",
    seq: int = 0,
    flags: int = ACK,
    back: bool = False,
    ack: int = 0,
    missing: int = 0,
    frame: int = 0,
    port: int = 700,
) -> Segment:
    """A segment from A to B's port 877; `back`: the other way."""
    source, destination, ports = (B, A, (877, port)) if back else (A, B, (port, 877))
    return Segment(
        frame,
        float(frame),
        source,
        destination,
        *ports,
        payload,
        missing,
        "",
        seq % 2**32,
        ack % 2**32,
        flags,
    )


__all__ = [
    "ACK",
    "SYN",
    "A",
    "B",
    "ether",
    "ip4",
    "ip6_packet",
    "pcap_file",
    "segment",
    "tcp_packet",
    "udp_packet",
]
