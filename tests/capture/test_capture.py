"""`ghostports capture`, between programs that know nothing of it."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.capture.frames import call, reply
from tests.interop.trees import collection, let_all_in, write
from tests.peers import DebianSup, DebianSupfilesrv, user_options
from wire.capture.commands.capture import capture
from wire.capture.conversations import dissect
from wire.capture.messages import Message

COMMAND = [sys.executable, "-m", "emulators.cli", "capture", *user_options()]
ROOT = Path(__file__).parents[2]


def ready(relay: subprocess.Popen[bytes]) -> str:
    """The line in which the relay says what it records: it listens then."""
    assert relay.stderr is not None
    return next(line for line in map(bytes.decode, relay.stderr) if line.startswith("Recording "))


def ended(relay: subprocess.Popen[bytes]) -> int:
    """Ctrl-C; the exit code."""
    relay.send_signal(signal.SIGINT)
    relay.communicate(timeout=60)
    return relay.returncode


def recorded(path: Path) -> list[Message]:
    with path.open("rb") as file:
        return list(dissect(file))


@pytest.mark.interop
@pytest.mark.root
def test_between_debians_sup_and_its_server(
    debian_supfilesrv: Callable[..., DebianSupfilesrv],
    debian_sup: DebianSup,
    tshark: Callable[..., str],
    tmp_path: Path,
) -> None:
    server, path = debian_supfilesrv(), tmp_path / "upgrade.pcapng"
    let_all_in(tmp_path)
    served, received = tmp_path / "served", tmp_path / "received"
    received.mkdir()
    collection(served, "upgrade data\n")
    write(served, "data/hello", b"hello\n")
    supfile = tmp_path / "supfile"
    supfile.write_text(f"demo host=127.0.0.1 hostbase={served} base={received} timeout=0\n")
    command = [*COMMAND, "--listen", "127.0.0.1:1127", "--to", f"127.0.0.1:{server.port}", str(path)]
    relay = server.namespace.popen(command, ROOT, stderr=subprocess.PIPE)
    with relay:
        assert f"Recording 127.0.0.1:1127 to 127.0.0.1:{server.port} in {path}" in ready(relay)
        ran = debian_sup(supfile, network=server.namespace)
        assert ended(relay) == 0
    assert (received / "data" / "hello").read_bytes() == b"hello\n", ran
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = recorded(path)
    assert [one.name for one in found][:3] == ["PROBE", "SIGNON", "SIGNONACK"]
    assert (found[-1].name, found[-1].status) == ("DONE", "SUCCESS")
    assert {one.conversation.service for one in found} == {f"relay to 127.0.0.1:{server.port}"}
    assert tshark("-r", path, "-q", "-z", "expert,warn").strip() == ""


def test_datagrams(tmp_path: Path) -> None:
    path = tmp_path / "ping.pcapng"
    with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        for one in (server, client):
            one.settimeout(20)
        port = server.getsockname()[1]
        with subprocess.Popen(
            [*COMMAND, "--to", f"127.0.0.1:{port}", str(path)], stderr=subprocess.PIPE, cwd=ROOT
        ) as relay:
            listening = re.match(r"Recording 127\.0\.0\.1:(\d+) to ", ready(relay))
            assert listening is not None
            client.sendto(call("PING", xid=5), ("127.0.0.1", int(listening[1])))
            asked, asking = server.recvfrom(100)
            server.sendto(reply("PING", xid=5), asking)
            assert (asked, client.recv(100)) == (call("PING", xid=5), reply("PING", xid=5))
            assert ended(relay) == 0
    assert [(one.name, one.kind) for one in recorded(path)] == [("PING", "call"), ("PING", "reply")]
    assert {one.conversation.server for one in recorded(path)} == {("127.0.0.1", port)}


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--to", "127.0.0.1"], 2, "is not HOST:PORT"),
        (["--to", "127.0.0.1:65536"], 2, "is not HOST:PORT"),
        (["--to", "a..b:871"], 2, "is not HOST:PORT"),
        (["--listen", f"{'x' * 64}:0", "--to", "127.0.0.1:871"], 2, "is not HOST:PORT"),
        ([], 2, "Missing option '--to'"),
        (["--to", "127.0.0.1:871", "--redact"], 1, "cannot be written: No such file"),
    ],
)
def test_what_cannot_be_recorded(options: list[str], code: int, sentence: str, tmp_path: Path) -> None:
    ran = CliRunner().invoke(capture, [*options, str(tmp_path / "nowhere" / "file")])
    assert (ran.exit_code, sentence in ran.output) == (code, True), ran.output
