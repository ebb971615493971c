"""SUP in four pairings of Debian's programs and ours, against an rsync daemon doing the same: one table.

Each figure is the median of RUNS runs on one machine, the slow ones of the original's excepted, which run once; the
pairings take turns, so that a machine that is faster now and then is so for all. What counts are the ratios. The
processor's time of a server is the whole of its work for one session; memory is the most that our server held in the
runs of a row. BENCH_QUICK=1 makes everything small: it shows that the benchmark runs, and nothing else.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.sup_pairings import (
    PAIRINGS,
    REAL,
    Pairing,
    Place,
    Run,
    far,
    near,
    our_sup,
    our_sup_without_fsync,
    ours,
    run,
)
from tests.interop.trees import collection, snapshot, write
from tests.peers import peer, require_account

RUNS = 1 if os.environ.get("BENCH_QUICK") else 5
SHARE = 100 if os.environ.get("BENCH_QUICK") else 1
"""What everything is divided by."""
LONG_AGO = 1_600_000_000
BLOCK = 1 << 20
"""Of a large file, which repeats it."""


@attrs.frozen(kw_only=True)
class Case:
    """Something to sync."""

    key: str
    """Its name for -k."""
    name: str
    files: int
    sizes: tuple[int, int]
    """Bytes of the smallest and the largest file."""
    unchanged: bool = False
    """The client has it all already."""
    scanned: bool = False
    """There is a scan file, made anew before every run."""
    where: Callable[[Path], AbstractContextManager[Place]] = near
    once: tuple[str, ...] = ()
    """Pairings that take so long that they run once."""

    def prepare(self, place: Place) -> None:
        """Make the files, with the same content each time."""
        chance = random.Random(1995)
        for number in range(self.files):
            size = chance.randint(*self.sizes)
            content = chance.randbytes(min(size, BLOCK)) * max(size // BLOCK, 1)
            write(place.srv, f"data/{number // 100:04}/file{number:06}", content, mtime=LONG_AGO + number)
        collection(place.srv, "upgrade data\n")
        if self.scanned:
            subprocess.run([peer("supscan"), "-q", "demo", place.srv], check=True, capture_output=True)
        if self.unchanged:
            fill = Pairing("fill", our_sup_without_fsync, ours)
            with ours(place) as server:
                run(place, fill, server)

    def again(self, place: Place, number: int) -> None:
        """What comes before a run, and is not counted."""
        if not self.unchanged:
            place.clear()
        if self.scanned:  # as after a nightly supscan: the client asks what is new, and there is nothing
            later = os.stat(place.srv / "sup/demo/list").st_mtime + 3600 + number
            os.utime(place.srv / "sup/demo/scan", (later, later))


def cases(share: int = SHARE) -> tuple[Case, ...]:
    """What the table is about; `share` divides all numbers."""
    many, more = 10_000 // share, 100_000 // share
    return (
        Case(
            key="fresh", name=f"{many:,} files of 0.1 to 8 KB", files=many, sizes=(100, 8 << 10), once=(REAL,)
        ),
        Case(key="large", name=f"1 file of {512 // share} MiB", files=1, sizes=((512 << 20) // share,) * 2),
        Case(key="unchanged", name=f"{many:,} files, unchanged", files=many, sizes=(1, 100), unchanged=True),
        Case(
            key="unchanged-more",
            name=f"{more:,} files, unchanged",
            files=more,
            sizes=(1, 100),
            unchanged=True,
        ),
        Case(
            key="scanned",
            name=f"{more:,} files, unchanged, scan file",
            files=more,
            sizes=(1, 100),
            unchanged=True,
            scanned=True,
        ),
        Case(
            key="stalled",
            name=f"{500 // share} files of 6 KB",
            files=500 // share,
            sizes=(6000, 6000),
            once=(REAL,),
        ),
        Case(
            key="far",
            name=f"{300 // share} files, 20 ms away",
            files=300 // share,
            sizes=(100, 8 << 10),
            where=far,
            once=(REAL,),
        ),
    )


@attrs.frozen
class Row:
    """What one pairing brought in one case: medians, and our server's memory in bytes."""

    seconds: float
    client_cpu: float
    server_cpu: float | None
    memory: int | None


Table = dict[str, dict[str, Row]]
"""By case and pairing."""


