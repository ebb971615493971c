"""The shell around the sessions: places, addresses, threads, and a session over a real connection."""

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from sup.config import ServerConfig
from sup.sending import _packed
from sup.service import (
    MOMENTARY_THREADS,
    PACKING_THREADS,
    WALKING_THREADS,
    FileServer,
    SharedSlots,
    host_name,
    is_own_address,
    resolve,
)
from sup.walk import walk
from wire.formats.sup import (
    TEST_STRING,
    Compress,
    Crypt,
    CryptOk,
    Deny,
    Done,
    DoneCode,
    List,
    LogAck,
    Login,
    Need,
    NeedEntry,
    Recv,
    Refuse,
    Send,
    Setup,
    SetupAck,
    SetupCode,
    Signon,
    SignonAck,
    SupParams,
)
from wire.transport.errors import ConnectionClosed
from wire.transport.sup_stream import MessageStream, connect_sup
from wire.transport.tap import Address, TapEvent


def test_places() -> None:
    slots = SharedSlots(2)
    assert slots.take()
    assert slots.take()
    assert not slots.take()
    slots.give_back()
    assert slots.take()
    assert not SharedSlots(0).take()


def test_places_are_counted_over_processes() -> None:
    slots = SharedSlots(3, processes=2)
    child = os.fork()
    if child == 0:
        slots.become(1)
        os._exit(slots.take() and slots.take())
    os.waitpid(child, 0)
    assert slots.taken() == 2
    assert slots.take()
    assert not slots.take()
    slots.clear(1)
    assert slots.taken() == 1
    assert slots.take()


def test_names_and_addresses() -> None:
    assert "127.0.0.1" in resolve("localhost")
    assert resolve("no-such-host.invalid") == []
    assert resolve("bad\0name") == []
    assert host_name("192.0.2.77") == "192.0.2.77"
    assert is_own_address("127.0.0.1")
    assert is_own_address("::ffff:127.0.0.1")
    assert not is_own_address("192.0.2.77")


async def opening(stream: MessageStream, base: Path, collection: bytes = b"demo") -> Setup:
    """What every client begins with, up to LOGIN."""
    stream.send_probe()
    stream.send(Signon(8, 26, b"4.3 BSD"))
    await stream.receive(SignonAck)
    setup = Setup(0, None, collection, 0, os.fsencode(base), 0, 0, 0, 0, None)
    stream.send(setup)
    assert (await stream.receive(SetupAck)).code == SetupCode.OK
    stream.send(Crypt(TEST_STRING), Login(None, None, None))
    await stream.receive(CryptOk)
    await stream.receive(LogAck)
    return setup


@asynccontextmanager
async def serving(server: FileServer, after_one: Callable[[], None] | None = None) -> AsyncIterator[Address]:
    """Where `server` listens; nothing is left of it afterwards."""
    listening = await server.listen("127.0.0.1", 0, after_one=after_one)
    try:
        yield listening.address
    finally:
        await listening.stop()
        server.stop_threads()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "sup/demo").mkdir(parents=True)
    (tmp_path / "sup/demo/list").write_text("upgrade data\n")
    (tmp_path / "data").mkdir()
    for number in range(300):
        (tmp_path / f"data/{number:03}").write_bytes(b"%d" % number * number)
    (tmp_path / "data/long").write_bytes(os.urandom(3_000_000))
    return tmp_path


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", ["<", ">"])
async def test_a_session_over_tcp(base: Path, order: str) -> None:
    heard: list[TapEvent] = []
    server = FileServer(
        reactor, ServerConfig(bases=(str(base),)), SharedSlots(2), taps=[heard.append], trace=3
    )
    async with serving(server) as address:
        stream = await connect_sup(reactor, address)
        stream.params = SupParams(order=order)
        await opening(stream, base)
        stream.send(Refuse(()))
        listed = await stream.receive(List)
        names = [entry.name for entry in listed.entries]
        assert len(names) == 302
        stream.send(Need(tuple(NeedEntry(name, 0) for name in names)))
        assert await stream.receive(Deny) == Deny(())
        stream.send(Compress(0), *[Send()] * 64)
        got = {}
        while (recv := await stream.receive(Recv)).name is not None:
            stream.send(Send())
            if recv.size is not None:
                pieces: list[bytes] = []
                await stream.receive_file(recv.size, pieces.append)
                got[recv.name] = b"".join(pieces)
        stream.send(Done(DoneCode.SUCCESS, b"Success"))
        await stream.finish()
        assert len(got) == 301
        for name, content in got.items():
            assert (base / os.fsdecode(name)).read_bytes() == content
    assert heard[0].kind == "open"


@pytest_twisted.ensureDeferred
async def test_clients_that_may_not_connect(base: Path) -> None:
    config = ServerConfig(bases=(str(base),), clients=("192.0.2.0/24",))
    server = FileServer(reactor, config, SharedSlots(2), tell_connections=True)
    async with serving(server) as address:
        stream = await connect_sup(reactor, address)
        stream.send_probe()
        stream.send(Signon(8, 26, b"x"))
        with pytest.raises(ConnectionClosed):
            await stream.receive(SignonAck)
        await stream.finish()


