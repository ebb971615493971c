"""Temporary files stand in one directory of the run, and those of dead runs are swept away."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sup.staging import Staging, sweep


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_nothing_is_made_before_it_is_needed(place: int, tmp_path: Path) -> None:
    staging = Staging(place, 7)
    staging.close()
    assert list(tmp_path.iterdir()) == []


def test_files_and_the_end(place: int, tmp_path: Path) -> None:
    staging = Staging(place, 7)
    names = []
    for _ in range(3):
        fd, name = staging.create()
        assert os.fstat(fd).st_mode & 0o777 == 0o600
        os.close(fd)
        names.append(name)
    directory = tmp_path / "#7.sup"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {os.fsencode(entry.name) for entry in directory.iterdir()} == set(names)
    staging.discard(names[0])
    staging.discard(names[0])
    assert len(list(directory.iterdir())) == 2
    staging.close()
    assert list(tmp_path.iterdir()) == []


def test_leavings_of_a_process_with_the_same_number_are_taken_over(place: int, tmp_path: Path) -> None:
    (tmp_path / "#7.sup").mkdir()
    (tmp_path / "#7.sup/1").write_text("old")
    staging = Staging(place, 7)
    fd, _ = staging.create()
    assert os.fstat(fd).st_size == 0
    os.close(fd)
    staging.close()


def test_two_runs_of_one_number_do_not_share_a_directory(place: int, tmp_path: Path) -> None:
    first, second = Staging(place, 7), Staging(place, 7)
    assert os.fstat(first.fd).st_ino != os.fstat(second.fd).st_ino
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_sweeping_takes_what_nobody_holds(place: int, tmp_path: Path) -> None:
    gone = dead_pid()
    (tmp_path / "#1.sup").mkdir()
    (tmp_path / "#1.sup/3").write_text("half")
    (tmp_path / f"#{gone}.sup").write_text("half, of the original's")
    (tmp_path / f"#{os.getpid()}.sup").write_text("of a live run")
    (tmp_path / "#99999999999999999999.sup").write_text("no process number")
    (tmp_path / "#2.sup").mkdir()
    held = os.open(tmp_path / "#2.sup", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    for other in ("#x.sup", "1.sup", "#1.sup.bak", "file"):
        (tmp_path / other).write_text("mine")
    sweep(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"#{os.getpid()}.sup", "#2.sup", "#x.sup", "1.sup", "#1.sup.bak", "file"]
    )
    os.close(held)


def test_a_staging_directory_that_holds_more_than_files_is_left(place: int, tmp_path: Path) -> None:
    (tmp_path / "#1.sup/directory").mkdir(parents=True)
    sweep(place)
    assert (tmp_path / "#1.sup/directory").is_dir()


def test_a_link_with_such_a_name_is_not_followed(place: int, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("")
    (tmp_path / f"#{dead_pid()}.sup").symlink_to("precious")
    sweep(place)
    assert (tmp_path / "precious/file").exists()
