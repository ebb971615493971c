"""Packets made by hand for the tests of wire.capture, with dpkt's builders."""

from __future__ import annotations

import io
import socket
import struct
from collections.abc import Iterable, Mapping

from dpkt import ethernet, ip, ip6, pcap, tcp, udp

from wire.capture.conversations import Dissector
from wire.capture.files import Notice
from wire.capture.messages import Message
from wire.capture.packets import ACK, FIN, SYN, Datagram, Packet, Segment, read_packets
from wire.capture.sup import OpenFile
from wire.capture.text import explained, summary
from wire.capture.values import as_dict
from wire.codec import codec
from wire.formats import rpc
from wire.formats.netinfo import NETINFO
from wire.formats.rpc import AUTH_NONE, Program

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


UDP4 = ip4(udp_packet(b"hello"))
TCP4 = ip4(tcp_packet(b"hello", seq=5))


def only(file: io.BytesIO) -> Datagram | Segment:
    """The one packet of a file."""
    (packet,) = read_packets(file)
    assert not isinstance(packet, Notice)
    return packet


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


def talk(*pieces: tuple[str, bytes], port: int = 700, ends: bool = True) -> list[Segment]:
    """A whole TCP connection: ("client" or "server", bytes) in order; "lost client" for bytes that are not captured,
    "snapped client" for a packet of which the last nine are not.
    """
    sent = {"client": 101, "server": 501}
    made = [
        segment(seq=100, flags=SYN, port=port),
        segment(seq=500, flags=SYN | ACK, back=True, ack=101, port=port),
        segment(seq=101, ack=501, port=port),
    ]
    for who, data in pieces:
        side = who.split()[-1]
        other = "server" if side == "client" else "client"
        cut = 9 if who.startswith("snapped") else 0
        if not who.startswith("lost"):
            kept = data[: len(data) - cut]
            made.append(
                segment(kept, sent[side], ack=sent[other], back=side == "server", missing=cut, port=port)
            )
        sent[side] += len(data)
    if ends:
        made.append(segment(b"", sent["client"], FIN | ACK, ack=sent["server"], port=port))
        made.append(segment(b"", sent["server"], FIN | ACK, ack=sent["client"] + 1, back=True, port=port))
    return [piece._replace(frame=number, time=number / 10) for number, piece in enumerate(made, 1)]


def datagrams(*pieces: tuple[str, bytes], port: int = 700) -> list[Datagram]:
    """UDP between A's *port* and B's port 877."""
    made = []
    for number, (who, data) in enumerate(pieces, 1):
        ends = (A, B, port, 877) if who == "client" else (B, A, 877, port)
        made.append(Datagram(number, number / 10, *ends, data, 0, ""))
    return made


def messages(
    packets: Iterable[Packet], decode_as: Mapping[int, str] | None = None, opener: OpenFile | None = None
) -> list[Message]:
    """What these packets say."""
    found = list(Dissector(decode_as, opener).messages(packets))
    assert [message.number for message in found] == list(range(1, len(found) + 1))
    for message in found:
        assert summary(message, 0.0).isprintable()
        list(explained(message))
        as_dict(message, explain=True)
    return found


def call(procedure: str, argument: object = None, xid: int = 1, program: Program = NETINFO) -> bytes:
    """A call as it is in a record."""
    found = program.by_name[procedure]
    header = rpc.Call(2, program.number, program.version, found.number, AUTH_NONE, AUTH_NONE)
    return codec(rpc.Message).build(rpc.Message(xid, rpc.MsgType.CALL, header)) + codec(found.argument).build(
        argument
    )


def reply(procedure: str, result: object = None, xid: int = 1, program: Program = NETINFO) -> bytes:
    """An accepted reply as it is in a record."""
    header = rpc.Reply(rpc.ReplyStatus.MSG_ACCEPTED, rpc.Accepted(AUTH_NONE, rpc.AcceptStatus.SUCCESS, None))
    made = codec(rpc.Message).build(rpc.Message(xid, rpc.MsgType.REPLY, header))
    return made + codec(program.by_name[procedure].result).build(result)


def record(data: bytes, size: int = 1 << 30) -> bytes:
    """A record in fragments of at most *size* bytes."""
    parts = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
    made = b""
    for number, part in enumerate(parts, 1):
        last = rpc.LAST_FRAGMENT if number == len(parts) else 0
        made += (last | len(part)).to_bytes(4, "big") + part
    return made
