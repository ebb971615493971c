"""What a server can say that is no part of any conversation, over real sockets: `sup` writes nothing outside the base
directory, runs nothing, stays small, tells what is wrong, and comes to an end (SUP 9.2).
"""

import gzip
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen

from sup.channel import IdleTimeout
from tests.memory import measured, peak
from tests.peers import loopback
from tests.sup.installing import MTIME, changed, directory, file, symlink
from wire.codec import codec
from wire.formats.sup import (
    CryptOk,
    Deny,
    Goaway,
    List,
    ListEntry,
    LogAck,
    LoginCode,
    MessageType,
    Recv,
    SetupAck,
    SetupCode,
    SignonAck,
    SupParams,
)
from wire.transport.limits import SupLimits
from wire.transport.sup_stream import connect_sup
from wire.transport.tap import Address

FILE, DIRECTORY, LINK, FIFO = 0o100644, 0o040755, 0o120777, 0o010644
MEMORY = 100 << 20
EVIL = b"\x1b]0;owned\x07"

Said = Iterable[bytes]


def say(*messages: Any) -> bytes:
    """Messages on the wire."""
    return b"".join(codec(type(message), SupParams()).build(message) for message in messages)


def sending(recv: Recv, data: bytes = b"new") -> bytes:
    """A RECV with its data."""
    return say(changed(recv, size=len(data))) + data + struct.pack("<i", -1)


def listed(*names: bytes, mode: int = FILE) -> tuple[ListEntry, ...]:
    return tuple(ListEntry(name, mode, 1, MTIME) for name in names)


ACKS = (SetupAck(SetupCode.OK), CryptOk(), LogAck(LoginCode.OK, None))


def offering(*entries: ListEntry, denied: tuple[bytes, ...] = ()) -> bytes:
    """All that comes before the first file."""
    return say(*ACKS, List(entries, 2_000_000_000), Deny(denied))


END = say(Recv())
A = file(b"a")


@frozen
class Case:
    """What a server says after it has read SETUP, and how the upgrade is to end."""

    says: Callable[[Path], Said]
    """Of the directory outside. When it has said this, it closes the connection."""
    told: str
    """A part of what the user is told."""
    status: str = "aborted"
    a: str = "old"
    """What the file `a`, which is there before, holds afterwards."""
    others: frozenset[str] = frozenset()
    """What else is in the base directory afterwards."""
    options: str = ""


def strangers(outside: Path) -> Said:
    names = (
        os.fsencode(outside / "file"),
        b"../outside/file",
        b"x/../../outside/file",
        b"",
        b"sup/strangers/last",
    )
    yield offering(*listed(*names, b"a"))
    yield from (sending(file(name), b"owned") for name in names)
    yield sending(A) + END


def bad_links(outside: Path) -> Said:
    links = (os.fsencode(outside / "new"), b"../outside/new", b"sup/bad-links/when", b"unlisted", b"")
    yield offering(*listed(b"a")) + sending(changed(A, links=links)) + END


def gzip_bomb(_: Path) -> Said:
    yield offering(*listed(b"a")) + sending(A, gzip.compress(bytes(48 << 20), 9))[:-100]


