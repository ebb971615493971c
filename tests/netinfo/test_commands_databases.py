"""`ghostports netinfo import` and `export`: old disks and raw text, in and out (NETINFO 6.1 to 6.3)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netinfo import nidb
from netinfo.commands.databases import netinfo
from netinfo.rawformat import branch_of, dump, load
from netinfo.store import Store, StoreError

NIDB = Path(__file__).parents[1] / "captures" / "nidb"
RAW = b'{ "master" = ( "srv/network" ); CHILDREN = ( { "name" = ( "users" ); "odd" = ( "\xff" ); } ) }'


def run(*argv: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(netinfo, [str(word) for word in argv], input=stdin)


@pytest.mark.parametrize("generation", ["next", "apple"])
def test_an_old_disk_comes_in_and_goes_out_again(tmp_path: Path, generation: str) -> None:
    source = NIDB / f"{generation}.nidb"
    ran = run("import", source, "--state", tmp_path, "--tag", "old")
    assert ran.exit_code == 0, ran.output
    (checksum,) = re.findall(r"\d+", (NIDB / f"{generation}.checksum").read_text())
    assert f"checksum {checksum}\n" in ran.output
    out = tmp_path / "out.nidb"
    ran = run("export", out, "--state", tmp_path, "--tag", "old", "--format", generation)
    assert ran.exit_code == 0, ran.output
    before, after = nidb.read(source).tree, nidb.read(out).tree
    assert after.checksum == before.checksum
    assert branch_of(after, after.directories[0]) == branch_of(before, before.directories[0])


def test_raw_text_both_ways(tmp_path: Path) -> None:
    raw = tmp_path / "sales.raw"
    raw.write_bytes(RAW)
    ran = run("import", raw, "--state", tmp_path / "state")
    assert ran.exit_code == 0
    assert (tmp_path / "state" / "sales.db").exists()
    out = tmp_path / "out.raw"
    assert run("export", out, "--state", tmp_path / "state", "--tag", "sales").exit_code == 0
    assert out.read_bytes() == dump(load(RAW))
    to_stdout = run("export", "-", "--state", tmp_path / "state", "--tag", "sales")
    assert to_stdout.stdout_bytes == dump(load(RAW))
    from_stdin = run("import", "-", "--state", tmp_path / "state", "--tag", "again", stdin=RAW)
    assert from_stdin.exit_code == 0


def test_a_destination_called_nidb_is_next_s_database(tmp_path: Path) -> None:
    run("import", "-", "--state", tmp_path, "--tag", "network", stdin=RAW)
    assert run("export", tmp_path / "network.nidb", "--state", tmp_path).exit_code == 0
    assert (tmp_path / "network.nidb" / "collection").exists()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["import", "{tmp}", "--tag", "x"], "neither `collection` (NeXT) nor `Store.*` (Apple)"),
        (["import", "{tmp}/bad.raw"], "line 1"),
        (["export", "-", "--tag", "nope"], "does not exist"),
        (["export", "-", "--tag", "junk"], "junk.db"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, argv: list[str], sentence: str) -> None:
    (tmp_path / "bad.raw").write_bytes(b"{ nonsense")
    state = tmp_path / "state"
    state.mkdir()
    (state / "junk.db").write_bytes(b"nothing of ours, and long enough to be looked at " * 9)
    ran = run(*[word.format(tmp=tmp_path) for word in argv], "--state", state)
    assert ran.exit_code == 1
    assert sentence in ran.output


def test_what_no_server_takes_is_not_imported(tmp_path: Path) -> None:
    """It could be stored, and never be read again over the wire."""
    raw = b'{ CHILDREN = (\n { "name" = ( "ann" ); "x" = ( "%s" ); } ) }' % (b"v" * 65_536)
    ran = run("import", "-", "--state", tmp_path, "--tag", "x", stdin=raw)
    assert (ran.exit_code, "line 2: a server does not take" in ran.output) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_an_import_that_fails_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: Store, work: object) -> None:
        raise StoreError(f"{store.path}: database or disk is full", full=True)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "save", full)
        ran = run("import", "-", "--state", tmp_path, "--tag", "x", stdin=RAW)
        assert (ran.exit_code, "disk is full" in ran.output) == (1, True)
    assert run("import", "-", "--state", tmp_path, "--tag", "x", stdin=RAW).exit_code == 0


def test_a_database_is_never_overwritten(tmp_path: Path) -> None:
    assert run("import", "-", "--state", tmp_path, "--tag", "x", stdin=RAW).exit_code == 0
    again = run("import", "-", "--state", tmp_path, "--tag", "x", stdin=RAW)
    assert (again.exit_code, "exists already" in again.output) == (1, True)
    assert run("import", "-", "--state", tmp_path, "--tag", "a/b", stdin=RAW).exit_code == 2
