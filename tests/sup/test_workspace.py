"""The directories of an upgrade: what is made when, and what is cleared away."""

import os
from pathlib import Path

import pytest

from sup.supfile import Collection
from sup.workspace import NoDirectory, Workspace
from sup.writable import Blocked


def collection(base: Path, **settings: bytes) -> Collection:
    values: dict[str, bytes] = {"base": os.fsencode(base), **settings}
    return Collection(b"demo", **values)  # type: ignore[arg-type]


def test_a_base_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(
        NoDirectory, match=r"Can't change to base directory .*/no \(No such file or directory\)"
    ):
        Workspace(collection(tmp_path / "no"))
    with pytest.raises(NoDirectory, match="Can't change to prefix directory"):
        Workspace(collection(tmp_path, prefix=b"no"))
    (tmp_path / "file").write_text("")
    with pytest.raises(NoDirectory, match="Not a directory"):
        Workspace(collection(tmp_path / "file"))


def test_failures_leave_nothing_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for _ in range(3):
        with pytest.raises(NoDirectory):
            Workspace(collection(tmp_path, prefix=b"no"))
    assert (os.listdir("/proc/self/fd") if before else []) == before


def test_what_is_made_when(tmp_path: Path) -> None:
    with Workspace(collection(tmp_path)) as workspace:
        assert list(tmp_path.iterdir()) == []
        assert workspace.enter() is True
        assert workspace.enter() is False
        assert [path.name for path in tmp_path.rglob("*")] == ["sup"]
        staging = workspace.prepare()
        assert workspace.prepare() is staging
        fd, _ = staging.create()
        os.close(fd)
        assert len(list((tmp_path / "sup/demo").glob("#*.sup/*"))) == 1
    assert list((tmp_path / "sup/demo").iterdir()) == []


def test_control_files_are_closed_to_names(tmp_path: Path) -> None:
    (tmp_path / "sup/demo").mkdir(parents=True)
    with Workspace(collection(tmp_path)) as workspace:
        workspace.enter()
        with pytest.raises(Blocked):
            workspace.tree.create(b"sup/demo/when")
        with pytest.raises(Blocked):
            workspace.tree.unfollowing().create(b"sup/demo/when")


def test_and_so_is_a_control_directory_that_is_made_later(tmp_path: Path) -> None:
    with Workspace(collection(tmp_path)) as workspace:
        workspace.enter()
        workspace.prepare()
        with pytest.raises(Blocked):
            workspace.tree.create(b"sup/demo/when")


@pytest.mark.parametrize("prefix", [b"data", b"/absolute"])
def test_prefixes(tmp_path: Path, prefix: bytes) -> None:
    if prefix.startswith(b"/"):
        prefix = os.fsencode(tmp_path / "elsewhere")
    place = tmp_path / "base" / os.fsdecode(prefix)
    place.mkdir(parents=True)
    (tmp_path / "base").mkdir(exist_ok=True)
    with Workspace(collection(tmp_path / "base", prefix=prefix)) as workspace:
        assert workspace.is_prefixed
        os.close(workspace.tree.create(b"x"))
    assert (place / "x").exists()


def test_a_prefix_that_is_the_base(tmp_path: Path) -> None:
    with Workspace(collection(tmp_path, prefix=b".")) as workspace:
        assert not workspace.is_prefixed


def test_leavings_of_dead_runs_are_cleared_away(tmp_path: Path) -> None:
    for directory in ("", "sup", "sup/demo"):
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / "#99999999.sup").write_text("half")
    (tmp_path / "sup/demo/#1.sup").mkdir()
    (tmp_path / "sup/demo/#1.sup/7").write_text("half")
    with Workspace(collection(tmp_path)) as workspace:
        workspace.enter()
        workspace.prepare()
    assert not list(tmp_path.rglob("#*"))


@pytest.mark.root
def test_temporary_files_stand_on_the_file_system_of_the_files(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "prefix").mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "prefix")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with Workspace(collection(tmp_path, prefix=b"prefix")) as workspace:
            workspace.enter()
            staging = workspace.prepare()
            assert os.fstat(staging.fd).st_dev == (tmp_path / "prefix").stat().st_dev
    finally:
        subprocess.run(["umount", tmp_path / "prefix"], check=True)
