"""Scan files of all releases are made, or none of a release that cannot be walked."""

import os
from pathlib import Path

import pytest

from sup.collection import Collection, CollectionError
from sup.releases import NoSuchRelease
from sup.scanning import Made, make_scans


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("sup/demo/list", "data/a", "data/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("upgrade data\nexecute touch %s (data/a)\nbackup data/b\n")
    return tmp_path


def scans(base: Path, now: float = 1000.5) -> list[Made]:
    with Collection(b"demo", os.fsencode(base), (os.fsencode(base),)) as collection:
        return make_scans(collection, now)


def line(path: Path, marks: str = "") -> str:
    status = path.stat()
    return f"{marks}{status.st_mode:o} {int(status.st_ctime)} {int(status.st_mtime)} data/{path.name}\n"


def test_one_release(base: Path) -> None:
    assert scans(base) == [Made(b"scan", 3, ())]
    scan = base / "sup/demo/scan"
    head = f"V2\n{line(base / 'data')}".replace("data/data", "data")
    assert scan.read_text() == head + line(base / "data/a") + "Xtouch data/a\n" + line(base / "data/b", "B")
    assert scan.stat().st_mtime == 999
    assert not (base / "sup/demo/scan.temp").exists()


def test_releases(base: Path) -> None:
    (base / "sup/demo/releases").write_text(
        "one scan=scan.one prefix=data list=list.one next=two\ntwo scan=scan.two\n"
    )
    (base / "sup/demo/list.one").write_text("upgrade a")
    assert scans(base) == [Made(b"scan.one", 1, ()), Made(b"scan.two", 3, ())]
    assert not (base / "sup/demo/scan").exists()


def test_names_with_newlines(base: Path) -> None:
    (base / "data/new\nline").touch()
    assert scans(base) == [Made(b"scan", 3, (b"data/new\nline",))]


def test_what_cannot_be_scanned(base: Path) -> None:
    scans(base)
    before = (base / "sup/demo/scan").read_bytes()
    (base / "sup/demo/list").write_text("upgraed data")
    with pytest.raises(CollectionError, match="upgraed"):
        scans(base)
    assert (base / "sup/demo/scan").read_bytes() == before
    (base / "sup/demo/releases").write_text("default prefix=none\n")
    with pytest.raises(NoSuchRelease, match="Can't chdir to none"):
        scans(base)


@pytest.mark.parametrize(
    ("releases", "names"),
    [
        ("one prefix=data scan=x\ntwo scan=x\n", "one and two would share the file x"),
        ("one list=list.one\n", "one and default would share the file scan"),
        ("one host=host.one\ntwo scan=two prefix=data\n", None),
    ],
)
def test_different_trees_have_different_scan_files(base: Path, releases: str, names: str | None) -> None:
    """Else clients that delete would lose what is in the other tree alone."""
    (base / "sup/demo/list").write_text("upgrade *\n")
    (base / "sup/demo/releases").write_text(releases)
    if names is None:
        scans(base)
    else:
        with pytest.raises(CollectionError, match=names):
            scans(base)
        assert not list((base / "sup/demo").glob("scan*"))
