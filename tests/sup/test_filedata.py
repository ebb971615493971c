"""File data as it arrives: plain, and as gzip streams of one or more members (SUP 5.1)."""

import gzip
import itertools
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup.filedata import GzipError, GzipWriter, PlainWriter, Writer


def written(path: Path, kind: Callable[[int], Writer], pieces: list[bytes]) -> bytes:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        writer = kind(fd)
        for piece in pieces:
            writer.write(piece)
        writer.finish()
    finally:
        os.close(fd)
    return path.read_bytes()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(position % (len(data) + 1) for position in at)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 1 << 20), max_size=5)


@given(st.binary(max_size=200), cuts)
def test_plain_data_however_cut(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: list[int]) -> None:
    assert written(tmp_path_factory.mktemp("f") / "x", PlainWriter, cut(data, at)) == data


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), cuts)
def test_gzip_members_however_cut(
    tmp_path_factory: pytest.TempPathFactory, members: list[bytes], at: list[int]
) -> None:
    stream = b"".join(gzip.compress(member) for member in members)
    assert written(tmp_path_factory.mktemp("f") / "x", GzipWriter, cut(stream, at)) == b"".join(members)


def test_an_empty_file_is_a_stream_too(tmp_path: Path) -> None:
    assert written(tmp_path / "x", GzipWriter, [gzip.compress(b"")]) == b""


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 3 << 18, (1 << 20) - 1])
def test_sizes_about_the_size_of_a_piece(tmp_path: Path, size: int) -> None:
    data = os.urandom(1000) + b"\0" * (size - 1000)
    assert written(tmp_path / "x", GzipWriter, [gzip.compress(data)]) == data


GOOD = gzip.compress(b"hello" * 100, mtime=0)  # the same in every process: it is part of the names of tests


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"", "not complete"),
        (GOOD[:-1], "not complete"),
        (GOOD + b"x", "not complete"),
        (GOOD + b"trailing garbage", "not a gzip stream"),
        (b"plain text", "not a gzip stream"),
        (zlib.compress(b"x"), "not a gzip stream"),
        (GOOD[:-8] + bytes([GOOD[-8] ^ 1]) + GOOD[-7:], "not a gzip stream"),
    ],
)
def test_damaged_streams(tmp_path: Path, stream: bytes, reason: str) -> None:
    with pytest.raises(GzipError, match=reason):
        written(tmp_path / "x", GzipWriter, [stream])


def test_a_stream_that_unpacks_to_much_does_not_take_memory(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(64)), packer.flush()])
    fd = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    tracemalloc.start()
    writer = GzipWriter(fd)
    writer.write(bomb)
    writer.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    os.close(fd)
    assert (tmp_path / "x").stat().st_size == 64 << 20
    assert peak < 4 << 20
