"""The NetInfo benchmark in small, so that it still runs when somebody wants its figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.bench_netinfo import (
    OPERATIONS,
    SERVERS,
    SHAPES,
    build_programs,
    measure_calls,
    measure_writes,
    report,
)

pytestmark = pytest.mark.interop


def test_benchmark_measures_every_row(tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    programs = build_programs(tmp_path)
    calls = measure_calls(programs, tmp_path, 20, OPERATIONS, seconds=0.05)
    writes = measure_writes(programs, tmp_path / "writes", (1, 2), seconds=0.05)
    assert set(calls) == {(operation, shape) for operation in OPERATIONS for shape in SHAPES}
    for row in calls.values():
        assert list(row) == list(SERVERS)
    for row in (*calls.values(), *writes.values()):
        for figures in row.values():
            assert figures.rate > 0
            assert 0 < figures.p50 <= figures.p99
    lines: list[str] = []
    report("calls", calls, lines.append)
    report("writes", writes, lines.append)
    assert "".join(lines).count("\n") == 2 * 3 + len(calls) + len(writes) + 2
