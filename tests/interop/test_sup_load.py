"""Many clients at once, Debian's and ours in turn: each gets all of it, none is refused."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.programs import SUP, StartServer
from tests.interop.trees import collection, snapshot, write
from tests.peers import peer, wait_until

SIZES = (0, 100, 1900, 6000, 20_000)


def start(client: Path, host: str, srv: Path, real: bool) -> subprocess.Popen[bytes]:
    """A client that executes what the list file says; what it prints is in `said`."""
    client.mkdir()
    supfile, program = client / "supfile", [peer("sup")] if real else [*SUP, "--no-fsync"]
    supfile.write_text(f"demo host={host} base={client} hostbase={srv} timeout=0\n")
    with (client / "said").open("wb") as said:
        return subprocess.Popen(
            [*program, "-P", "-e", "-v", supfile],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )


@pytest.mark.interop
@pytest.mark.root
@pytest.mark.soak
@pytest.mark.parametrize("workers", ["1", "2"])
def test_as_many_clients_as_places(
    our_supfilesrv: StartServer, tmp_path: Path, rounds: Callable[[int, int], int], workers: str
) -> None:
    """All are in the midst of their sessions at the same moment, held there by a command that waits for a writer."""
    number, files, seconds = rounds(16, 200), rounds(60, 500), rounds(60, 400)
    srv, gate = tmp_path / "srv", tmp_path / "gate"
    os.mkfifo(gate)
    for each in range(files):
        size = SIZES[each % len(SIZES)]
        write(srv, f"data/{each:03}", (b"%d\n" % each * size)[:size])
    write(srv, f"data/{files // 2:03}-gate")
    collection(srv, f"upgrade data\nexecute touch here; cat {gate} (data/*-gate)\n")
    server = our_supfilesrv("--base", str(tmp_path), "-C", str(number), "--workers", workers)
    places = [tmp_path / f"client{each}" for each in range(number)]
    clients = [start(place, server.host, srv, real=each % 2 == 0) for each, place in enumerate(places)]
    try:
        wait_until(lambda: all((place / "here").exists() for place in places), "all to meet", seconds)
        late = start(tmp_path / "late", server.host, srv, real=True)
        assert late.wait(timeout=seconds) == 0
        assert b"busy" in (tmp_path / "late/said").read_bytes()
        gate.open("wb").close()
        for client in clients:
            client.wait(timeout=seconds)
    finally:
        for client in clients:
            client.kill()
            client.wait()
    expected = snapshot(srv / "data")
    for place, client in zip(places, clients, strict=True):
        said = (place / "said").read_text(errors="replace")
        assert client.returncode == 0, said
        assert "completed at" in said, said
        assert snapshot(place / "data") == expected
    assert server.logged(f"{files + 2} sent")