def measure(case: Case, top: Path, runs: int = RUNS) -> dict[str, Row]:
    """Every pairing in one case. Raises AssertionError if what a client has is not what the server has."""
    done: dict[str, list[Run]] = {pairing.name: [] for pairing in PAIRINGS}
    with ExitStack() as stack:
        places = [stack.enter_context(case.where(top)) for _ in PAIRINGS]
        case.prepare(places[0])
        servers = [
            stack.enter_context(pairing.server(place))
            for pairing, place in zip(PAIRINGS, places, strict=True)
        ]
        for turn in range(runs):
            for pairing, place, server in zip(PAIRINGS, places, servers, strict=True):
                if turn == 0 or pairing.name not in case.once:
                    case.again(place, sum(map(len, done.values())))
                    done[pairing.name].append(run(place, pairing, server))
                if turn == 0:
                    assert snapshot(place.cli) == snapshot(place.srv), pairing.name
        return {
            pairing.name: row(done[pairing.name], server.peak())
            for pairing, server in zip(PAIRINGS, servers, strict=True)
        }


def row(runs: list[Run], memory: int | None) -> Row:
    """The medians of some runs."""
    costs = [each.server_cpu for each in runs if each.server_cpu is not None]
    return Row(
        statistics.median(each.seconds for each in runs),
        statistics.median(each.client_cpu for each in runs),
        statistics.median(costs) if costs else None,
        memory,
    )


def lines(table: Table) -> Iterator[str]:
    """The table: what was measured, and beside it the ratios."""
    yield f"{'SUP: client x server':38}{'seconds':>9}{'faster than':>13}{'times':>13}{'CPU seconds':>22}"
    yield f"{'':38}{'':>9}{REAL:>13}{'rsync':>13}{'client':>11}{'server':>11}{'original':>10}{'MB':>8}"
    for case, rows in table.items():
        yield case
        for pairing in PAIRINGS:
            row, real = rows[pairing.name], rows[REAL]
            yield (
                f"  {pairing.name:36}{row.seconds:9.3f}{real.seconds / row.seconds:12.1f}x"
                f"{row.seconds / rows[pairing.rsync].seconds:12.2f}x{row.client_cpu:11.3f}"
                + _number(row.server_cpu, "11.3f")
                + _number(
                    row.server_cpu and real.server_cpu and row.server_cpu / real.server_cpu, "9.2f", "x"
                )
                + _number(row.memory and row.memory / 1e6, "8.0f")
            )


def _number(value: float | None, form: str, unit: str = "") -> str:
    width = int(form.partition(".")[0]) + len(unit)
    return " " * width if value is None else f"{value:{form}}{unit}"


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Filled by the tests, case by case, and printed when all are done."""
    found: Table = {}
    yield found
    with cast(Any, request.config.pluginmanager.get_plugin("capturemanager")).global_and_fixture_disabled():
        sys.stdout.write("\n" + "\n".join(lines(found)) + "\n")


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that the account `anon` can reach."""
    require_account("anon")
    with tempfile.TemporaryDirectory(prefix="sup-") as made:
        os.chmod(made, 0o755)
        Path(made, "cli").mkdir()
        yield Path(made)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.key)
def test_pairings(case: Case, table: Table, top: Path, benchmark: BenchmarkFixture) -> None:
    def everything() -> None:
        table[case.name] = measure(case, top)

    cast(Any, benchmark).pedantic(everything, rounds=1)
    benchmark.extra_info.update({name: attrs.asdict(row) for name, row in table[case.name].items()})


def test_start(top: Path, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """The start of our client: a whole session with nothing to do, and what it imports."""
    idle = Case(key="idle", name="idle", files=1, sizes=(1, 1), unchanged=True)
    with near(top) as place:
        idle.prepare(place)
        with ours(place) as server:
            pairing = Pairing("idle", our_sup, ours)

            def once() -> None:
                run(place, pairing, server)

            cast(Any, benchmark).pedantic(once, rounds=2 * RUNS)
            interpreter, *rest = our_sup(place)
            ran = place.clients.run([interpreter, "-X", "importtime", *rest])
    imports = imported(ran.stderr.decode())
    total = sum(imports.values())
    largest = sorted(imports.items(), key=lambda item: -item[1])[:10]
    benchmark.extra_info.update({"import seconds": total, "largest": dict(largest)})
    with capsys.disabled():
        median = cast(Any, benchmark).stats.stats.median
        sys.stdout.write(
            f"\nsup with nothing to do: {median:.3f} s; under -X importtime {total:.3f} s for "
            f"{len(imports)} modules, most for "
            + ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in largest)
            + "\n"
        )


def imported(text: str) -> dict[str, float]:
    """The modules that `-X importtime` tells of, and the seconds that each took by itself."""
    found = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", text)
    return {name: int(micros) / 1e6 for micros, name in found}
