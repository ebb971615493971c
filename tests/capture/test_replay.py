"""wire.capture.replay: recorded conversations, had again with servers that answer the same, or otherwise."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.capture.frames import (
    call,
    datagrams,
    ether,
    ip4,
    messages,
    pcap_file,
    record,
    reply,
    talk,
    udp_packet,
)
from tests.capture.test_sup import END, HELLO, built, file, session
from tests.capture.test_wireshark import as_frame
from tests.peers import free_port, user_options, wait_until
from wire.capture.commands.replay import replay_command
from wire.capture.messages import Message
from wire.capture.replay import Live, ReplayError, compared
from wire.capture.sup import KEEP_DATA
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Property
from wire.formats.netinfo import Result as NiResult
from wire.formats.sup import List, ListEntry, Send, SignonAck

CAPTURES = Path(__file__).parent.parent / "captures"
Piece = tuple[str, bytes]
ASK = record(call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"x"), 7))
ANSWER = record(reply("LOOKUP", NiResult(NiStatus.NI_OK, LookupBody((1, 2), NiId(0, 4))), 7))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(replay_command, [str(argument) for argument in arguments])


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """Writes a capture of one conversation."""

    def write(*pieces: Piece) -> Path:
        path = tmp_path / "recorded.pcap"
        path.write_bytes(pcap_file(*(as_frame(one) for one in talk(*pieces))).getvalue())
        return path

    return write


@pytest.fixture
def actor() -> Iterator[Callable[..., str]]:
    """A TCP server that plays the server's side of a conversation, and closes at its end; gives its address."""
    threads: list[threading.Thread] = []

    def play(*pieces: Piece, stay: bool = False) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(20)

        def act() -> None:
            with listening:
                connection, _ = listening.accept()
            connection.settimeout(20)
            with connection:
                for who, data in pieces:
                    if who == "server":
                        connection.sendall(data)
                        continue
                    wanted = len(data)
                    while wanted:
                        wanted -= len(connection.recv(wanted)) or wanted
                while stay and connection.recv(100):
                    pass

        threads.append(threading.Thread(target=act, daemon=True))
        threads[-1].start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    yield play
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_the_same_answers(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    pieces = [("client", ASK), ("server", ANSWER)]
    ran = run(recorded(*pieces), "--to", actor(*pieces))
    assert ran.exit_code == 0
    assert re.search(
        r"1 > LOOKUP\n    2 = LOOKUP NI_OK \(.* then, .* now\)\nall 1 answers are the same\n", ran.output
    )


def test_another_answer(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    other = record(reply("LOOKUP", NiResult(NiStatus.NI_OK, LookupBody((1, 3, 9), NiId(0, 4))), 7), 12)
    ran = run(
        recorded(("client", ASK), ("server", ANSWER)), "--to", actor(("client", ASK), ("server", other)), "-q"
    )
    assert ran.exit_code == 1
    assert "! LOOKUP NI_OK" in ran.output
    assert "! results.body.ids[1]: 2 then, 3 now" in ran.output
    assert "! results.body.ids: nothing then, 1 more, from 9 on now" in ran.output
    assert "1 of 1 answers differ" in ran.output


def differences(first: bytes, second: bytes, procedure: bytes) -> list[tuple[str, str, str, bool]]:
    def answer(data: bytes) -> Message:
        return messages(talk(("client", procedure), ("server", data)))[1]

    return [
        (one.path, one.recorded, one.live, one.passing) for one in compared(answer(first), answer(second))
    ]


def test_failures_instead_of_results() -> None:
    refused = record(reply("LOOKUP", NiResult(NiStatus.NI_NODIR, None), 7))
    assert differences(ANSWER, refused, ASK) == [
        ("results.status", "NI_OK (0)", "NI_NODIR (5)", False),
        ("results", "body", "nothing", False),
    ]
    ask = record(call("STATISTICS", None, 7))
    one = record(reply("STATISTICS", (Property(b"checksum", (b"1",)),), 7))
    two = record(reply("STATISTICS", (Property(b"checksum", (b"2", b"3")),), 7))
    assert differences(one, two, ask) == [
        ("results[0].values[0]", '"1"', '"2"', False),
        ("results[0].values", "nothing", '1 more, from "3" on', False),
    ]


def test_what_differs_in_every_run(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    then, now = session(), session()
    position = next(
        number for number, (_, data) in enumerate(now) if data == built(SignonAck(8, 13, b"4.3 BSD", 77))
    )
    now[position] = ("server", built(SignonAck(8, 13, b"4.3 BSD", 4711)))
    listed = next(number for number, (who, data) in enumerate(now) if who == "server" and data[:1] == b"\x6e")
    now[listed] = (
        "server",
        built(List((ListEntry(b"d", 0o40755, 1, 6), ListEntry(b"d/f", 0o100644, 1, 5)), 199)),
    )
    ran = run(recorded(*then), "--to", actor(*now))
    assert ran.exit_code == 0
    assert "~ SIGNONACK" in ran.output
    assert "~ pid: 77 then, 4711 now" in ran.output
    assert "~ entries[0].mtime: 5 (1970-01-01 00:00:05 UTC) then, 6" in ran.output
    assert "~ scantime: 99" in ran.output
    assert "= RECV" in ran.output


def test_other_file_data(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    now = [(who, data.replace(HELLO, HELLO.upper())) for who, data in session()]
    ran = run(recorded(*session()), "--to", actor(*now))
    assert ran.exit_code == 1
    assert "! data: " in ran.output


def test_data_that_is_not_kept_is_compared_too(
    recorded: Callable[..., Path], actor: Callable[..., str]
) -> None:
    data = bytes(KEEP_DATA + 9)

    def said(last: bytes) -> list[Piece]:
        recv = [("server", built(file(b"d/f", data + last)) + data), ("server", last + END["<"])]
        halves = [("server", recv[0][1][:40_000]), ("server", recv[0][1][40_000:])]
        return [*session()[:15], *halves, recv[1], *session()[16:]]

    path = recorded(*said(b"a"))
    assert run(path, "--to", actor(*said(b"a"))).exit_code == 0
    assert run(path, "--to", actor(*said(b"b"))).output.count("! data: ") == 1


def test_answers_that_come_together(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    """A client that asks for several files at once may get them in one piece: each is compared with its own."""
    said = session()
    begin, end = said[:14], said[16:]
    data = [b"one", b"another one", HELLO]
    asks = ("client", built(Send()) * len(data))
    files = b"".join(built(file(b"d/%d" % number, one)) + one + END["<"] for number, one in enumerate(data))
    pieces = [*begin, asks, ("server", files), *end]
    ran = run(recorded(*pieces), "--to", actor(*pieces))
    assert (ran.exit_code, "! " in ran.output) == (0, False), ran.output
    other = files.replace(b"another", b"ANOTHER")
    ran = run(recorded(*pieces), "--to", actor(*begin, asks, ("server", other), *end))
    assert ran.output.count("! data: ") == 1


def test_a_server_that_gives_up(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    ran = run(recorded(*session()), "--to", actor(*session()[:9]))
    assert ran.exit_code == 1
    assert "! LIST: no answer: " in ran.output
    assert "! DENY: the conversation has ended before" in ran.output


def test_a_server_that_stays_silent(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    pieces = [
        ("client", ASK),
        ("server", ANSWER),
        ("client", ASK.replace(b"\7", b"\x08", 1)),
        ("server", ANSWER.replace(b"\7", b"\x08", 1)),
    ]
    ran = run(
        recorded(*pieces), "--to", actor(pieces[0], pieces[2], pieces[3], stay=True), "--timeout", "0.3"
    )
    assert ran.exit_code == 1
    assert "! LOOKUP NI_OK: no answer within 0.3 s" in ran.output
    assert "4 = LOOKUP NI_OK" in ran.output


def test_over_udp(tmp_path: Path) -> None:
    pieces = [("client", call("PING", None, 3)), ("server", reply("PING", None, 3))]
    path = tmp_path / "udp.pcap"
    frames = [udp_packet(one.payload, one.source_port, one.destination_port) for one in datagrams(*pieces)]
    ends = [((one.source, one.destination)) for one in datagrams(*pieces)]
    path.write_bytes(
        pcap_file(*(ether(ip4(one, *two)) for one, two in zip(frames, ends, strict=True))).getvalue()
    )
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def act() -> None:
            _, client = server.recvfrom(1000)
            server.sendto(pieces[1][1], client)

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        ran = run(path, "--to", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join(20)
    assert (ran.exit_code, "all 1 answers are the same" in ran.output) == (0, True)


def test_a_recording_that_is_not_whole(recorded: Callable[..., Path], actor: Callable[..., str]) -> None:
    then = [("client", ASK), ("lost server", ANSWER), ("server", ANSWER)]
    ran = run(
        recorded(*then), "--to", actor(("client", ASK), ("server", ANSWER), stay=True), "--timeout", "0.3"
    )
    assert ran.exit_code == 1
    assert "the recording is not whole here" in ran.output


def test_several_servers_are_to_be_chosen_from() -> None:
    binding = CAPTURES / "netinfo" / "next-binding.pcap"
    ran = run(binding, "--to", "127.0.0.1:1")
    assert ran.exit_code == 2
    assert "15: netinfo over tcp, 10.77.0.2:987 → 10.77.0.1:713" in ran.output
    ran = run(binding, "--to", f"127.0.0.1:{free_port()}", "--follow", "15")
    assert ran.exit_code == 1
    assert "cannot be reached" in ran.output


def test_wrong_usage(tmp_path: Path) -> None:
    fresh = CAPTURES / "sup" / "s01-fresh.pcap"
    assert run(fresh).exit_code == 2
    assert run(fresh, "--to", "nowhere").exit_code == 2
    assert run(fresh, "--to", "127.0.0.1:1", "--follow", "9").exit_code == 1
    (tmp_path / "x").write_text("nonsense")
    assert run(tmp_path / "x", "--to", "127.0.0.1:1").exit_code == 1
    with pytest.raises(ReplayError, match="cannot be reached"):
        Live("tcp", "no.such.host.invalid", 1, 1.0)


@pytest.fixture
def netinfod(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Our netinfod with a fresh domain, of a generation; gives its address."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(generation: str) -> str:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "emulators.cli",
            "netinfod",
            "--state",
            str(tmp_path / "state"),
            "--port",
        ]
        command += [str(port), "--no-register", *user_options(), "--generation", generation]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))

        def listens() -> bool:
            assert processes[-1].poll() is None
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, "netinfod to listen", 60)
        return f"127.0.0.1:{port}"

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.root
def test_our_netinfod_answers_as_nexts_did(netinfod: Callable[[str], str]) -> None:
    """130 recorded calls, to a fresh domain, from an ordinary and a reserved port: not one answer differs."""
    ran = run(CAPTURES / "netinfo" / "next-calls.pcap", "--to", netinfod("next"), "-q")
    assert (ran.exit_code, ran.output) == (0, "all 133 answers are the same\n")


@pytest.mark.root
def test_our_netinfod_answers_as_apples_did(netinfod: Callable[[str], str]) -> None:
    """The same of the other generation; its statistics tell of the program and the host."""
    ran = run(CAPTURES / "netinfo" / "apple-calls.pcap", "--to", netinfod("apple"), "-q")
    assert ran.output.endswith("1 of 133 answers differ\n")
    assert [line for line in ran.output.splitlines() if line.startswith("  ") and "!" in line[:8]] == [
        line for line in ran.output.splitlines() if "! STATISTICS" in line
    ]


def test_a_reserved_port_that_is_not_allowed(
    recorded: Callable[..., Path], actor: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wire.capture import replay as module

    monkeypatch.setattr(module, "_bind_reserved", lambda opened: False)
    pieces = [("client", ASK), ("server", ANSWER)]
    ran = run(recorded(*pieces), "--to", actor(*pieces))
    assert "Conversation 1 came from a reserved port, which takes root" in ran.output
