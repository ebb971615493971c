"""Lesson 1: why a port is silent. Nobody there, somebody who waits for the right words, and what breaks the silence."""

from __future__ import annotations

import socket
from pathlib import Path

from emulators.lessons.stage import Stage, expect
from wire.capture.packets import Segment, read_packets
from wire.capture.text import field_lines
from wire.codec import codec
from wire.explain import explain
from wire.formats.netinfo import NETINFO
from wire.formats.rpc import FragmentHeader
from wire.formats.sup import PROBE_LITTLE, Signon, SignonAck, SupParams
from wire.transport.errors import ConnectError
from wire.transport.tap import Address

HTTP = b"GET / HTTP/1.0\r\n\r\n"
SHOWN = 16


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    domain, files = lab.reached("domain network"), lab.reached("supfilesrv")

    with socket.socket() as unused:  # bound and not listening: nobody else takes the port meanwhile
        unused.bind(("127.0.0.1", 0))
        try:
            await stage.say(Address(*unused.getsockname()), HTTP)
        except ConnectError as error:
            expect("refused" in str(error), f"a port without a program gave: {error}")
        else:
            expect(False, "a port without a program was not refused")

    for port in (domain, files):
        answer = await stage.say(port, HTTP, patience=1.0)
        expect(answer == b"", f"a web browser's words were answered with {answer!r}")

    client = await stage.tcp(domain, NETINFO)
    await client.call("PING")
    signon = codec(Signon, SupParams()).build(Signon(8, 26, b"4.3 BSD"))
    answer = await stage.say(files, PROBE_LITTLE + signon, patience=0.5)
    ack, _ = codec(SignonAck, SupParams()).parse(answer)
    expect(ack.protocol == 8, f"the file server speaks version {ack.protocol}")


def _conversations(capture: Path) -> str:
    """For each connection: to whom, the first bytes said, and how many came back."""
    said: dict[tuple[int, int], bytearray] = {}
    answered: dict[tuple[int, int], int] = {}
    names: dict[tuple[int, int], str] = {}
    with capture.open("rb") as file:
        for packet in read_packets(file):
            if type(packet) is not Segment:
                continue
            way, back = (
                (packet.source_port, packet.destination_port),
                (packet.destination_port, packet.source_port),
            )
            if back in said:
                answered[back] += len(packet.payload)
            else:
                said.setdefault(way, bytearray()).extend(packet.payload)
                answered.setdefault(way, 0)
                names.setdefault(way, packet.comment)
    lines = [f"{'to':17} {'the client said':{SHOWN * 3}} and heard"]
    for way, data in said.items():
        start = bytes(data[:SHOWN])
        heard = f"{answered[way]} bytes" if answered[way] else "nothing"
        lines.append(f"{names[way]:17} {start.hex(' '):{SHOWN * 3}} {heard}")
        lines.append(f"{'':17} {'  '.join(chr(byte) if 32 < byte < 127 else '.' for byte in start)}")
    return "\n".join(line.rstrip() for line in lines)


def _mark(capture: Path) -> str:
    """What a NetInfo server takes the first four bytes of a web request for."""
    header = FragmentHeader(int.from_bytes(HTTP[:4], "big"))
    lines = list(field_lines(explain(FragmentHeader, HTTP[:4]), HTTP[:4]))
    return "\n".join(
        [
            *lines,
            "",
            f"fragment of {header.length:,} bytes; the last one of its record: {'yes' if header.last else 'no'}",
        ]
    )


FIGURES = {"conversations": _conversations, "mark": _mark}
