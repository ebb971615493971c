"""Our NetInfo server against a C server made by rpcgen from docs/netinfo.x, which answers the same calls from
a table.

Each figure is one run of `rpc_load` (C) against one server, all in turn on the same machine; what counts is
the ratio. Real netinfods measured on a machine of two such cores: lookup 10,000 to 30,000/s in ping-pong,
85,000 to 160,000/s on 8 connections, 125,000/s with 32 outstanding (Apple), list of 10,000 entries 900/s
(Apple) and 29/s (NeXT), create+destroy 800/s with fsync (NeXT), 4,000/s without (Apple).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from netinfo.client.blocking import BlockingNetwork
from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
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
WRITERS = (1, 8, 32)
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
    return build_programs(tmp_path_factory.mktemp("programs"))


def build_programs(build: Path) -> Path:
    """The directory in which the C programs are compiled."""
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


def measure(
    programs: Path, port: int, operation: str, children: int, shape: str, seconds: float = SECONDS
) -> Figures:
    """Run the load generator against a server."""
    prepared = programs / f"{operation}-{children}.calls"
    prepared.write_bytes(calls(operation, children))
    connections, depth = SHAPES[shape]
    argv = [programs / "load", "127.0.0.1", port, prepared, connections, depth, seconds]
    ran = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True, timeout=120)
    count, took, p50, p99 = map(float, ran.stdout.split())
    return Figures(count / took, p50, p99)


Table = dict[tuple[str, str], dict[str, Figures]]
"""(operation, shape or writers) -> server -> figures."""


def measure_calls(
    programs: Path, state: Path, children: int, operations: Sequence[str], seconds: float = SECONDS
) -> Table:
    """Every operation in every shape, against each of the servers."""
    table: Table = {(operation, shape): {} for operation in operations for shape in SHAPES}
    for name in SERVERS:
        with server(name, programs, state / name.replace(" ", "-"), children) as port:
            for (operation, shape), row in table.items():
                row[name] = measure(programs, port, operation, children, shape, seconds)
    return table


def measure_writes(
    programs: Path, state: Path, writers: Sequence[int] = WRITERS, seconds: float = SECONDS
) -> Table:
    """Creating and destroying by so many clients at once; the C server keeps nothing, and is not asked."""
    table: Table = {("create+destroy", f"{count} writers"): {} for count in writers}
    for name in SERVERS[1:]:
        with server(name, programs, state / name.replace(" ", "-"), 0) as port:
            for count, row in zip(writers, table.values(), strict=True):
                row[name] = create_and_destroy(port, count, seconds)
    return table


def report(title: str, table: Table, show: Callable[[str], object]) -> None:
    """Print a table: calls a second and percentiles of each server, and the ratio of ours to C's."""
    show(f"\n{title}\n")
    show(f"{'':28}" + "".join(f"{name:>28}" for name in SERVERS) + "   ratios to C\n")
    show(f"{'':28}" + 3 * f"{'calls':>13}{'p50':>7}{'p99':>8}" + "\n")
    for (operation, shape), row in table.items():
        show(f"{operation + ', ' + shape:28}")
        for name in SERVERS:
            figures = row.get(name)
            show(
                f"{figures.rate:>11,.0f}/s{figures.p50:>7,.0f}{figures.p99:>8,.0f}" if figures else f"{'':28}"
            )
        if "C" in row:
            ratios = [row[name].rate / row["C"].rate for name in SERVERS[1:]]
            show("   " + "  ".join(f"{ratio:.2f}" for ratio in ratios))
        show("\n")


def note(benchmark: BenchmarkFixture, table: Table) -> None:
    """Put a table into the benchmark's JSON."""
    for (operation, shape), row in table.items():
        for name, figures in row.items():
            benchmark.extra_info[f"{operation}, {shape}, {name}"] = attrs.asdict(figures)


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
    table = cast(Any, benchmark).pedantic(measure_calls, (programs, tmp_path, children, operations), rounds=1)
    note(benchmark, table)
    with capsys.disabled():
        report(f"NetInfo, a directory of {children:,} children", table, sys.stdout.write)


def test_create_and_destroy(
    programs: Path, tmp_path: Path, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Durable writes: each create and each destroy is on disk before it is answered; commits are shared."""
    table = cast(Any, benchmark).pedantic(measure_writes, (programs, tmp_path), rounds=1)
    note(benchmark, table)
    with capsys.disabled():
        report("NetInfo, durable writes; a call is one create or one destroy", table, sys.stdout.write)


def create_and_destroy(port: int, writers: int, seconds: float) -> Figures:
    """So many clients, each in a directory of its own below the root."""
    times: list[float] = []
    ready = threading.Barrier(writers)
    threads = [threading.Thread(target=writer, args=(port, seconds, times, ready)) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    return Figures(len(times) / seconds, *(times[int(len(times) * part)] * 1e6 for part in (0.5, 0.99)))


def writer(port: int, seconds: float, times: list[float], ready: threading.Barrier) -> None:
    """Create and destroy a directory again and again, and note how long each took."""
    domain = Domain(BlockingNetwork(), [DirectServer("127.0.0.1", port)])
    name = b"writer%d" % threading.get_ident()
    root = run(domain.root())
    while True:
        try:
            own = run(domain.create(root, (Property(b"name", (name,)),))).child
            break
        except NetInfoError:  # another writer was faster
            root = run(domain.root())
    ready.wait()
    begun = time.monotonic()
    end = begun + seconds
    while begun < end:
        made = run(domain.create(own, (Property(b"name", (b"x",)),)))
        between = time.monotonic()
        own = run(domain.destroy(made.parent, made.child))
        times.append(between - begun)
        begun, before = time.monotonic(), between
        times.append(begun - before)
    domain.close()
