"""wire.capture.batch: many captures, in one process, in several, and on a Dask cluster, with the same results."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from wire.capture.batch import sources
from wire.capture.commands.dissect import dissect

CAPTURES = Path(__file__).parent.parent / "captures"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three captures, one of them in a folder of its own, a file that is cut short, and one that is none."""
    place = tmp_path / "many"
    (place / "older").mkdir(parents=True)
    shutil.copy(CAPTURES / "sup" / "s01-fresh.pcap", place / "upgrade.pcap")
    shutil.copy(CAPTURES / "sup" / "s13-compress.pcap", place / "older" / "upgrade.pcap")
    shutil.copy(CAPTURES / "netinfo" / "next-binding.pcap", place / "a.pcap")
    (place / "b.pcap").write_bytes((place / "a.pcap").read_bytes()[:10])
    (place / "notes.txt").write_text("not a capture\n")
    return place


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dissect, [str(argument) for argument in arguments])


def test_a_folder_is_every_capture_below_it(folder: Path) -> None:
    found = sources([str(folder), str(folder / "a.pcap")])
    assert [(os.path.relpath(one.path, folder), one.label) for one in found] == [
        ("a.pcap", "a.pcap"),
        ("b.pcap", "b.pcap"),
        ("older/upgrade.pcap", "older-upgrade.pcap"),
        ("upgrade.pcap", "upgrade.pcap"),
        ("a.pcap", "a.pcap-2"),
    ]


@pytest.mark.parametrize(
    "options", [[], ["--json"], ["--explain", "--where", "failed"], ["--stats", "--json"]]
)
def test_several_processes_say_the_same_in_the_same_order(folder: Path, options: list[str]) -> None:
    alone, together = run(folder, *options), run(folder, *options, "--jobs", "2")
    assert alone.stdout == together.stdout
    assert alone.stderr == together.stderr
    assert "b.pcap: this pcap file ends inside its file header" in alone.stderr
    assert (alone.exit_code, together.exit_code) == (1, 1)
    assert len(alone.stdout) > 1000


@pytest.mark.parametrize("options", [[], ["--json", "--jobs", "2"]])
def test_names_that_are_not_utf_8(tmp_path: Path, options: list[str]) -> None:
    for name in ("\udcff.pcap", "b.pcap"):
        shutil.copy(CAPTURES / "sup" / "s15-refuse.pcap", tmp_path / name)
    ran = subprocess.run(
        [sys.executable, "-m", "emulators.cli", "dissect", *options, tmp_path],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"}, cwd=ROOT, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.count(b"\\udcff.pcap") == (25 if "--json" in options else 1)
    if "--json" in options:
        assert json.loads(ran.stdout.splitlines()[-1])["file"] == f"{tmp_path}/\udcff.pcap"


def test_what_of_a_folder_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(CAPTURES / "sup" / "s15-refuse.pcap", tmp_path / "b.pcap")
    (tmp_path / "a.pcap").write_bytes(b"")
    really = Path.open

    def opened(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "a.pcap":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", opened)
    assert [one.label for one in sources([str(tmp_path)])] == ["a.pcap", "b.pcap"]


def test_files_of_several_captures_are_extracted_apart(folder: Path, tmp_path: Path) -> None:
    ran = run(folder, "--extract", tmp_path / "out", "--jobs", "2")
    assert "files," in ran.stderr
    found = {
        path.relative_to(tmp_path / "out").parts[:2]
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert {place for place, _ in found} == {"upgrade.pcap", "older-upgrade.pcap"}


def test_a_folder_without_captures(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert (ran.exit_code, ran.stderr) == (1, f"No captures below {tmp_path}.\n")


def test_wrong_usage(folder: Path, tmp_path: Path) -> None:
    for options in (
        ["-", "--jobs", "2"],
        [folder, "--jobs", "0"],
        [folder, "--jobs", "2", "--cluster", "tcp://127.0.0.1:1"],
        [folder, "--html", tmp_path / "page.html"],
        [folder, "--where", "color == 1", "--jobs", "2"],
    ):
        assert run(*options).exit_code == 2, options


@pytest.mark.parametrize(
    ("option", "module", "extra"),
    [("--parquet", "pyarrow", "table"), ("--cluster", "distributed", "cluster")],
)
def test_an_extra_that_is_not_installed(
    folder: Path, option: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "wire.capture.table", raising=False)
    ran = run(folder, option, "x")
    assert ran.exit_code == 1
    assert ran.stderr == (
        f"Error: {option} needs the package {module}, which is not installed: pip install 'ghostports[{extra}]'\n"
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The scheduler's address of a cluster with two workers, in processes of their own."""
    program = (
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,\n"
        "                      host='127.0.0.1') as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.write("\n")


def test_a_cluster_says_the_same(folder: Path, tmp_path: Path, cluster: str) -> None:
    alone, there = run(folder), run(folder, "--cluster", cluster)
    assert there.stdout == alone.stdout
    assert there.stderr == alone.stderr
    assert (
        run(folder, "--cluster", cluster, "--parquet", tmp_path / "tables").exit_code == 1
    )  # b.pcap is none
    assert len(list((tmp_path / "tables").iterdir())) == 3


def test_a_cluster_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.capture.commands.dissect.CLUSTER_TIMEOUT", 0.2)
    ran = run(folder, "--cluster", "tcp://127.0.0.1:1")
    assert ran.exit_code == 1
    assert "The scheduler at tcp://127.0.0.1:1 cannot be reached" in ran.stderr
