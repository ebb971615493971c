"""The benchmark of SUP in small, so that it cannot rot: every pairing runs, and the table can be read."""

from pathlib import Path

import pytest

from tests.benchmarks.bench_sup import Case, cases, lines, measure
from tests.benchmarks.sup_pairings import PAIRINGS, far, near
from tests.interop.trees import let_all_in
from tests.peers import require_account

CASE = Case(key="small", name="3 files", files=3, sizes=(0, 5000), scanned=True, where=far)


@pytest.mark.interop
@pytest.mark.root
def test_every_pairing(tmp_path: Path) -> None:
    require_account("anon")
    let_all_in(tmp_path)
    (tmp_path / "cli").mkdir()
    rows = measure(CASE, tmp_path, runs=2)
    for pairing in PAIRINGS:
        row, is_sup = rows[pairing.name], not pairing.name.startswith("rsync")
        assert row.seconds > row.client_cpu * 0.1 > 0
        assert (row.server_cpu is not None) is is_sup
        assert (row.memory is not None) is ("our server" in pairing.name or "x ours" in pairing.name)
    table = list(lines({CASE.name: rows}))
    assert len(table) == 2 + 1 + len(PAIRINGS)
    assert all(len(line) <= 120 for line in table)


def test_what_is_measured() -> None:
    full, small = cases(1), cases(100)
    assert [(case.files, case.sizes[1], case.unchanged, case.scanned) for case in full] == [
        (10_000, 8 << 10, False, False),
        (1, 512 << 20, False, False),
        (10_000, 100, True, False),
        (100_000, 100, True, False),
        (100_000, 100, True, True),
        (500, 6000, False, False),
        (300, 8 << 10, False, False),
    ]
    assert [case.where for case in full] == [near] * 6 + [far]
    assert [case.files for case in small] == [100, 1, 100, 1000, 1000, 5, 3]
