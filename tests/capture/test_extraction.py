"""wire.capture.extraction: files out of sessions, and never outside the directory."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest

from tests.capture.frames import messages, talk
from tests.capture.test_sup import END, HELLO, built, file, session
from wire.capture import extraction
from wire.capture.conversations import dissect
from wire.capture.extraction import Extraction, RefusedName, parts_of
from wire.capture.messages import Conversation
from wire.formats.sup import Recv

CAPTURES = Path(__file__).parent.parent / "captures"


def extracted(tmp_path: Path, *recvs: tuple[Recv, bytes]) -> tuple[Extraction, Path]:
    """The extraction of a session which brings these, and its directory."""
    said = session()
    position = 15
    more = [
        ("server", built(recv) + (data + END["<"] if recv.size is not None else b"")) for recv, data in recvs
    ]
    taken = Extraction(tmp_path / "out")
    messages(talk(*said[:position], *more, *said[position + 1 :]), opener=taken.opened)
    return taken, tmp_path / "out" / "session-1"


def test_files_directories_and_hard_links(tmp_path: Path) -> None:
    linked = Recv(
        b"d/e/two", 0o104755, 1, b"root", b"root", 5, (b"d/other/name", b"./d/three"), (), len(HELLO)
    )
    taken, top = extracted(
        tmp_path, (file(b"d/one"), HELLO), (linked, HELLO), (file(b"empty/dir", None, 0o40777), b"")
    )
    assert (top / "d/one").read_bytes() == HELLO
    assert (top / "d/other/name").samefile(top / "d/e/two")
    assert (top / "d/three").samefile(top / "d/e/two")
    assert stat.S_IMODE((top / "d/e/two").stat().st_mode) == 0o600
    assert (top / "empty/dir").is_dir()
    assert (taken.report.files, taken.report.bytes, taken.report.problems) == (2, 2 * len(HELLO), [])


def test_odd_names(tmp_path: Path) -> None:
    names = [
        b"a b",
        b"n\nl",
        b"\xff\xc3\xa9",
        b"-rf",
        b"x" * 200,
        b"/etc/absolute",
        b"a/./b",
        b"nul\0/../../x",
    ]
    taken, top = extracted(tmp_path, *((file(name), HELLO) for name in names))
    assert taken.report.problems == []
    for name in (b"a b", b"n\nl", b"\xff\xc3\xa9", b"-rf", b"x" * 200, b"etc/absolute", b"a/b", b"nul"):
        assert Path(os.fsdecode(os.fsencode(top) + b"/" + name)).read_bytes() == HELLO


@pytest.mark.parametrize(
    "name", [b"..", b"../x", b"a/../../x", b"a//b", b"", b"/", b"a/", b"\0", b"a/" * 200 + b"x"]
)
def test_names_that_would_leave(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(RefusedName):
        parts_of(name)
    taken, top = extracted(tmp_path, (file(name), HELLO), (file(b"good"), HELLO))
    assert len(taken.report.problems) == 1
    assert (top / "good").read_bytes() == HELLO
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["good"]


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    symlink = Recv(b"link", 0o120777, 1, None, None, 5, (os.fsencode(outside),), (), None)
    leader = Recv(b"a", 0o100644, 1, b"r", b"r", 5, (b"../../outside/x", b"link/x"), (), len(HELLO))
    taken, top = extracted(tmp_path, (symlink, b""), (file(b"link/y"), HELLO), (leader, HELLO))
    assert taken.report.problems[0] == "'link' is a symbolic link, which is not made"
    assert "'../../outside/x' would not stay" in taken.report.problems[1]
    assert list(outside.iterdir()) == []
    assert (top / "link").is_dir()


def test_a_link_put_there_meanwhile_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    said = session()
    taken = Extraction(tmp_path / "out")
    messages(talk(*said), opener=taken.opened)
    top = tmp_path / "out" / "session-1"
    (top / "d" / "f").unlink()
    (top / "d").rmdir()
    (top / "d").symlink_to(outside)
    recv = file(b"d/f")
    taken._sessions.add(1)
    assert taken.opened(Conversation(1, "tcp", ("a", 1), ("b", 2), 0.0), recv) is None
    assert list(outside.iterdir()) == []


def test_a_session_directory_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out" / "session-1").mkdir(parents=True)
    (tmp_path / "out" / "session-1" / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="files of an older extraction"):
        Extraction(tmp_path / "out")
    taken = Extraction(tmp_path / "new")
    (tmp_path / "new" / "session-1").mkdir()
    (tmp_path / "new" / "session-1" / "mine").write_text("mine")
    assert taken.opened(Conversation(1, "tcp", ("a", 1), ("b", 2), 0.0), file(b"mine")) is None
    assert (tmp_path / "new" / "session-1" / "mine").read_text() == "mine"
    assert "File exists" in taken.report.problems[0]


def test_problems_without_end_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MAX_PROBLEMS", 3)
    taken, _ = extracted(tmp_path, *((file(b"../%d" % number), HELLO) for number in range(5)))
    assert (len(taken.report.problems), taken.report.more) == (3, 2)


def test_the_same_name_twice(tmp_path: Path) -> None:
    _, top = extracted(tmp_path, (file(b"f"), HELLO), (file(b"f", b"second"), b"second"))
    assert (top / "f").read_bytes() == b"second"


def test_compressed_files_are_unpacked(tmp_path: Path) -> None:
    taken = Extraction(tmp_path / "out")
    messages(talk(*session(packed=True)), opener=taken.opened)
    assert (tmp_path / "out/session-1/d/f").read_bytes() == HELLO


def test_a_gzip_bomb_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MAX_FILE", 1 << 20)
    bomb = gzip.compress(bytes(8 << 20))
    said = session(packed=True)
    said[15] = ("server", built(file(b"bomb", bomb)) + bomb + END["<"])
    taken = Extraction(tmp_path / "out")
    messages(talk(*said), opener=taken.opened)
    assert (tmp_path / "out/session-1/bomb").stat().st_size == 1 << 20
    assert taken.report.problems == ["'bomb' is not whole: longer than 1,048,576 bytes, the rest is left out"]


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this machine")
    taken = Extraction(tmp_path / "out")
    writer = taken.opened(Conversation(1, "tcp", ("a", 1), ("b", 2), 0.0), file(b"f"))
    assert writer is not None
    writer._file.close()
    writer._file = open("/dev/full", "wb")  # noqa: SIM115
    writer.write(b"x")
    writer.close("")
    assert "No space left" in taken.report.problems[0]


def test_what_the_real_server_sent(tmp_path: Path) -> None:
    """s13: a compressed session; the recorder saw it whole."""
    taken = Extraction(tmp_path / "out")
    with (CAPTURES / "sup" / "s13-compress.pcap").open("rb") as recording:
        list(dissect(recording, opener=taken.opened))
    top = tmp_path / "out" / "session-1"
    assert (top / "data/hi").read_bytes() == b"hi"
    assert (top / "data/z5000").stat().st_size == 5000
    assert (top / "data/empty").read_bytes() == b""
    assert all("symbolic link" in problem for problem in taken.report.problems)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        Extraction(tmp_path / "file")
