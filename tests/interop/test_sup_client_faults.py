"""Our client and server killed at random: every file is old or new, and the next run completes."""

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.pairs import OURS, PairOfOurServer
from tests.interop.programs import SUP, StartServer, run_our_sup
from tests.interop.trees import snapshot, write

FILES = 60


def content(number: int, file: int) -> bytes:
    """What *file* holds in version *number*: both numbers, again and again."""
    size = 200 + file * 997 if file % 20 else 2 << 20
    told = b"%d:%d " % (number, file)
    return told * (size // len(told))


def version(pair: PairOfOurServer, number: int) -> None:
    """The collection's files, each of them telling the version that it is of."""
    for file in range(FILES):
        write(pair.srv, f"data/d{file % 5}/f{file}", content(number, file), mtime=1_700_000_000 + number)


def check(pair: PairOfOurServer, known: range) -> None:
    """Every file at the client is whole, and of one of the versions `known`, with its time."""
    for path in (pair.cli / "data").rglob("f*"):
        found = path.read_bytes()
        number = int(found.partition(b":")[0])
        assert number in known, path
        assert found == content(number, int(path.name[1:])), f"{path} is torn"
        assert int(path.stat().st_mtime) == 1_700_000_000 + number, f"{path} has the time of another version"


def start(pair: PairOfOurServer) -> subprocess.Popen[bytes]:
    supfile = pair.cli.parent / "supfile"
    supfile.write_text(pair.line())
    return subprocess.Popen(
        [*SUP, "-P", str(supfile)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def begun(pair: PairOfOurServer, client: subprocess.Popen[bytes]) -> bool:
    """Whether the client has begun to install files."""
    return any((pair.cli / "sup/demo").glob("#*")) or client.poll() is not None


@pytest.fixture
def own_pair(tmp_path: Path, our_supfilesrv: StartServer) -> PairOfOurServer:
    """Our client and a server of the test's own."""
    for name in ("srv", "cli"):
        (tmp_path / name).mkdir()
    server = our_supfilesrv("--base", str(tmp_path), user="root")
    pair = PairOfOurServer(run=run_our_sup, server=server, srv=tmp_path / "srv", cli=tmp_path / "cli")
    pair.serve()
    return pair


@pytest.mark.soak
@pytest.mark.root
@pytest.mark.parametrize(("victim", "in_test"), [("client", 15), ("server", 5)])
def test_killed_at_random(
    own_pair: PairOfOurServer,
    our_supfilesrv: StartServer,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    victim: str,
    in_test: int,
) -> None:
    pair = own_pair
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    killed = 0
    for number in range(1, rounds(in_test, 100) + 1):
        version(pair, number)
        client = start(pair)
        while not begun(pair, client):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.06))
        process = client if victim == "client" else pair.server.process
        killed += client.poll() is None
        process.kill()
        process.wait(timeout=30)
        status = client.wait(timeout=60)
        check(pair, range(number + 1))
        if victim == "server":
            assert status in (0, 1), f"seed {seed}"
            assert not list(pair.cli.rglob("#*"))
            pair.server = our_supfilesrv("--base", str(tmp_path))
    assert killed > 0, "no run was caught in the middle"
    ran = pair.sup("-v")
    assert "completed at" in ran, f"seed {seed}: {ran}"
    assert {name: seen.content for name, seen in snapshot(pair.cli).items()} == {
        name: seen.content for name, seen in snapshot(pair.srv).items()
    }
    assert not list(pair.cli.rglob("#*")), "the leavings of dead runs are still there"


@pytest.mark.root
@pytest.mark.parametrize("pair", [OURS], indirect=True)
def test_leavings_of_dead_runs_go(pair: PairOfOurServer) -> None:
    """Debian's temporary files, which nobody else removes, and ours; those of the living stay."""
    pair.serve(a="a")
    (pair.cli / "data").mkdir()
    (pair.cli / "sup/demo").mkdir(parents=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for place in ("data", "sup", "sup/demo", "."):
        write(pair.cli, f"{place}/#{ended.pid}.sup", b"torn")
    alive = pair.cli / f"data/#{os.getpid()}.sup"
    alive.write_text("somebody is at it")
    assert "completed at" in pair.sup("-v")
    assert list(pair.cli.rglob("#*")) == [alive]
