"""What -f tells, in the original's words (scenario s14), and that it changes nothing."""

import os
from pathlib import Path

import pytest

from sup.install import UnknownType, discard
from sup.preview import Preview
from sup.report import Report
from sup.writable import WritableTree
from tests.sup.installing import MTIME, changed, directory, file, finished, symlink, update
from wire.formats.sup import Recv


async def no_data(_: object) -> None:
    raise AssertionError("no data is sent in a list-only session")


def told(top: Path, *recvs: Recv) -> list[str]:
    said: list[str] = []
    report = Report(said.append)
    before = sorted((path, path.lstat().st_mtime) for path in top.rglob("*"))
    with WritableTree(os.fsencode(top)) as tree:
        preview = Preview(tree, report)
        for recv in recvs:
            assert recv.name is not None
            finished(preview.receive(recv.name, recv, no_data))
        finished(preview.flush())
        finished(preview.finish())
    assert sorted((path, path.lstat().st_mtime) for path in top.rglob("*")) == before
    return said


def test_a_fresh_client(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        file(b"data/a", links=(b"data/a2",), commands=(b"make", b"date"), size=None),
        symlink(b"data/sl", b"a"),
        directory(b"data"),
    ) == [
        "SUP Would create file data/a",
        "SUP Would link data/a2 to data/a",
        "SUP Would execute date",
        "SUP Would execute make",
        "SUP Would create symbolic link data/sl to a",
        "SUP Would create directory data",
    ]


def test_a_client_that_has_files(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for number, name in enumerate(["old", "same", "new", "linked"]):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, MTIME + number - 1))
    (tmp_path / "link").symlink_to("a")
    assert told(
        tmp_path,
        file(b"old", links=(b"linked",), size=None),
        file(b"same", size=None),
        file(b"new", size=None),
        update(b"new"),
        symlink(b"link", b"a"),
        symlink(b"link", b"b"),
        symlink(b"same", b"x"),
        symlink(b"x", b"y", links=()),
        file(b"d", size=None),
        directory(b"d"),
    ) == [
        "SUP Would receive new file old",
        "SUP Would remove regular file linked",
        "SUP Would link linked to old",
        "SUP Would receive file same",
        "SUP Would receive old file new",
        "SUP Would update file new",
        "SUP Would update symbolic link link to b",
        "SUP Would remove regular file same",
        "SUP Would create symbolic link same to x",
        "SUP: Missing linkname for symbolic link x",
        "SUP Would remove directory d",
        "SUP Would create file d",
        "SUP Would update directory d",
    ]


def test_unsafe_links_and_unknown_types(tmp_path: Path) -> None:
    (said,) = told(tmp_path, file(b"a", links=(), size=None))
    assert said == "SUP Would create file a"
    assert "would leave the base directory" in told(tmp_path, file(b"a", links=(b"../x",), size=None))[1]
    with pytest.raises(UnknownType):
        told(tmp_path, changed(file(b"a"), mode=0o010644))


def test_discarding() -> None:
    discard(b"anything")