@pytest_twisted.ensureDeferred
async def test_one_connection_only(base: Path) -> None:
    served: Deferred[None] = Deferred()
    server = FileServer(reactor, ServerConfig(bases=(str(base),)), SharedSlots(2))
    async with serving(server, after_one=lambda: served.callback(None)) as address:
        stream = await connect_sup(reactor, address)
        await opening(stream, base)
        with pytest.raises(Exception, match="refused"):
            await connect_sup(reactor, address)
        assert not served.called
        await stream.finish()
        await served


async def listed(stream: MessageStream) -> int:
    """How many names the server lists."""
    stream.send(Refuse(()))
    return len((await stream.receive(List)).entries)


@pytest_twisted.ensureDeferred
async def test_walks_keep_no_other_session_waiting(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads for; the sessions of others open, and send files, as ever."""
    may_end = threading.Event()

    def endless_walk(*arguments: Any, **options: Any) -> Any:
        assert may_end.wait(60)
        return walk(*arguments, **options)

    server = FileServer(reactor, ServerConfig(bases=(str(base),)), SharedSlots(64))
    async with serving(server) as address:
        try:
            early, *others = [await connect_sup(reactor, address) for _ in range(2 * WALKING_THREADS)]
            await opening(early, base)
            assert await listed(early) == 302
            monkeypatch.setattr("sup.collection.walk", endless_walk)
            waiting = []
            for stream in others:
                await opening(stream, base)
                waiting.append(Deferred.fromCoroutine(listed(stream)))
            early.send(Need((NeedEntry(b"data/long", 0),)), Compress(0), Send())
            await early.receive(Deny)
            recv = await early.receive(Recv)
            pieces: list[bytes] = []
            await early.receive_file(recv.size or 0, pieces.append)
            assert len(b"".join(pieces)) == 3_000_000
            assert not any(each.called for each in waiting)
            may_end.set()
            assert await gatherResults(waiting) == [302] * len(others)
            for stream in (early, *others):
                await stream.finish()
        finally:
            may_end.set()


@pytest_twisted.ensureDeferred
async def test_packing_keeps_no_other_session_waiting(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the files are that some clients want compressed."""
    may_end = threading.Event()

    def endless(fd: int, name: bytes, size: int) -> Any:
        assert may_end.wait(60)
        return _packed(fd, name, size)

    monkeypatch.setattr("sup.sending._packed", endless)
    server = FileServer(reactor, ServerConfig(bases=(str(base),)), SharedSlots(64))
    async with serving(server) as address:
        try:
            early, *others = [await connect_sup(reactor, address) for _ in range(2 * PACKING_THREADS)]
            waiting = []
            for stream in (early, *others):
                await opening(stream, base)
                assert await listed(stream) == 302
                stream.send(Need((NeedEntry(b"data/long", 0),)))
                await stream.receive(Deny)
            for stream in others:
                stream.send(Compress(1), Send())
                waiting.append(Deferred.fromCoroutine(stream.receive(Recv)))
            early.send(Compress(0), Send())
            recv = await early.receive(Recv)
            pieces: list[bytes] = []
            await early.receive_file(recv.size or 0, pieces.append)
            assert len(b"".join(pieces)) == 3_000_000
            assert not any(each.called for each in waiting)
            may_end.set()
            assert {recv.name for recv in await gatherResults(waiting)} == {b"data/long"}
            for stream in (early, *others):
                await stream.finish()
        finally:
            may_end.set()


@pytest_twisted.ensureDeferred
async def test_name_servers_keep_no_other_session_waiting(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many clients there are whose names are asked for."""
    may_end = threading.Event()

    def endless(name: str) -> list[str]:
        assert may_end.wait(60)
        return ["127.0.0.1"]

    monkeypatch.setattr("sup.service.resolve", endless)
    (base / "sup/named").mkdir()
    (base / "sup/named/host").write_text("slow.example\n")
    server = FileServer(reactor, ServerConfig(bases=(str(base),)), SharedSlots(64))
    async with serving(server) as address:
        try:
            early, *others = [await connect_sup(reactor, address) for _ in range(2 * MOMENTARY_THREADS)]
            waiting = []
            for stream in others:
                waiting.append(Deferred.fromCoroutine(opening(stream, base, b"named")))
            await opening(early, base)
            assert await listed(early) == 302
            assert not any(each.called for each in waiting)
            may_end.set()
            await gatherResults(waiting)
            for stream in (early, *others):
                await stream.finish()
        finally:
            may_end.set()


@pytest_twisted.ensureDeferred
async def test_stopping_ends_sessions_and_gives_places_back(base: Path) -> None:
    slots = SharedSlots(1)
    server = FileServer(reactor, ServerConfig(bases=(str(base),)), slots)
    listening = await server.listen("127.0.0.1", 0)
    stream = await connect_sup(reactor, Address(listening.address.host, listening.address.port))
    await opening(stream, base)
    assert slots.taken() == 1
    await listening.stop()
    server.stop_threads()
    assert slots.taken() == 0
    await stream.finish()
