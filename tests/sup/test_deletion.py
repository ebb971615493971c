"""Deletion takes what earlier upgrades brought and leaves everything else (SUP 8.2)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from sup.deletion import clear_directory, delete
from sup.needs import doomed
from sup.report import Report
from sup.supfile import Collection
from sup.writable import Blocked, WritableTree, identity

DELETE = Collection(b"demo", delete=True)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("d/x", "d/y", "a", "keep"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "top/l").symlink_to("nowhere")
    return tmp_path / "top"


@pytest.fixture
def tree(top: Path) -> Iterator[WritableTree]:
    with WritableTree(os.fsencode(top)) as tree:
        yield tree


LAST = frozenset({b"a", b"d", b"d/x", b"d/y", b"l", b"keep", b"gone"})


def run(
    tree: WritableTree, collection: Collection, refused: frozenset[bytes] = frozenset()
) -> tuple[set[bytes], list[str]]:
    said: list[str] = []
    report = Report(said.append, verbose=True)
    victims = doomed(LAST, {b"keep": None}, tree.lstat, refused)
    remembered = delete(tree, victims, collection, report)
    assert report.problems == []
    return remembered, said


def test_delete(tree: WritableTree, top: Path) -> None:
    remembered, said = run(tree, DELETE)
    assert remembered == set()
    assert said == [
        "SUP Deleted symbolic link l",
        "SUP Deleted file d/y",
        "SUP Deleted file d/x",
        "SUP Deleted directory d",
        "SUP Deleted file a",
    ]
    assert [path.name for path in top.iterdir()] == ["keep"]


@pytest.mark.parametrize(
    ("collection", "word"),
    [(evolve(DELETE, list_only=True), "Would"), (Collection(b"demo", old=True), "Please")],
)
def test_only_telling(tree: WritableTree, top: Path, collection: Collection, word: str) -> None:
    before = sorted(top.rglob("*"))
    remembered, said = run(tree, collection)
    assert said == [
        f"SUP {word} delete {what}"
        for what in ("symbolic link l", "file d/y", "file d/x", "directory d", "file a")
    ]
    assert remembered == (set() if word == "Would" else LAST - {b"keep", b"gone"})
    assert sorted(top.rglob("*")) == before


def test_refused_names_stay_and_are_forgotten(tree: WritableTree, top: Path) -> None:
    remembered, said = run(tree, DELETE, frozenset({b"a"}))
    assert "SUP Would not delete file a" in said
    assert b"a" not in remembered
    assert (top / "a").exists()


def test_files_of_the_users_own_keep_their_directory(tree: WritableTree, top: Path) -> None:
    (top / "d/own").write_text("precious")
    remembered, said = run(tree, DELETE)
    assert "SUP: Unable to delete directory d (it holds files that no upgrade brought here)" in said
    assert remembered == {b"d"}
    assert (top / "d/own").read_text() == "precious"
    assert not (top / "d/x").exists()


def test_nothing_is_deleted_through_a_link(tree: WritableTree, top: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (top / "d").rename(precious)
    (top / "d").symlink_to(precious)
    _, said = run(tree, DELETE)
    assert sorted(path.name for path in precious.iterdir()) == ["x", "y"]
    assert "SUP Deleted symbolic link d" in said


def test_what_cannot_be_deleted_is_remembered(tree: WritableTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "unlink", refuse)
    remembered, said = run(tree, DELETE)
    assert remembered == {b"a", b"l", b"d", b"d/x", b"d/y"}
    assert "SUP: Unable to delete file a (Input/output error)" in said


def test_clearing_a_directory(tree: WritableTree, top: Path) -> None:
    (top / "d/between/deep").mkdir(parents=True)
    (top / "d/between/deep/z").write_text("")
    clear_directory(tree, b"d", LAST | {b"d/between/deep/z"})
    assert not (top / "d").exists()


@pytest.mark.parametrize("foreign", ["d/own", "d/sub/own"])
def test_clearing_removes_nothing_when_something_is_foreign(
    tree: WritableTree, top: Path, foreign: str
) -> None:
    (top / foreign).parent.mkdir(exist_ok=True)
    (top / foreign).write_text("precious")
    with pytest.raises(Blocked, match=f"holds {foreign}, which no upgrade brought"):
        clear_directory(tree, b"d", LAST)
    assert (top / "d/x").exists()
    assert (top / "d/y").exists()


def test_an_empty_directory_of_the_users_own_counts(tree: WritableTree, top: Path) -> None:
    (top / "d/empty").mkdir()
    with pytest.raises(Blocked, match="d/empty"):
        clear_directory(tree, b"d", LAST)


def test_temporary_files_do_not_count(tree: WritableTree, top: Path) -> None:
    (top / "d/#12345.sup").write_text("half")
    clear_directory(tree, b"d", LAST)
    assert not (top / "d").exists()


def test_control_files_are_never_cleared(tree: WritableTree, top: Path) -> None:
    (top / "sup/demo").mkdir(parents=True)
    (top / "sup/demo/when").write_text("1\n")
    fd = os.open(top / "sup/demo", os.O_RDONLY)
    tree.seal(identity(fd))
    os.close(fd)
    with pytest.raises(Blocked):
        clear_directory(tree, b"sup", {b"sup", b"sup/demo", b"sup/demo/when"})
    assert (top / "sup/demo/when").exists()


def test_a_link_within_is_removed_and_not_followed(tree: WritableTree, top: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("")
    (top / "d/link").symlink_to(tmp_path / "precious")
    clear_directory(tree, b"d", LAST | {b"d/link"})
    assert (tmp_path / "precious/file").exists()
