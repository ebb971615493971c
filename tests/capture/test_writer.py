"""wire.capture.writer: what a tap hears becomes a file that every program reads, and nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from dpkt import dpkt
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import call, record, reply
from wire.capture.conversations import dissect
from wire.capture.files import CaptureError, Notice
from wire.capture.messages import Message
from wire.capture.packets import ACK, FIN, SYN, Packet, Segment, read_packets
from wire.capture.writer import SEGMENT, UNACKNOWLEDGED, Recorder, checksum
from wire.transport.tap import Address, Kind, TapEvent, Transport

LOCAL, REMOTE = Address("127.0.0.1", 877), Address("127.0.0.1", 40000)
LOCAL6, REMOTE6 = Address("::1", 877), Address("::1", 40000)


class Script:
    """Events of one transport, a millisecond apart."""

    def __init__(self, path: Path) -> None:
        self.recorder = Recorder(path)
        self.time = 1_000_000_000.0

    def __call__(
        self,
        kind: Kind,
        outgoing: bool,
        data: bytes = b"",
        ends: tuple[Address, Address] = (LOCAL, REMOTE),
        transport: Transport = "tcp",
    ) -> None:
        self.time += 0.001
        self.recorder(TapEvent(kind, transport, *ends, outgoing, data, self.time, "netinfod network"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.pcapng"


def packets(path: Path) -> list[Packet]:
    with path.open("rb") as file:
        return [packet for packet in read_packets(file) if not isinstance(packet, Notice)]


def told(path: Path) -> list[Message]:
    with path.open("rb") as file:
        return list(dissect(file))


def server_script(path: Path) -> Script:
    """A server that answers a call, and one over UDP and IPv6."""
    script = Script(path)
    script("open", False)
    script("data", False, record(call("PING")))
    script("data", True, record(reply("PING")))
    script("close", True)
    script("datagram", False, call("PING", xid=2), (LOCAL6, REMOTE6), "udp")
    script("datagram", True, reply("PING", xid=2), (LOCAL6, REMOTE6), "udp")
    script.recorder.close()
    return script


def test_what_was_heard_is_what_is_read(path: Path) -> None:
    server_script(path)
    found = told(path)
    assert [(message.name, message.kind, message.conversation.transport) for message in found] == [
        ("PING", "call", "tcp"),
        ("PING", "reply", "tcp"),
        ("PING", "call", "udp"),
        ("PING", "reply", "udp"),
    ]
    assert [message.time for message in found[:2]] == pytest.approx([1_000_000_000.002, 1_000_000_000.003])
    assert found[0].source == "127.0.0.1:40000"
    assert found[2].destination == "[::1]:877"
    assert {message.conversation.service for message in found} == {"netinfod network"}
    assert not any(message.notes for message in found)


def test_nobody_else_may_read_it(path: Path) -> None:
    path.write_bytes(b"older")
    path.chmod(0o644)
    server_script(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fresh = path.with_name("fresh")
    Recorder(fresh).close()
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600


def test_what_is_no_file_keeps_its_mode(path: Path) -> None:
    """Root may record to /dev/null, or to a pipe that Wireshark reads."""
    os.mkfifo(path, 0o644)
    path.chmod(0o644)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Recorder(path).close()
        assert os.read(reading, 4) == b"\x0a\x0d\x0d\x0a"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.close(reading)


def test_handshake_data_and_end(path: Path) -> None:
    server_script(path)
    segments = [packet for packet in packets(path) if isinstance(packet, Segment)]
    flags = [segment.flags & (SYN | ACK | FIN) for segment in segments]
    assert flags == [SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, FIN | ACK, ACK]
    assert [segment.source_port for segment in segments] == [40000, 877, 40000, 40000, 877, 877, 40000, 877]


def test_a_client_that_records_itself(path: Path) -> None:
    script = Script(path)
    script("open", True, ends=(REMOTE, LOCAL))
    script("data", True, record(call("PING")), (REMOTE, LOCAL))
    script("data", False, record(reply("PING")), (REMOTE, LOCAL))
    script("close", True, ends=(REMOTE, LOCAL))
    script.recorder.close()
    assert [message.source for message in told(path)] == ["127.0.0.1:40000", "127.0.0.1:877"]


def test_long_data_is_cut_and_acknowledged(path: Path) -> None:
    script = Script(path)
    script("open", False)
    script("data", True, bytes(3 * UNACKNOWLEDGED))
    script.recorder.close()
    segments = [packet for packet in packets(path) if isinstance(packet, Segment)]
    assert sum(len(segment.payload) for segment in segments) == 3 * UNACKNOWLEDGED
    assert max(len(segment.payload) for segment in segments) == SEGMENT
    assert sum(segment.source_port == 40000 for segment in segments) > 3


def test_events_of_connections_that_are_not_known(path: Path) -> None:
    script = Script(path)
    script("close", True)  # nothing is known of it
    script("data", False, record(call("PING")))  # it was open before
    script("data", True, b"")
    script("open", False)  # the same ports again, without a close
    script("data", False, record(call("ROOT")))
    script.recorder.close()
    script("data", False, b"after the end")
    found = told(path)
    assert [(message.name, message.conversation.number) for message in found] == [("PING", 1), ("ROOT", 2)]


def test_host_names_and_mixed_families(path: Path) -> None:
    script = Script(path)
    for ends in (
        (Address("localhost", 1), Address("ghost.example", 2)),
        (Address("fe80::1%eth0", 1), Address("10.0.0.1", 2)),
    ):
        script("datagram", True, call("PING"), ends, "udp")
    script.recorder.close()
    assert [message.source for message in told(path)] == ["127.0.0.1:1", "[fe80::1]:1"]


@given(st.binary(max_size=100))
def test_the_checksum_is_dpkts(data: bytes) -> None:
    assert checksum(data) == dpkt.in_cksum(data)


def test_a_damaged_disk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Recorder(tmp_path / "missing" / "x")


@pytest.mark.interop
def test_tshark_has_nothing_to_warn_of(path: Path, tshark: Callable[..., str]) -> None:
    script = Script(path)
    for ends in ((LOCAL, REMOTE), (LOCAL6, REMOTE6)):
        script("open", False, ends=ends)
        script("data", False, record(call("PING")), ends)
        script("data", True, record(reply("PING")) + bytes(5_000_001), ends)
        script("close", False, ends=ends)
        script("open", False, ends=ends)
        script("close", True, ends=ends)
        script("datagram", False, call("PING", xid=2), ends, "udp")
        script("datagram", True, reply("PING", xid=2), ends, "udp")
    script.recorder.close()
    checks = [part for name in ("tcp", "udp", "ip") for part in ("-o", f"{name}.check_checksum:TRUE")]
    assert tshark("-r", path, *checks, "-q", "-z", "expert,warn").strip() == ""
    comments = tshark("-r", path, "-T", "fields", "-e", "frame.comment", "-Y", "frame.comment")
    assert set(comments.split("\n")) == {"netinfod network", ""}


@pytest.mark.parametrize("size", range(0, 1200, 37))
def test_a_recording_cut_short_is_read_as_far_as_it_goes(path: Path, size: int) -> None:
    server_script(path)
    whole = told(path)
    path.write_bytes(path.read_bytes()[:size])
    try:
        cut = told(path)
    except CaptureError:
        assert size < 100  # inside the file's own headers
    else:
        names = [one.name for one in cut if one.kind != "notice"]
        assert names == [one.name for one in whole][: len(names)]
