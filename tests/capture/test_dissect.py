"""`ghostports dissect`, as a person runs it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.capture.frames import ether, ip4, pcap_file, udp_packet
from tests.capture.test_recording import SECRET, secret_call
from wire.capture.commands.dissect import _watched, dissect
from wire.capture.values import text_of

CAPTURES = Path(__file__).parent.parent / "captures"
ROOT = Path(__file__).parents[2]
CALLS, BINDING = CAPTURES / "netinfo" / "next-calls.pcap", CAPTURES / "netinfo" / "next-binding.pcap"
FRESH, COMPRESS = CAPTURES / "sup" / "s01-fresh.pcap", CAPTURES / "sup" / "s13-compress.pcap"
SHORT = CAPTURES / "sup" / "s15-refuse.pcap"


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(dissect, [str(argument) for argument in arguments], input=stdin)


def test_a_summary() -> None:
    ran = run(FRESH)
    assert ran.exit_code == 0
    lines = ran.output.splitlines()
    assert len(lines) == 52
    assert lines[0].startswith("  nr.    seconds conv. from → to")
    assert lines[0].endswith("from 2026-11-21 00:32:07.440953 UTC on")
    assert "SETUP" in lines[4]
    assert "collection=demo" in lines[4]
    assert "DONE               SUCCESS" in lines[-1]


def test_standard_input_and_several_files() -> None:
    assert run("-", stdin=FRESH.read_bytes()).output == run(FRESH).output
    ran = run(FRESH, BINDING)
    assert [line for line in ran.output.splitlines() if line.startswith("==")] == [
        f"== {FRESH}",
        f"== {BINDING}",
    ]


def test_one_conversation() -> None:
    lines = run(BINDING, "--follow", "5").output.splitlines()[1:]
    assert len(lines) == 1
    assert "CALLIT call" in lines[0]
    assert "BIND client_address=10.77.0.2 client_tag=local server_tag=network" in lines[0]


def test_where() -> None:
    lines = run(CALLS, "--where", 'procedure == "LOOKUP" and status != "NI_OK"').output.splitlines()[1:]
    assert len(lines) == 7
    assert all("LOOKUP reply" in line and "NI_OK" not in line for line in lines)


def test_where_that_is_no_filter() -> None:
    ran = run(CALLS, "--where", "color == 1")
    assert ran.exit_code == 2
    assert "there is no 'color' to ask about" in ran.output


def test_names() -> None:
    ran = run("--names")
    assert ran.exit_code == 0
    assert "latency       number  seconds since the message it answers" in ran.output


def test_json_and_its_explanation() -> None:
    found = [json.loads(line) for line in run(CALLS, "--json").output.splitlines()]
    assert len(found) == 266
    assert "fields" not in found[0]
    explained = [
        json.loads(line) for line in run(CALLS, "--json", "--explain", "--follow", "3").output.splitlines()
    ]
    assert {one["conversation"] for one in explained} == {3}
    assert all(one["fields"]["end"] == len(one["hex"]) // 2 for one in explained)
    two = [json.loads(line)["file"] for line in run(CALLS, FRESH, "--json").output.splitlines()]
    assert set(two) == {str(CALLS), str(FRESH)}


def test_explain() -> None:
    ran = run(CALLS, "--explain", "--follow", "2")
    assert "record mark  0x" not in ran.output
    assert "transaction number, copied from the call into its reply" in ran.output
    assert "(NETINFO 1.2)" in ran.output


def test_figures() -> None:
    ran = run(CALLS, "--stats")
    assert "266 messages in 3 conversations" in ran.output
    assert "NI_BADID 16" in ran.output
    made = json.loads(run(CALLS, "--stats", "--json").output)
    assert made["messages"] == 266
    assert next(row for row in made["rows"] if row["name"] == "LOOKUP")["calls"] == 21


def test_extract(tmp_path: Path) -> None:
    ran = run(COMPRESS, "--extract", tmp_path / "out")
    assert ran.exit_code == 0
    assert (tmp_path / "out" / "session-1" / "data" / "hi").read_bytes() == b"hi"
    assert "files," in ran.stderr
    assert "is a symbolic link, which is not made" in ran.stderr
    assert run(COMPRESS, "--extract", tmp_path / "out" / "session-1" / "data" / "hi" / "x").exit_code == 1
    again = run(COMPRESS, "--extract", tmp_path / "out")
    assert again.exit_code == 1
    assert (
        "out cannot be written: it holds the files of an older extraction; name another directory"
        in again.stderr
    )


def test_extract_one_conversation(tmp_path: Path) -> None:
    assert run(COMPRESS, "--follow", "1", "--extract", tmp_path / "one").exit_code == 0
    assert (tmp_path / "one" / "session-1").is_dir()
    assert run(COMPRESS, "--follow", "2", "--extract", tmp_path / "two").exit_code == 0
    assert not (tmp_path / "two" / "session-1").exists()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.pcap"
    path.write_bytes(pcap_file(ether(ip4(udp_packet(secret_call())))).getvalue())
    return path


@pytest.mark.parametrize("options", [[], ["--explain"], ["--json"], ["--json", "--explain"]])
def test_redact(secret: Path, options: list[str]) -> None:
    forms = ["swordfish", SECRET.hex(), SECRET.hex(" "), json.dumps(text_of(SECRET))[1:-1]]
    shown = run(secret, *options).output
    assert any(form in shown for form in forms) is bool(options)
    hidden = run(secret, "--redact", *options).output
    assert not any(form in hidden for form in forms)


def test_decode_as(tmp_path: Path) -> None:
    path = tmp_path / "reply.pcap"
    from tests.capture.frames import reply

    path.write_bytes(pcap_file(ether(ip4(udp_packet(reply("PING"), sport=9999, dport=5555)))).getvalue())
    assert "Nothing of NetInfo" in run(path).stderr
    assert "its call is not in the capture" in run(path, "--decode-as", "9999=netinfo").output
    for wrong in ("9999", "x=sup", "0=sup", "9=http"):
        assert run(path, "--decode-as", wrong).exit_code == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"nonsense", "neither a pcap nor a pcapng file"),
        (None, "cannot be read: No such file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    ran = run(path)
    assert ran.exit_code == 1
    assert sentence in ran.stderr


def test_a_file_cut_short() -> None:
    ran = run("-", stdin=FRESH.read_bytes()[:-100])
    assert ran.exit_code == 0
    assert "the file is cut short in packet 54" in ran.output


def test_wrong_usage() -> None:
    assert run().exit_code == 2
    assert run(FRESH, "--follow", "0").exit_code == 2


def test_nothing_found() -> None:
    ran = run("-", stdin=pcap_file().getvalue())
    assert (ran.exit_code, ran.stderr) == (
        0,
        "Nothing of NetInfo, nibind, the portmapper or SUP was found.\n",
    )


@pytest.mark.parametrize("options", [["--follow", "99"], ["--where", 'procedure == "CRASHED"']])
def test_nothing_chosen(options: list[str]) -> None:
    ran = run(CALLS, *options)
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr == "No message is what --follow and --where ask for.\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_large_file_shows_its_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.capture.commands.dissect.LARGE", FRESH.stat().st_size)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")

    def shown(path: Path, *, quiet: bool, stream: io.StringIO) -> str:
        monkeypatch.setattr("sys.stderr", stream)
        with _watched(str(path), quiet=quiet) as file:
            assert file.read() == path.read_bytes()
        return stream.getvalue()

    told = shown(FRESH, quiet=False, stream=Terminal())
    assert FRESH.name in told
    assert "13.5/13.5 kB" in told
    assert shown(FRESH, quiet=True, stream=Terminal()) == ""  # its lines go to the same terminal
    assert shown(FRESH, quiet=False, stream=io.StringIO()) == ""
    assert shown(SHORT, quiet=False, stream=Terminal()) == ""  # too small


def test_a_terminal_of_another_character_set() -> None:
    """The lines have arrows in them, which Latin-1 has not."""
    ran = subprocess.run(
        [sys.executable, "-m", "emulators.cli", "dissect", FRESH],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"}, cwd=ROOT, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert b"\\u2192" in ran.stdout
    assert ran.stderr == b""


def test_a_reader_that_goes_away() -> None:
    class Closed(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    old = sys.stdout
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(Closed(), 16))
    try:
        with pytest.raises(SystemExit) as ended:
            dissect([str(FRESH)])
    finally:
        sys.stdout = old
    assert ended.value.code == 1
