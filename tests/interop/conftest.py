"""Pairs of a SUP client and a server, Debian's or ours, and our server by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.pairs import OURS, PAIRINGS, REAL_CLIENT, REAL_SERVER, Pair, PairOfOurServer
from tests.interop.programs import OurSupfilesrv, StartServer, run_our_sup, starting_supfilesrv
from tests.peers import DebianSup


@pytest.fixture
def our_supfilesrv(tmp_path: Path) -> Iterator[StartServer]:
    """Starts our supfilesrv with the flags given."""
    with starting_supfilesrv(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def supfilesrv_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurSupfilesrv]:
    """One server for all tests of a module; it serves every collection below pytest's own directories."""
    folder = tmp_path_factory.mktemp("server")
    with starting_supfilesrv(folder) as start:
        yield start("--base", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(params=PAIRINGS)
def pair(request: pytest.FixtureRequest, tmp_path: Path, debian_sup: DebianSup) -> Pair:
    """A client and a server, in every pairing; both run as root."""
    srv, cli = tmp_path / "srv", tmp_path / "cli"
    for place in (srv, cli):
        place.mkdir()
    if request.param == REAL_SERVER:
        server = request.getfixturevalue("debian_supfilesrv")("-P")
        serve_as_root(srv)
        network = server.namespace
        return Pair(run=run_our_sup, server=server, network=network, srv=srv, cli=cli)
    run = {REAL_CLIENT: debian_sup, OURS: run_our_sup}[request.param]
    return PairOfOurServer(run=run, server=request.getfixturevalue("supfilesrv_for_all"), srv=srv, cli=cli)


def serve_as_root(srv: Path) -> None:
    """Let Debian's server read everything: it serves as the owner of the key file, whose key means none (SUP 6.4)."""
    key = srv / "sup/demo/crypt"
    key.parent.mkdir(parents=True)
    key.write_text("SuperMan\n")
    key.chmod(0o600)
