"""Our NetInfo server against a C server made by rpcgen from docs/netinfo.x, which answers the same calls from
a table.

Each figure is one run of `rpc_load` (C) against one server, all in turn on the same machine; what counts is
the ratio. Real netinfods measured on a machine of two such cores: lookup 10,000 to 30,000/s in ping-pong,
85,000 to 160,000/s on 8 connections, 125,000/s with 32 outstanding (Apple), list of 10,000 entries 900/s
(Apple) and 29/s (NeXT), create+destroy 800/s with fsync (NeXT), 4,000/s without (Apple).
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from netinfo.client.blocking import BlockingNetwork
from netinfo.client.domain import Domain
from netinfo.client.names import DirectServer
from netinfo.client.network import run
from tests.peers import Missing, peer
from wire.formats.netinfo import NETINFO, ListArgs, LookupArgs, NiId, Property
from wire.transport.record import mark
from wire.transport.rpc_message import build_call

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HEADERS = Path("/usr/include/tirpc")
CHILDREN = 10_000
SECONDS = 2.0
SHAPES = {"ping-pong": (1, 1), "32 outstanding": (1, 32), "8 connections": (8, 1)}
OPERATIONS = ("ping", "lookup", "lookupread", "read", "list")
SERVERS = ("C", "ours", "ours on uvloop")

SERVER = """
import sys
if sys.argv[2] == "uvloop":
    from wire.transport.endpoint import install_reactor
    assert install_reactor()
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from pathlib import Path
from netinfo.generation import NEXT
from netinfo.rawformat import Branch, plant
from netinfo.server import DomainServer, database_of, open_database
from netinfo.settings import Settings
from wire.formats.netinfo import Property

def branch(index):
    name = b"h%06d" % index
    return Branch((Property(b"name", (name,)), Property(b"ip_address", (b"10.1.2.3",))))

bench = Branch((Property(b"name", (b"bench",)),), tuple(branch(i) for i in range(int(sys.argv[3]))))
settings = Settings(superuser="same-user")
path = database_of(Path(sys.argv[1]), b"bench")
store, tree = open_database(path, Branch((), (bench,)), settings)

async def start():
    server = DomainServer(reactor, b"bench", tree, settings, store)
    address = await server.start(0)
    print(address.port, flush=True)

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
reactor.run()
"""


@attrs.frozen
class Figures:
    """What one run brought: calls a second, and microseconds to a reply."""

    rate: float
    p50: float
    p99: float


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the compiled C programs."""
    build = tmp_path_factory.mktemp("programs")
    rpcgen, compiler = peer("rpcgen"), peer("cc")
    if not (HEADERS / "rpc" / "rpc.h").exists():
        raise Missing("no libtirpc headers on this machine: install the Debian package libtirpc-dev")
    (build / "netinfo.x").write_bytes((ROOT / "docs" / "netinfo.x").read_bytes())
    made = (("-h", "netinfo.h"), ("-c", "netinfo_xdr.c"), ("-m", "netinfo_svc.c"))
    for flag, name in made:
        subprocess.run([rpcgen, "-C", flag, "-o", name, "netinfo.x"], cwd=build, check=True)
    flags = ["-O2", "-w", "-I.", f"-I{HEADERS}"]
    table = ["netinfo_xdr.c", "netinfo_svc.c", str(HERE / "netinfo_table_server.c")]
    subprocess.run([compiler, *flags, "-o", "table", *table, "-ltirpc"], cwd=build, check=True)
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Werror", "-o", "load", str(HERE / "rpc_load.c")], cwd=build, check=True
    )
    return build


