"""A lab's directory: made in one step, kept, remade, and never anybody else's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulators import samples
from emulators.state import FORMAT, MARKER, StateError, directory_of, open_state
from sup.supfile import parse


def test_first_start_makes_everything(tmp_path: Path) -> None:
    state = open_state(tmp_path / "deep" / "lab", "127.0.0.1", fresh=False)
    assert state.is_new
    assert state.address == "127.0.0.1"
    base = state.collections / samples.COLLECTION
    assert (base / "bin/hello").stat().st_mode & 0o777 == 0o755
    assert (base / "doc/latest").readlink() == Path("ports.txt")
    assert (base / "etc/ports").samefile(base / "doc/ports.txt")
    assert (base / "etc/empty").stat().st_size == 0
    assert int((base / "README").stat().st_mtime) == samples.TIME
    assert state.client.is_dir()
    assert state.databases.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / "deep") == ["lab"]
    state.close()


def test_second_start_keeps_everything(tmp_path: Path) -> None:
    open_state(tmp_path / "lab", "127.0.0.1", fresh=False).close()
    (tmp_path / "lab/client/mine").write_text("kept")
    state = open_state(tmp_path / "lab", "127.0.0.2", fresh=False)
    assert not state.is_new
    assert state.address == "127.0.0.1"
    assert (state.client / "mine").read_text() == "kept"
    state.close()


def test_fresh_begins_anew(tmp_path: Path) -> None:
    open_state(tmp_path / "lab", "127.0.0.1", fresh=False).close()
    (tmp_path / "lab/client/mine").write_text("gone")
    state = open_state(tmp_path / "lab", "127.0.0.2", fresh=True)
    assert state.is_new
    assert state.address == "127.0.0.2"
    assert not (state.client / "mine").exists()
    assert os.listdir(tmp_path) == ["lab"]
    state.close()


def test_fresh_on_nothing_is_a_first_start(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    open_state(tmp_path / "lab", "127.0.0.1", fresh=True).close()
    assert (tmp_path / "lab" / MARKER).exists()


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_no_lab_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StateError, match="something else than a lab"):
        open_state(tmp_path, "127.0.0.1", fresh=fresh)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_directory_in_use_is_refused_also_for_fresh(tmp_path: Path) -> None:
    first = open_state(tmp_path / "lab", "127.0.0.1", fresh=False)
    for fresh in (False, True):
        with pytest.raises(StateError, match="Another lab is using"):
            open_state(tmp_path / "lab", "127.0.0.1", fresh=fresh)
    assert (tmp_path / "lab" / MARKER).exists()
    first.close()
    open_state(tmp_path / "lab", "127.0.0.1", fresh=False).close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x", "address": "a"}', '{"format": 1}', "\xff"])
def test_a_damaged_marker_is_named_and_fresh_helps(tmp_path: Path, text: str) -> None:
    open_state(tmp_path / "lab", "127.0.0.1", fresh=False).close()
    (tmp_path / "lab" / MARKER).write_text(text, encoding="latin-1")
    with pytest.raises(StateError, match=rf"{MARKER} is damaged.*--fresh"):
        open_state(tmp_path / "lab", "127.0.0.1", fresh=False)
    open_state(tmp_path / "lab", "127.0.0.1", fresh=True).close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    open_state(tmp_path / "lab", "127.0.0.1", fresh=False).close()
    (tmp_path / "lab" / MARKER).write_text(json.dumps({"format": FORMAT + 1, "address": "127.0.0.1"}))
    with pytest.raises(StateError, match=f"has format {FORMAT + 1}"):
        open_state(tmp_path / "lab", "127.0.0.1", fresh=False)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"file/lab cannot be used: (Not a directory|File exists).*--state"):
        open_state(tmp_path / "file" / "lab", "127.0.0.1", fresh=False)


def test_blanks_in_the_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="blank"):
        open_state(tmp_path / "my lab", "127.0.0.1", fresh=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [b"lab", b"caf\xe9", b"#1=a,b"])
def test_the_supfile_is_one_our_client_reads(tmp_path: Path, name: bytes) -> None:
    state = open_state(tmp_path / os.fsdecode(name), "127.0.0.1", fresh=False)
    state.write_supfile("127.0.0.1")
    (collection,) = parse(state.supfile.read_bytes())
    assert collection.name == samples.COLLECTION.encode()
    assert collection.hosts == ("127.0.0.1",)
    assert collection.base == os.fsencode(state.client)
    state.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b", "x" * 65])
def test_names_that_cannot_be_a_labs(name: str) -> None:
    with pytest.raises(StateError, match="cannot be a lab's name"):
        directory_of(name)


def test_a_name_is_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert directory_of("class-7b") != directory_of("class-7c")
    if sys.platform == "linux":
        assert directory_of("class-7b") == tmp_path / "ghostports" / "class-7b"


def test_a_lab_of_root_lives_where_another_account_can_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert directory_of("default") == Path("/var/lib/ghostports/default")


def test_killed_while_it_was_being_made(tmp_path: Path) -> None:
    """The directory is there whole or not at all; what was left half made is in nobody's way."""
    code = (
        "import os, pathlib, sys\n"
        "from emulators import samples, state\n"
        "samples.plant = lambda base: os._exit(9)\n"
        "state.open_state(pathlib.Path(sys.argv[1]), '127.0.0.1', fresh=False)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lab")], check=False, timeout=30)
    assert ran.returncode == 9
    assert not (tmp_path / "lab").exists()
    open_state(tmp_path / "lab", "127.0.0.1", fresh=False).close()
