"""A capture of any length is read in the same memory: what `ghostports dissect` takes does not grow with the file."""

from __future__ import annotations

import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.capture.frames import A, B, call, ether, ip4, pcap_file, record, reply, segment, udp_packet
from tests.capture.test_sup import END, built, file, session
from tests.capture.test_wireshark import as_frame
from tests.memory import measured, peak
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Result

MIB = 1 << 20
ROOT = Path(__file__).parents[2]


def packet(data: bytes, number: int) -> bytes:
    """A packet of a pcap file."""
    return (
        struct.pack("<IIII", 1_000_000_000 + number // 1000, number % 1000 * 1000, len(data), len(data))
        + data
    )


# Most of what these tests take is the making of packets: below, each is made from one like it. The ports of UDP and
# TCP begin at byte 34 of a packet, TCP's sequence number at 38, a call's or reply's xid, in UDP, at 42.


def rpc_traffic(size: int) -> Iterator[bytes]:
    """Lookups over UDP, ever other ports and xids, until *size* bytes are written."""
    ask = call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"host"))
    answer = reply("LOOKUP", Result(NiStatus.NI_OK, LookupBody((7,), NiId(1, 5))))
    there = ether(ip4(udp_packet(ask, 700, 877), A, B))
    back = ether(ip4(udp_packet(answer, 877, 700), B, A))
    written = number = 0
    while written < size:
        number += 1
        port = struct.pack(">H", 1024 + number % 60_000)
        xid = struct.pack(">I", number)
        yield packet(there[:34] + port + there[36:42] + xid + there[46:], number)
        yield packet(back[:36] + port + back[38:42] + xid + back[46:], number)
        written += len(there) + len(back)


def sup_traffic(size: int) -> Iterator[bytes]:
    """One session whose file has *size* bytes."""
    sent = {"client": 1, "server": 1}
    data = bytes(32_768)
    header = built(file(b"big", b""))[:-4] + struct.pack("<i", size)  # its last word is the count of bytes
    pieces = [*session()[:15], ("server", header)]
    number = 0
    for who, piece in pieces:
        number += 1
        yield packet(as_frame(segment(piece, sent[who], back=who == "server")), number)
        sent[who] += len(piece)
    for _ in range(size // len(data)):
        number += 1
        yield packet(as_frame(segment(data, sent["server"], back=True)), number)
        sent["server"] += len(data)
    yield packet(as_frame(segment(END["<"], sent["server"], back=True)), number)


def tcp_traffic(size: int) -> Iterator[bytes]:
    """Calls on a thousand connections, all left open, of which every third packet was lost."""
    marked = record(call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"x" * 600), 1))
    whole = as_frame(segment(marked))
    written = number = 0
    while written < size:
        number += 1
        turn, port = divmod(number, 1000)
        if turn % 3 != 1:
            ports = struct.pack(">HHI", 2000 + port, 877, 1 + turn * len(marked))
            yield packet(whole[:34] + ports + whole[42:], number)
            written += len(whole)


def held(note: Path, traffic: Iterator[bytes], *options: str) -> int:
    """The most memory, in bytes, that dissecting this traffic took."""
    command = [*measured("emulators.cli:main", note), "dissect", *options, "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(pcap_file().getvalue())
        for one in traffic:
            pipe.write(one)
    assert process.wait(timeout=3600) == 0
    return peak(note)


@pytest.mark.soak
@pytest.mark.parametrize(("traffic", "filling"), [(rpc_traffic, 4), (sup_traffic, 8), (tcp_traffic, 28)])
def test_memory_does_not_grow(
    tmp_path: Path, traffic: Callable[[int], Iterator[bytes]], filling: int, rounds: Callable[[int, int], int]
) -> None:
    """Beyond the first megabytes, which fill the tables of bounded size; a gigabyte in a soak test."""
    small = held(tmp_path / "small", traffic(filling * MIB), "--stats")
    large = held(tmp_path / "large", traffic(rounds(2 * filling, 1024) * MIB), "--stats")
    assert large - small < 16 * MIB, f"{small // MIB} MiB, then {large // MIB} MiB"


def test_a_list_of_many_names_is_read_in_time() -> None:
    """Every packet of a long message is looked at once: twice the names take no more than about twice the time."""
    from wire.formats.sup import List, ListEntry

    def seconds(names: int) -> float:
        from tests.capture.frames import talk
        from wire.capture.conversations import Dissector

        entries = tuple(ListEntry(b"name/%d" % number, 0o100644, 1, 5) for number in range(names))
        whole = built(List(entries, 9))
        pieces = [("server", whole[at : at + 1400]) for at in range(0, len(whole), 1400)]
        packets = talk(*session()[:9], *pieces)
        began = time.process_time()
        found = list(Dissector().messages(packets))
        spent = time.process_time() - began
        assert len(found[9].value.entries) == names
        return spent

    seconds(1000)
    assert seconds(40_000) < 8 * seconds(10_000) + 0.5
