"""The client's control files: formats that Debian's `sup` understands, and names it cannot hold."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup.control import ControlFiles, Locked


@pytest.fixture
def base(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def files(base: int) -> Iterator[ControlFiles]:
    control = ControlFiles(base, b"demo")
    yield control
    control.close()


def put(tmp_path: Path, name: str, text: bytes) -> None:
    directory = tmp_path / "sup" / "demo"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(text)


def test_nothing_is_there_at_first_and_looking_makes_nothing(files: ControlFiles, tmp_path: Path) -> None:
    assert files.read_when() == 0
    assert files.read_last() == set()
    assert files.read_refuse() == ()
    assert files.lock() is False
    assert list(tmp_path.iterdir()) == []


def test_the_sup_directory_is_made_once(files: ControlFiles, tmp_path: Path) -> None:
    for expected in (True, False):
        fd, made = files.open_sup()
        os.close(fd)
        assert made is expected
    assert (tmp_path / "sup").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1795219189\n", 1795219189),
        (b"1795219189", 0),
        (b"1795219189 \n", 0),
        (b"0x6b00dc32\n", 0x6B00DC32),
        (b"0X10\n", 16),
        (b"010\n", 8),
        (b"09\n", 0),
        (b" 5\n", 5),
        (b"-5\n", -5),
        (b"+5\n", 5),
        (b"0\n", 0),
        (b"12\n34\n", 12),
        (b"2147483648\n", 0),
        (b"-2147483648\n", -(2**31)),
        (b"now\n", 0),
        (b"", 0),
        (b"\x32\xdc\x00\x6b", 0),
    ],
)
def test_reading_when(files: ControlFiles, tmp_path: Path, text: bytes, value: int) -> None:
    put(tmp_path, "when", text)
    assert files.read_when() == value


def test_writing_when(files: ControlFiles, tmp_path: Path) -> None:
    files.write_when(1795219189)
    assert (tmp_path / "sup/demo/when").read_bytes() == b"1795219189\n"
    assert files.read_when() == 1795219189
    assert sorted(path.name for path in (tmp_path / "sup/demo").iterdir()) == ["when"]


def test_the_suffix_is_for_when_and_last_alone(base: int, tmp_path: Path) -> None:
    put(tmp_path, "refuse", b"x\n")
    control = ControlFiles(base, b"demo", b".beta")
    control.write_when(1)
    control.write_last([b"a"])
    assert control.read_refuse() == (b"x",)
    control.close()
    assert sorted(path.name for path in (tmp_path / "sup/demo").iterdir()) == [
        "last.beta",
        "refuse",
        "when.beta",
    ]


def test_last_is_sorted_lines(files: ControlFiles, tmp_path: Path) -> None:
    files.write_last([b"b", b"data/\xff", b"a b"])
    assert (tmp_path / "sup/demo/last").read_bytes() == b"a b\nb\ndata/\xff\n"


def test_names_that_a_line_cannot_hold_are_hidden_from_the_original(
    files: ControlFiles, tmp_path: Path
) -> None:
    names = {b"data/nl\nx", b"#hash", b";a", b":b", b"a", b"100%", b"\n", b"#%0a\n"}
    files.write_last(names)
    lines = (tmp_path / "sup/demo/last").read_bytes().split(b"\n")[:-1]
    assert {line for line in lines if not line.startswith(b"#")} == {b"a", b"100%"}
    assert files.read_last() == names


@given(st.sets(st.binary(min_size=1, max_size=6).filter(lambda name: not {0, 47, 46} & set(name))))
def test_last_comes_back(tmp_path_factory: pytest.TempPathFactory, names: set[bytes]) -> None:
    fd = os.open(tmp_path_factory.mktemp("base"), os.O_RDONLY)
    control = ControlFiles(fd, b"demo")
    control.write_last(names)
    assert control.read_last() == names
    control.close()
    os.close(fd)


def test_unsafe_names_in_last_are_ignored_and_others_brought_into_one_form(
    files: ControlFiles, tmp_path: Path
) -> None:
    put(tmp_path, "last", b"/etc/passwd\n../x\na/../../b\n./a\nd//e/\n#comment\n\n")
    assert files.read_last() == {b"a", b"d/e"}


def test_an_unfinished_run_is_remembered_until_last_is_written(files: ControlFiles, tmp_path: Path) -> None:
    files.write_last([b"a"])
    files.note_partial([b"b\nc", b"d"])
    files.note_partial([b"e"])
    assert files.read_last() == {b"a", b"b\nc", b"d", b"e"}
    files.write_last([b"a", b"d"])
    assert files.read_last() == {b"a", b"d"}
    assert not (tmp_path / "sup/demo/last.partial").exists()


def test_a_file_is_on_the_disk_before_it_has_its_name(
    files: ControlFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    rename = os.rename

    def synced(fd: int) -> None:
        events.append(os.readlink(f"/dev/fd/{fd}").rpartition("/")[2])

    def renamed(source: bytes, target: bytes, **options: int) -> None:
        events.append(f"{os.fsdecode(source)} -> {os.fsdecode(target)}")
        rename(source, target, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    files.write_when(5)
    files.write_last([b"a"])
    assert events == ["when.temp", "when.temp -> when", "demo", "last.temp", "last.temp -> last", "demo"]


def test_and_is_on_the_disk_before_it_begins(files: ControlFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda fd: written.append(Path(f"/dev/fd/{fd}").read_bytes()))
    files.note_partial([b"a", b"b"])
    assert written == [b"a\0b\0"]


def test_refuse(files: ControlFiles, tmp_path: Path) -> None:
    put(tmp_path, "refuse", b"#c\ndata/b\n./data/a\ndata/b\n\n ; x\n.\n.//y\n")
    assert files.read_refuse() == (b" ; x", b".", b"data/a", b"data/b", b"y")


def test_lock(files: ControlFiles, base: int, tmp_path: Path) -> None:
    put(tmp_path, "lock", b"")
    other = ControlFiles(base, b"demo")
    assert files.lock() is True
    with pytest.raises(Locked):
        other.lock()
    files.close()
    assert other.lock() is True
    other.close()


def test_a_link_in_place_of_the_control_directory_is_not_followed(base: int, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sup").mkdir()
    (tmp_path / "sup/demo").symlink_to(tmp_path / "elsewhere")
    control = ControlFiles(base, b"demo")
    with pytest.raises(OSError, match="--follow-symlinks"):
        control.write_when(5)
    control.close()
    control = ControlFiles(base, b"demo", follow=True)
    control.write_when(5)
    control.close()
    assert (tmp_path / "elsewhere/when").exists()


def test_collections_with_a_slash(base: int, tmp_path: Path) -> None:
    control = ControlFiles(base, b"os/kernel")
    control.write_when(5)
    control.close()
    assert (tmp_path / "sup/os/kernel/when").exists()


def test_a_failed_write_leaves_the_old_file(
    files: ControlFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_last([b"a"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_last([b"b"])
    assert files.read_last() == {b"a"}
    assert [path.name for path in (tmp_path / "sup/demo").iterdir()] == ["last"]