CASES = {
    # --- names
    "strangers": Case(strangers, "is absolute", "completed with errors", a="new"),
    "too-long": Case(
        lambda _: [offering(*listed(b"n" * 300)) + sending(file(b"n" * 300)) + END],
        "File name too long",
        "completed with errors",
    ),
    "too-deep": Case(
        lambda _: [offering(*listed(b"d/" * 8000 + b"a")) + sending(file(b"d/" * 8000 + b"a")) + END],
        "more than 256 directories deep",
        "completed with errors",
    ),
    "the-base": Case(
        lambda _: [offering(*listed(b".")) + sending(file(b".")) + END],
        "the base directory cannot be replaced",
        "completed with errors",
    ),
    # --- files that were not asked for, and links that lead away
    "not-asked-for": Case(
        lambda _: [offering(*listed(b"a")), sending(file(b"b")), sending(A), END],
        "The file server sent b, which was not asked for",
        "completed with errors",
        a="new",
    ),
    "without-end": Case(
        lambda _: (
            say_ for part in ([offering(*listed(b"a"))], repeat(sending(file(b"b")))) for say_ in part
        ),
        "keeps sending what was not asked for",
    ),
    "through-a-link": Case(
        lambda _: [
            offering(*listed(b"l", mode=LINK), *listed(b"l/file")),
            say(symlink(b"l", b"../../outside")) + sending(file(b"l/file")) + END,
        ],
        "it is a symbolic link",
        "completed with errors",
        others=frozenset({"l"}),
        options="delete",
    ),
    "bad-links": Case(bad_links, "Unable to create link", "completed with errors", a="new"),
    # --- types
    "another-type": Case(
        lambda outside: [
            offering(*listed(b"b", b"c")),
            say(symlink(b"c", os.fsencode(outside)), directory(b"b")) + END,
        ],
        "",
        "done",
        others=frozenset({"b", "c"}),
    ),
    "a-fifo": Case(
        lambda _: [offering(*listed(b"a")) + say(changed(A, mode=FIFO, size=None))], "Unknown file type 10000"
    ),
    # --- commands
    "commands": Case(
        lambda outside: [
            offering(*listed(b"a")),
            sending(changed(A, commands=(b"touch %s" % os.fsencode(outside / "ran"), EVIL))) + END,
        ],
        "",
        "done",
        a="new",
    ),
    # --- what is no message
    "negative": Case(
        lambda _: [say(*ACKS) + struct.pack("<ii", MessageType.LIST, -7)],
        "Error reading file list from file server",
    ),
    "giant": Case(
        lambda _: (
            part
            for parts in (
                [say(*ACKS) + struct.pack("<ii", MessageType.LIST, 2**31 - 1)],
                repeat(bytes(1 << 16)),
            )
            for part in parts
        ),
        "Error reading file list from file server",
    ),
    "unknown": Case(lambda _: [say(*ACKS) + struct.pack("<ii", 9999, -1)], "unknown type 9999"),
    "out-of-turn": Case(lambda _: [say(*ACKS, CryptOk())], "CRYPTOK came where LIST was expected"),
    "no-end-mark": Case(
        lambda _: [offering(*listed(b"a")) + sending(A)[:-4] + bytes(4)], "Error receiving file"
    ),
    "no-gzip": Case(
        lambda _: [offering(*listed(b"a")) + sending(A) + END],
        "not a gzip stream",
        "completed with errors",
        options="compress",
    ),
    "gzip-bomb": Case(gzip_bomb, "closed the connection", options="compress"),
    # --- the end comes early
    "goaway-at-setup": Case(lambda _: [say(Goaway(b"no" + EVIL))], "SCM GOAWAY no\\x1b]0;owned\\x07"),
    "goaway-at-login": Case(lambda _: [say(*ACKS[:2], Goaway(None))], "Error reading login reply"),
    "goaway-at-list": Case(lambda _: [say(*ACKS, Goaway(b"no"))], "Error reading file list"),
    "goaway-at-deny": Case(
        lambda _: [offering(*listed(b"a"))[:-12] + say(Goaway(b"no"))], "Error reading denied"
    ),
    "goaway-at-file": Case(lambda _: [offering(*listed(b"a")) + say(Goaway(b"no"))], "Error receiving file"),
    "closed-at-list": Case(lambda _: [say(*ACKS)], "closed the connection"),
    "closed-in-file": Case(
        lambda _: [offering(*listed(b"a")) + sending(A, bytes(9000))[:5000]], "closed the connection"
    ),
    "closed-before-end": Case(
        lambda _: [offering(*listed(b"a")) + sending(A)], "closed the connection", a="new"
    ),
}


class HostileServer(threading.Thread):
    """Plays the case that is named by the collection that a client asks for."""

    def __init__(self, outside: Path) -> None:
        super().__init__(daemon=True)
        self._outside = outside
        self._listening = socket.create_server((loopback(), 0))
        self.host, self.port = self._listening.getsockname()[:2]

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(30)
                with suppress(OSError):  # the client has had enough
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        client.sendall(say(SignonAck(8, 13, b"hostile", 1)))
        heard = b""
        while not (
            named := [name for name in CASES if struct.pack("<i", len(name)) + name.encode() in heard]
        ):
            heard += client.recv(4096)
        for part in CASES[named[0]].says(self._outside):
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join(timeout=30)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[HostileServer]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("precious")
    server = HostileServer(tmp_path / "outside")
    server.start()
    yield server
    server.stop()
    assert not server.is_alive()


def test_no_harm_is_done(tmp_path: Path, hostile: HostileServer) -> None:
    lines = ""
    for name, case in CASES.items():
        base = tmp_path / "bases" / name
        base.mkdir(parents=True)
        (base / "a").write_text("old")
        lines += f"{name} host={hostile.host} base={base} timeout=0 {case.options}\n"
    (tmp_path / "supfile").write_text(lines)
    note = tmp_path / "memory"
    program = measured("sup.commands.sup:main", note)
    command = [*program, "--port", str(hostile.port), "--json", "-S", str(tmp_path / "supfile")]
    ran = subprocess.run(command, capture_output=True, timeout=120, check=False)
    told = ran.stderr.decode()
    assert ran.returncode == 1, told
    assert "Traceback" not in told
    assert "\x1b" not in told
    assert peak(note) < MEMORY
    assert (tmp_path / "outside/file").read_text() == "precious"
    assert os.listdir(tmp_path / "outside") == ["file"]
    outcomes = {each["collection"]: each for each in json.loads(ran.stdout)}
    for name, case in CASES.items():
        outcome = outcomes[name]
        assert outcome["status"] == case.status, outcome
        assert case.told in "\n".join(outcome["problems"]), outcome
        assert (f"sup: {name}: {case.status}: " in told) == (case.status != "done")
        base = tmp_path / "bases" / name
        assert (base / "a").read_text() == case.a, name
        assert {entry.name for entry in base.iterdir()} == {"a", "sup"} | case.others, name
        assert not list(base.rglob("#*")), name
        assert (base / "sup" / name / "when").exists() == (case.status == "done"), name


@pytest_twisted.ensureDeferred
async def test_a_server_that_says_nothing() -> None:
    from twisted.internet import reactor

    with socket.create_server((loopback(), 0)) as silent:
        where = Address(*silent.getsockname()[:2])
        stream = await connect_sup(reactor, where, limits=SupLimits(afterwards=0.05, drain=0.05))
        with pytest.raises(IdleTimeout):
            await stream.receive(SignonAck)
        await stream.finish()
