"""Data is brought to the disk, and a disk that refuses is noticed."""

import os
from pathlib import Path

import pytest

from sup import durability
from sup.durability import FILE_BY_FILE, IN_BATCHES, NOT_DURABLE, durable


def test_the_fastest_way_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert durable() is (IN_BATCHES if durability._syncfs() else FILE_BY_FILE)
    monkeypatch.setattr(durability, "_syncfs", lambda: None)
    assert durable() is FILE_BY_FILE


def test_both_ways_take_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    for path in (tmp_path, tmp_path / "x"):
        fd = os.open(path, os.O_RDONLY)
        for way in (FILE_BY_FILE, IN_BATCHES):
            assert way.sync is not None
            way.sync(fd)
        if IN_BATCHES.barrier is not None:
            IN_BATCHES.barrier(fd)
        os.close(fd)


def test_a_barrier_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert IN_BATCHES.barrier is not None
    if durability._syncfs() is not None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            IN_BATCHES.barrier(-1)
    assert NOT_DURABLE.sync is None
    assert NOT_DURABLE.barrier is None
