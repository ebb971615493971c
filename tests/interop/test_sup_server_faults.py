"""Debian's real `sup` and our supfilesrv when one of them dies in the middle, or the client's disk is full."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.interop.pairs import PairOfOurServer
from tests.interop.programs import StartServer
from tests.interop.trees import snapshot, write
from tests.peers import DebianSup, peer, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.root]

SIZE = 40 << 20


@pytest.fixture
def pair(tmp_path: Path, debian_sup: DebianSup, our_supfilesrv: StartServer) -> PairOfOurServer:
    """A real client that has an old version of a large file, and a server that serves one client at a time."""
    for name in ("srv", "cli"):
        (tmp_path / name).mkdir()
    server = our_supfilesrv("--base", str(tmp_path), "-C", "1")
    pair = PairOfOurServer(run=debian_sup, server=server, srv=tmp_path / "srv", cli=tmp_path / "cli")
    pair.serve(a="a", large="old", z="z")
    assert "completed" in pair.sup("-v")
    write(pair.srv, "data/large", b"x" * SIZE, mtime=1_700_000_001)
    write(pair.srv, "data/z", b"new z", mtime=1_700_000_001)
    return pair


def in_mid_file(pair: PairOfOurServer) -> subprocess.Popen[bytes]:
    """A client that has received part of the large file, and has been stopped there."""
    supfile = pair.cli.parent / "supfile"
    supfile.write_text(pair.line())
    for _ in range(50):
        client = subprocess.Popen(
            [peer("sup"), "-P", "-v", str(supfile)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        temporary = pair.cli / f"data/#{client.pid}.sup"
        while client.poll() is None and not (temporary.exists() and temporary.stat().st_size):
            time.sleep(0)
        client.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if temporary.exists() and 0 < temporary.stat().st_size < SIZE:
            return client
        client.send_signal(signal.SIGCONT)
        client.wait(timeout=30)
        write(pair.srv, "data/large", b"x" * SIZE, mtime=int(time.time()))
        write(pair.cli, "data/large", b"old", mtime=1)
    raise AssertionError("the client was too fast to be stopped")


def test_a_client_that_is_killed(pair: PairOfOurServer) -> None:
    """Row 28."""
    client = in_mid_file(pair)
    when = pair.when()
    client.kill()
    client.wait(timeout=30)
    assert (pair.cli / f"data/#{client.pid}.sup").exists()
    assert pair.got("data/large") == "old"
    assert pair.when() == when
    wait_until(lambda: pair.server.logged("given up"), "the server to notice")
    assert "completed" in pair.sup("-v")  # the only place has been given back
    (pair.cli / f"data/#{client.pid}.sup").unlink()
    assert (pair.cli / "data/large").stat().st_size == SIZE
    assert pair.got("data/z") == "new z"


def test_a_client_that_is_told_to_end(pair: PairOfOurServer) -> None:
    """Row 28: Debian's client completes the file that it is at."""
    client = in_mid_file(pair)
    client.terminate()
    client.send_signal(signal.SIGCONT)
    client.wait(timeout=60)
    assert (pair.cli / "data/large").stat().st_size == SIZE
    assert "completed" in pair.sup("-v")
    assert pair.got("data/z") == "new z"


def test_a_server_that_is_killed(pair: PairOfOurServer, our_supfilesrv: StartServer, tmp_path: Path) -> None:
    client = in_mid_file(pair)
    when = pair.when()
    pair.server.process.kill()
    pair.server.process.wait(timeout=30)
    client.send_signal(signal.SIGCONT)
    client.wait(timeout=60)
    assert pair.got("data/large") == "old"
    assert pair.got("data/z") == "z"
    assert pair.when() == when
    assert not list((pair.cli / "data").glob("#*"))
    pair.server = our_supfilesrv("--base", str(tmp_path))
    assert "completed" in pair.sup("-v")
    assert snapshot(pair.cli)[b"data/large"].content == snapshot(pair.srv)[b"data/large"].content


def test_a_server_that_is_told_to_end(pair: PairOfOurServer) -> None:
    """It does not wait for a client that does not read."""
    client = in_mid_file(pair)
    began = time.monotonic()
    pair.server.stop()
    assert time.monotonic() - began < 10
    client.send_signal(signal.SIGCONT)
    client.wait(timeout=60)
    assert pair.got("data/large") == "old"


def test_a_full_disk_at_the_client(pair: PairOfOurServer) -> None:
    """Row 38: what Debian's client makes of it is its own affair; the server sees a session that ends."""
    write(pair.srv, "data/large", os.urandom(300_000))
    supfile = pair.cli.parent / "supfile"
    supfile.write_text(pair.line())
    mount, size = f"mount -t tmpfs -o size=100k tmpfs {pair.cli}", f"stat -c %s {pair.cli}/data/large"
    script = f"{mount} && {peer('sup')} -P -v {supfile}; {size}"
    command = [peer("unshare"), "--mount", "--propagation", "private", "sh", "-c", script]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert b"Receiving file data/large" in ran.stdout
    assert int(ran.stdout.split()[-1]) < 300_000
    assert "completed" in pair.sup("-v")