@contextlib.contextmanager
def server(name: str, programs: Path, state: Path, children: int) -> Iterator[int]:
    """One of the servers with a directory of so many children; its port."""
    if name == "C":
        command = [str(programs / "table"), str(children)]
    else:
        reactor = "uvloop" if name.endswith("uvloop") else "default"
        command = [sys.executable, "-c", SERVER, str(state), reactor, str(children)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.kill()


def calls(operation: str, children: int) -> bytes:
    """Records of calls, each a different one where the operation has something to choose."""
    numbers = range(0, children, max(children // 2000, 1))
    choices: dict[str, list[tuple[str, object]]] = {
        "ping": [("PING", None)],
        "lookup": [("LOOKUP", LookupArgs(NiId(1, 0), b"name", b"h%06d" % number)) for number in numbers],
        "lookupread": [
            ("LOOKUPREAD", LookupArgs(NiId(1, 0), b"name", b"h%06d" % number)) for number in numbers
        ],
        "read": [("READ", NiId(number + 2, 0)) for number in numbers],
        "list": [("LIST", ListArgs(NiId(1, 0), b"name"))],
    }
    made = choices[operation]
    if len(made) == 1:
        made = made * 64
    records = [
        build_call(xid, NETINFO, NETINFO.by_name[name], argument) for xid, (name, argument) in enumerate(made)
    ]
    return b"".join(mark(len(record)) + record for record in records)


def measure(programs: Path, port: int, operation: str, children: int, shape: str) -> Figures:
    prepared = programs / f"{operation}-{children}.calls"
    prepared.write_bytes(calls(operation, children))
    connections, depth = SHAPES[shape]
    argv = [programs / "load", "127.0.0.1", port, prepared, connections, depth, SECONDS]
    ran = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True, timeout=120)
    count, seconds, p50, p99 = map(float, ran.stdout.split())
    return Figures(count / seconds, p50, p99)


Table = dict[tuple[str, str], dict[str, Figures]]


def report(title: str, table: Table, show: Callable[[str], object]) -> None:
    """Print a table: calls a second and percentiles of each server, and the ratio of ours to C's."""
    show(f"\n{title}\n")
    show(f"{'':28}" + "".join(f"{name:>26}" for name in SERVERS) + "     ratios to C\n")
    for (operation, shape), row in table.items():
        show(f"{operation + ', ' + shape:28}")
        for name in SERVERS:
            figures = row[name]
            show(f"{figures.rate:>11,.0f}/s{figures.p50:>6,.0f}{figures.p99:>7,.0f} us")
        ratios = [row[name].rate / row["C"].rate for name in SERVERS[1:]]
        show("     " + "  ".join(f"{ratio:.2f}" for ratio in ratios) + "\n")


@pytest.mark.parametrize("children", [CHILDREN, 1_000])
def test_calls(
    programs: Path,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    children: int,
) -> None:
    """Calls a second, with the p50 and p99 of the time to a reply."""
    operations = OPERATIONS if children == CHILDREN else ("list",)
    table: Table = {(operation, shape): {} for operation in operations for shape in SHAPES}

    def everything() -> None:
        for name in SERVERS:
            with server(name, programs, tmp_path / name.replace(" ", "-"), children) as port:
                for operation, shape in table:
                    table[operation, shape][name] = measure(programs, port, operation, children, shape)

    cast(Any, benchmark).pedantic(everything, rounds=1)
    benchmark.extra_info.update(
        {
            f"{operation}, {shape}, {name}": attrs.asdict(figures)
            for (operation, shape), row in table.items()
            for name, figures in row.items()
        }
    )
    with capsys.disabled():
        report(f"NetInfo, a directory of {children:,} children", table, sys.stdout.write)


def create_and_destroy(port: int, seconds: float, times: list[float]) -> None:
    """Create and destroy a directory, again and again, in one below the root that is this caller's own."""
    domain = Domain(BlockingNetwork(), [DirectServer("127.0.0.1", port)])
    name = b"writer%d" % threading.get_ident()
    root = run(domain.root())
    while True:
        try:
            own = run(domain.create(root, (Property(b"name", (name,)),))).child
            break
        except Exception:  # another writer was faster
            root = run(domain.root())
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        made = run(domain.create(own, (Property(b"name", (b"x",)),)))
        own = run(domain.destroy(made.parent, made.child))
        times.append(time.monotonic() - begun)
    domain.close()


@pytest.mark.parametrize("writers", [1, 8, 32])
def test_create_and_destroy(
    programs: Path,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    writers: int,
) -> None:
    """Durable writes: each create and each destroy is on disk before it is answered; commits are shared."""
    times: list[float] = []

    def everything() -> None:
        with server("ours", programs, tmp_path, 0) as port:
            threads = [
                threading.Thread(target=create_and_destroy, args=(port, 3.0, times)) for _ in range(writers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    cast(Any, benchmark).pedantic(everything, rounds=1)
    rate = len(times) / 3.0
    benchmark.extra_info.update({"pairs a second": rate, "median": statistics.median(times)})
    with capsys.disabled():
        median = statistics.median(times) * 1e3
        sys.stdout.write(
            f"\ncreate+destroy, {writers} writers: {rate:,.0f} pairs/s, median {median:.1f} ms\n"
        )
