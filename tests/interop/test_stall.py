"""What lesson 8 says of the original: forty milliseconds for a file in two writes, none in one (SUP 10.1)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emulators.lessons.stall import SIZE
from tests.interop.trees import collection, let_all_in, write
from tests.peers import DebianSup, DebianSupfilesrv

FILES = 25
ONE_WRITE = 1000
"""Bytes of a file whose whole RECV is one write (question 1 of the lesson)."""


@pytest.mark.interop
@pytest.mark.root
def test_the_original_stalls_where_the_lesson_says(
    debian_supfilesrv: Callable[..., DebianSupfilesrv], debian_sup: DebianSup, tmp_path: Path
) -> None:
    took = {}
    server = debian_supfilesrv("-P")
    let_all_in(tmp_path)
    for size in (ONE_WRITE, SIZE):
        served, received = tmp_path / f"served-{size}", tmp_path / f"received-{size}"
        received.mkdir()
        collection(served, "upgrade data\n")
        for number in range(FILES):
            write(served, f"data/file{number}", bytes(size))
        supfile = tmp_path / f"supfile-{size}"
        supfile.write_text(f"demo host={server.host} hostbase={served} base={received} timeout=0\n")
        start = time.monotonic()
        ran = debian_sup(supfile, network=server.namespace)
        took[size] = time.monotonic() - start
        assert len(list((received / "data").iterdir())) == FILES, ran
    assert took[SIZE] > FILES * 0.035
    assert took[ONE_WRITE] < took[SIZE] / 2
