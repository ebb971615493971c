"""wire.capture.recording: the options, and secrets that never reach the file."""

from __future__ import annotations

import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import call, record, reply
from tests.capture.test_sup import built, session
from wire.capture.recording import Recording, Redacting, pcap_options
from wire.codec import codec
from wire.formats import rpc
from wire.formats.netinfo import NETINFO
from wire.formats.sup import Login
from wire.transport.tap import Address, Kind, TapEvent

CLIENT, SERVER = Address("127.0.0.1", 40000), Address("127.0.0.1", 877)
SECRET = bytes(byte ^ 0xFF for byte in b"swordfish")


def secret_call(xid: int = 1) -> bytes:
    """A WRITE with NetInfo's password in its credential."""
    credential = rpc.Auth(rpc.AuthFlavor.AUTH_SYS, rpc.AuthUnix(1, SECRET, 0, 0, ()))
    header = rpc.Call(2, NETINFO.number, 2, 2, credential, rpc.AUTH_NONE)
    return codec(rpc.Message).build(rpc.Message(xid, rpc.MsgType.CALL, header))


class Heard:
    """A tap that remembers; `sent` and `received` are what the client sent and received."""

    def __init__(self) -> None:
        self.events: list[TapEvent] = []

    def __call__(self, event: TapEvent) -> None:
        self.events.append(event)

    @property
    def sent(self) -> bytes:
        return b"".join(event.data for event in self.events if not event.outgoing)

    @property
    def received(self) -> bytes:
        return b"".join(event.data for event in self.events if event.outgoing)


def event(kind: Kind, outgoing: bool, data: bytes = b"", transport: str = "tcp") -> TapEvent:
    """As a server's tap tells it."""
    return TapEvent(kind, transport, SERVER, CLIENT, outgoing, data, 1.0, "x")  # type: ignore[arg-type]


@given(st.integers(1, 90), st.integers(1, 50))
def test_rpc_in_any_segmentation(cut: int, fragment: int) -> None:
    heard = Heard()
    tap = Redacting(heard)
    stream = record(call("PING")) + record(secret_call(), fragment) + record(call("PING", xid=3))
    tap(event("open", False))
    for start in range(0, len(stream), cut):
        tap(event("data", False, stream[start : start + cut]))
    tap(event("data", True, record(reply("PING"))))
    tap(event("close", True))
    assert heard.received == record(reply("PING"))
    whole = stream
    for piece in range(len(SECRET)):  # over fragments, one byte at a time
        whole = whole.replace(SECRET[piece : piece + 1], b"*")
    assert SECRET not in heard.sent
    assert heard.sent == whole
    assert [one.kind for one in heard.events][:1] == ["open"]
    assert heard.events[-1].kind == "close"


def test_datagrams() -> None:
    heard = Heard()
    tap = Redacting(heard)
    tap(event("datagram", False, secret_call(), "udp"))
    tap(event("datagram", True, reply("PING"), "udp"))
    assert heard.events[0].data == secret_call().replace(SECRET, b"*" * len(SECRET))
    assert heard.events[1].data == reply("PING")
    for other in (
        b"\0\1joe\0swordfish",
        b"USER joe PASS swordfish, and more words than a header has",
        secret_call()[:40],
    ):
        tap(event("datagram", False, other, "udp"))
    assert len(heard.events) == 2


@given(st.integers(1, 200))
def test_sup_logins(cut: int) -> None:
    heard = Heard()
    tap = Redacting(heard)
    login = Login(b"Hello there, Sailor Boy!", b"joe", b"swordfish")
    said = [(who, built(login) if number == 7 else data) for number, (who, data) in enumerate(session())]
    tap(event("open", False))
    for who, data in said:
        for start in range(0, len(data), cut):
            tap(event("data", who == "server", data[start : start + cut]))
    tap(event("close", False))
    blank = built(Login(b"*" * 24, b"***", b"*" * 9))
    assert heard.sent == b"".join(
        blank if data == built(login) else data for who, data in said if who == "client"
    )
    assert heard.received == b"".join(data for who, data in said if who == "server")


def test_what_is_not_understood_is_not_handed_on() -> None:
    heard = Heard()
    tap = Redacting(heard)
    tap(event("open", False))
    tap(event("data", False, b"USER joe\r\nPASS swordfish\r\n" * 20))
    tap(event("data", False, b"more"))
    tap(event("close", False))
    assert heard.sent == b""
    cut = record(secret_call())[:-12]  # ends inside the credential's list of groups
    tap(event("open", False))
    tap(event("data", False, cut))
    tap(event("close", False))
    assert heard.sent == cut[:28] + b"*" * (len(cut) - 28)


@pytest.mark.parametrize("redact", [False, True])
def test_the_options_of_a_command(tmp_path: Path, redact: bool) -> None:
    @click.command()
    @click.option("--port", type=int)
    @pcap_options
    def serve(port: int, recording: Recording) -> None:
        with recording.taps() as taps:
            for tap in taps:
                tap(event("open", False))
                tap(event("data", False, record(secret_call())))
            click.echo(f"{port} {len(taps)}")

    path = tmp_path / "recording"
    run = CliRunner().invoke(serve, ["--port", "5", "--pcap", str(path), *(["--redact"] if redact else [])])
    assert (run.exit_code, run.output) == (0, "5 1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (SECRET in path.read_bytes()) is not redact
    run = CliRunner().invoke(serve, ["--port", "5"])
    assert run.output == "5 0\n"
    run = CliRunner().invoke(serve, ["--pcap", str(tmp_path / "missing" / "x")])
    assert (run.exit_code, "cannot be written: No such file or directory" in run.output) == (1, True)
