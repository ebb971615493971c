"""SUP's stream on real sockets, both roles; with ``--reactor=asyncio`` servers are on uvloop's native transport."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.strategies import values
from tests.transport.raw import eventually, raw, sleep, within
from tests.transport.streams import END, SIGNON, bare, built, failure, pair, recv, serving, started
from wire.codec import Damage, FormatError
from wire.formats.record import of
from wire.formats.sup import (
    MESSAGES,
    PROBE_BIG,
    PROBE_LITTLE,
    Compress,
    Deny,
    Done,
    DoneCode,
    Goaway,
    List,
    ListEntry,
    MessageType,
    Recv,
    Refuse,
    Send,
    Signon,
    SupParams,
)
from wire.transport.errors import (
    ConnectionClosed,
    IdleTimeout,
    PeerGoaway,
    TransportError,
    UnexpectedMessage,
)
from wire.transport.message_stream import QUICKACK, READ_AHEAD
from wire.transport.sup_stream import MessageStream, connect_sup
from wire.transport.tap import TapEvent

# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", [number for number in MESSAGES if number != MessageType.GOAWAY])
@settings(max_examples=5)
@given(data=st.data())
@pytest_twisted.ensureDeferred
async def test_every_message_in_both_orders_however_it_is_cut(
    number: MessageType, order: str, data: st.DataObject
) -> None:
    kind = MESSAGES[number]
    params = SupParams(order=order, list_only=True)
    messages = data.draw(st.lists(values(of(kind), params), min_size=1, max_size=3))
    stream = built(*messages, params=params)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    async with bare() as (client, server):
        server.params = params
        for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            client.send(stream[a:b])
            await sleep(0)
        assert [await server.receive(kind) for _ in messages] == messages
        server.send(*messages)
        await server.drain()
        assert await client.take(len(stream)) == stream


@pytest_twisted.ensureDeferred
async def test_byte_by_byte() -> None:
    entries = tuple(ListEntry(b"name%d" % number, 0o100644, 1, number) for number in range(50))
    messages = (SIGNON, Refuse(()), List(entries, 77), Done(DoneCode.SUCCESS, b"Success"))
    async with bare() as (client, server):
        stream = built(*messages)

        async def drip() -> None:
            for byte in stream:
                client.send(bytes([byte]))
                await sleep(0)

        dripping = started(drip())
        assert [await server.receive(type(message)) for message in messages] == list(messages)
        await dripping


@pytest_twisted.ensureDeferred
async def test_a_hundred_thousand_entries_both_ways() -> None:
    entries = tuple(
        ListEntry(b"directory/file%06d" % number, 0o100644, 1, number) for number in range(100_000)
    )
    async with pair() as (client, server):
        server.send(List(entries, 77))
        assert await client.receive(List) == List(entries, 77)
        client.send(Refuse(tuple(entry.name for entry in entries)), Send())
        assert len((await server.receive(Refuse)).names) == 100_000
        assert await server.receive(Send) == Send()


@pytest_twisted.ensureDeferred
async def test_one_of_several_types() -> None:
    async with pair() as (client, server):
        client.send(Send(), Done(DoneCode.SUCCESS, None))
        assert await server.receive(Done, Send) == Send()
        assert await server.receive(Done, Send) == Done(DoneCode.SUCCESS, None)


@pytest.mark.parametrize("reason", [None, b"", b"Can't chdir to base directory /x"])
@pytest_twisted.ensureDeferred
async def test_goaway_in_place_of_any_message(reason: bytes | None) -> None:
    async with pair() as (client, server):
        server.send(Goaway(reason))
        with pytest.raises(PeerGoaway) as gone:
            await client.receive(List)
        assert gone.value.reason == reason


@pytest_twisted.ensureDeferred
async def test_goaway_can_be_expected() -> None:
    async with pair() as (client, server):
        client.send(Goaway(None))
        with pytest.raises(PeerGoaway):
            await server.receive(Goaway)


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (built(Send()), "SEND came where LIST or DONE was expected"),
        (struct.pack("<i", 999), "a message of the unknown type 999 came where LIST or DONE was expected"),
        (b"HTTP", "a message of the unknown type 1347703880 came where LIST or DONE"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_message_than_its_turn(sent: bytes, complaint: str) -> None:
    async with bare() as (client, server):
        client.send(sent)
        with pytest.raises(UnexpectedMessage, match=complaint):
            await server.receive(List, Done)


@pytest.mark.parametrize(
    ("sent", "kind", "damage"),
    [
        (built(Compress(1))[:4] + struct.pack("<ii", 5, 0), Compress, Damage.COUNT),
        (built(SIGNON)[:20] + struct.pack("<i", 0x7FFFFFF0), Signon, Damage.LIMIT),
        (built(SIGNON)[:20] + struct.pack("<i", 16_385), Signon, Damage.LIMIT),
        (built(SIGNON)[:20] + struct.pack("<i", -2), Signon, Damage.COUNT),
        (built(Deny(()))[:4] + struct.pack("<i", -7), Deny, Damage.COUNT),
        (built(Send())[:4] + b"\0\0\0\0", Send, Damage.CONST),
        (built(List((), 5))[:4] + struct.pack("<i", 2**31 - 1), List, Damage.LIMIT),
    ],
    ids=["count of an int", "2 GiB", "a byte too many", "null", "negative", "end", "2 GiB name"],
)
@pytest_twisted.ensureDeferred
async def test_damage_is_named_before_anything_is_allocated(sent: bytes, kind: Any, damage: Damage) -> None:
    async with bare() as (client, server):
        client.send(sent)
        error = await failure(server.receive(kind))
        assert isinstance(error, FormatError)
        assert error.kind is damage


@pytest_twisted.ensureDeferred
async def test_a_message_without_end() -> None:
    async with bare(message=1_000_000) as (client, server):
        waiting = started(server.receive(Refuse))
        error = started(failure(waiting))
        client.send(built(Refuse(()))[:4])
        for _ in range(100):
            client.send((struct.pack("<i", 1000) + bytes(1000)) * 50)
            await sleep(0)
            if error.called:
                break
        raised = await within(error)
        assert isinstance(raised, FormatError)
        assert raised.kind is Damage.LIMIT


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [0, 1, 2047, 65_536, 3_000_001])
@pytest_twisted.ensureDeferred
async def test_files_with_messages_around_them(size: int, order: str) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    async with pair() as (client, server):
        for stream in (client, server):
            stream.params = SupParams(order=order)

        async def send() -> None:
            for chunk in (1000, 100_000, size + 1):
                pieces = (data[at : min(at + chunk, size)] for at in range(0, size, chunk))
                await server.send_file(recv(size), pieces)
            server.send(Recv())
            await server.drain()

        sending = started(send())
        for _ in range(3):
            assert await client.receive(Recv) == recv(size)
            received = bytearray()
            await client.receive_file(size, received.extend)
            assert received == data[:size]
        assert await client.receive(Recv) == Recv()
        await sending


@pytest_twisted.ensureDeferred
async def test_chunks_that_are_awaited() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b"ab", b"", b"cde"):
            await sleep(0.01)
            yield piece

    async with pair() as (client, server):
        sending = started(server.send_file(recv(5), chunks()))
        assert await client.receive(Recv) == recv(5)
        received = bytearray()
        await client.receive_file(5, received.extend)
        assert received == b"abcde"
        await sending


@pytest.mark.parametrize("chunks", [[b"abc"], [b"abc", b"def"], []])
@pytest_twisted.ensureDeferred
async def test_a_file_is_as_long_as_it_was_announced(chunks: list[bytes]) -> None:
    async with pair() as (_, server):
        with pytest.raises(ValueError, match="bytes"):
            await server.send_file(recv(5), chunks)


@pytest_twisted.ensureDeferred
async def test_a_file_of_a_hundred_megabytes_is_never_held() -> None:
    size, piece = 100_000_000, bytes(1 << 18)
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        left = size
        while left:
            taken += 1
            yield piece[:left]
            left -= min(left, len(piece))

    async with pair() as (client, server):
        received, ahead = 0, 0

        def write(data: bytes) -> None:
            nonlocal received, ahead
            received += len(data)
            ahead = max(ahead, taken * len(piece) - received)

        tracemalloc.start()
        sending = started(server.send_file(recv(size), chunks()))
        await client.receive(Recv)
        await client.receive_file(size, write)
        await sending
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert received == size
        assert peak < 10_000_000
        assert ahead < 20_000_000, "what the kernel's buffers hold, and no more"


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read_stops_the_reading_of_files() -> None:
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield bytes(100_000)

    async with bare() as (client, server):
        client.transport.pauseProducing()
        sending = started(server.send_file(recv(100_000_000), chunks()))
        await eventually(lambda: taken)
        seen = -1
        while seen != taken:
            seen = taken
            await sleep(0.1)
        assert taken < 500
        client.transport.resumeProducing()
        assert len(await client.take(100_000_000)) == 100_000_000
        await within(sending)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_listening_stops_being_sent_to() -> None:
    async with bare() as (client, server):
        client.send(bytes(50_000_000))
        await eventually(lambda: len(server._data) > READ_AHEAD)
        await sleep(0.1)
        assert len(server._data) <= 3 * READ_AHEAD
        assert not server._reading
        received = 0

        def write(data: bytes) -> None:
            nonlocal received
            received += len(data)

        error = started(failure(server.receive_file(49_999_000, write)))
        assert isinstance(await within(error), FormatError)  # zeros are no end mark
        assert received == 49_999_000


@pytest_twisted.ensureDeferred
async def test_an_end_mark_that_is_missing() -> None:
    async with bare() as (client, server):
        client.send(b"abcdeNOPE")
        error = await failure(server.receive_file(5, lambda data: None))
        assert isinstance(error, FormatError)
        assert error.kind is Damage.CONST


@pytest.mark.parametrize("early", [True, False])
@pytest_twisted.ensureDeferred
async def test_who_takes_the_data_may_fail(early: bool) -> None:
    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with bare() as (client, server):
        if early:
            client.send(b"abcde")
            await eventually(lambda: server._data)
        error = started(failure(server.receive_file(10, full)))
        client.send(b"abcdefghij")
        assert isinstance(await within(error), OSError)


@pytest_twisted.ensureDeferred
async def test_sends_are_read_while_files_are_sent() -> None:
    count, size = 500, 6000
    async with pair() as (client, server):

        async def send() -> None:
            for _ in range(count):
                await server.receive(Send)
                await server.send_file(recv(size), [bytes(size)])
            await server.receive(Send)
            server.send(Recv())
            assert await server.receive(Done) == Done(DoneCode.SUCCESS, None)

        sending = started(send())
        client.send(*[Send()] * (count + 1))
        for _ in range(count):
            assert (await client.receive(Recv)).size == size
            await client.receive_file(size, lambda data: None)
        assert await client.receive(Recv) == Recv()
        client.send(Done(DoneCode.SUCCESS, None))
        await client.drain()
        await within(sending)


# --- writes ---------------------------------------------------------------------------------------------------------


def written(events: list[TapEvent]) -> list[bytes]:
    return [event.data for event in events if event.kind == "data" and event.outgoing]


@pytest_twisted.ensureDeferred
async def test_header_and_data_are_one_write_and_so_is_all_that_is_said_at_once() -> None:
    events: list[TapEvent] = []
    done: Deferred[None] = Deferred()

    async def session(stream: MessageStream) -> None:
        await stream.receive(Send)
        await stream.send_file(recv(6000), [bytes(6000)])
        await stream.receive(Send)
        await stream.send_file(recv(200_000), [bytes(100_000), bytes(100_000)])
        await stream.drain()
        stream.send(Send())
        stream.send(Send(), Send())
        await done

    async with serving(session, [events.append]) as listening:
        client = await connect_sup(reactor, listening.address)
        client.send(Send())
        await client.receive(Recv)
        await client.receive_file(6000, lambda data: None)
        first = written(events)
        assert first == [built(recv(6000)) + bytes(6000) + END]
        client.send(Send())
        await client.receive(Recv)
        await client.receive_file(200_000, lambda data: None)
        for _ in range(3):
            await client.receive(Send)
        second = written(events)[1:]
        assert b"".join(second) == built(recv(200_000)) + bytes(200_000) + END + built(Send()) * 3
        assert len(second[0]) == len(built(recv(200_000))) + 100_000
        assert second[-1] == built(Send()) * 3
        done.callback(None)
        await client.finish()


@pytest_twisted.ensureDeferred
async def test_what_is_said_leaves_also_while_the_session_waits_for_something_else() -> None:
    async with pair() as (client, server):
        server.send(SIGNON)
        waiting = started(client.receive(Signon))
        assert await within(waiting, 5) == SIGNON


@pytest.mark.skipif(QUICKACK is None, reason="this system has no TCP_QUICKACK")
@pytest_twisted.ensureDeferred
async def test_a_peer_that_writes_in_pieces_is_not_kept_waiting_for_acknowledgements() -> None:
    """A hundred messages, each in two writes with Nagle's algorithm on: four seconds where each waits for 40 ms."""
    message = built(Send())
    async with bare() as (client, server):
        client.transport.setTcpNoDelay(False)

        async def answer() -> None:
            for _ in range(100):
                await server.receive(Send)
                server.send(Send())
            await server.drain()

        answering = started(answer())
        began = time.monotonic()
        for _ in range(100):
            client.send(message[:4])
            await sleep(0.001)
            client.send(message[4:])
            assert await client.take(len(message)) == message
        assert time.monotonic() - began < 2
        await answering


@pytest_twisted.ensureDeferred
async def test_recorders_hear_both_ends() -> None:
    ours: list[TapEvent] = []
    theirs: list[TapEvent] = []

    async def session(stream: MessageStream) -> None:
        await stream.receive_probe()
        assert await stream.receive(Signon) == SIGNON
        stream.send(Goaway(None))

    async with serving(session, [theirs.append]) as listening:
        client = await connect_sup(reactor, listening.address, taps=[ours.append], name="sup")
        client.send_probe()
        client.send(SIGNON)
        with pytest.raises(PeerGoaway):
            await client.receive(Signon)
        await client.finish()
        await eventually(lambda: theirs[-1].kind == "close")
    for events, there in ((ours, True), (theirs, False)):
        assert [(event.kind, event.outgoing) for event in events[:3]] == [
            ("open", there),
            ("data", there),
            ("data", not there),
        ]
        assert [event.data for event in events[1:3]] == [PROBE_LITTLE + built(SIGNON), built(Goaway(None))]
    assert {event.service for event in ours} == {"sup"}
    assert {event.service for event in theirs} == {"supfilesrv"}
    assert (ours[0].local, ours[0].remote) == (theirs[0].remote, theirs[0].local)


# --- the probe ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("probe", "order"), [(PROBE_LITTLE, "<"), (PROBE_BIG, ">")])
@pytest.mark.parametrize("cut", [0, 2, 4])
@pytest_twisted.ensureDeferred
async def test_the_probe_tells_the_order(probe: bytes, order: str, cut: int) -> None:
    async with bare() as (client, server):
        stream = probe + built(SIGNON, params=SupParams(order=order))
        client.send(stream[:cut])
        await sleep(0.05)
        client.send(stream[cut:])
        await server.receive_probe()
        assert server.params == SupParams(order=order)
        assert await server.receive(Signon) == SIGNON


@pytest_twisted.ensureDeferred
async def test_a_client_may_be_of_either_order() -> None:
    async with pair() as (client, server):
        client.params = SupParams(order=">")
        client.send_probe()
        client.send(SIGNON)
        await server.receive_probe()
        assert await server.receive(Signon) == SIGNON


@pytest_twisted.ensureDeferred
async def test_what_is_no_probe() -> None:
    async with bare() as (client, server):
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(UnexpectedMessage, match="not the probe"):
            await server.receive_probe()


@pytest.mark.parametrize("half", [b"", PROBE_LITTLE[:2]])
@pytest_twisted.ensureDeferred
async def test_half_a_probe(half: bytes) -> None:
    async with bare(probe=0.2) as (client, server):
        client.send(half)
        with pytest.raises(IdleTimeout, match=r"sent nothing for 0\.2 seconds"):
            await server.receive_probe()


# --- silence --------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_silence_is_borne_for_so_long() -> None:
    async with bare(until_refuse=0.5) as (client, server):
        assert server.idle_timeout == 0.5
        waiting = started(failure(server.receive(Refuse)))
        for piece in built(Refuse((b"a",)))[:8]:
            await sleep(0.1)
            client.send(bytes([piece]))
        assert not waiting.called
        assert isinstance(await within(waiting, 2), IdleTimeout)


@pytest_twisted.ensureDeferred
async def test_patience_can_change_while_it_is_needed() -> None:
    async with bare() as (_, server):
        waiting = started(failure(server.receive(Send)))
        await sleep(0.05)
        server.idle_timeout = 0.1
        assert isinstance(await within(waiting, 2), IdleTimeout)
        server.idle_timeout = 60.0
        waiting = started(failure(server.receive(Send)))
        await sleep(0.3)
        assert not waiting.called


@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_reads() -> None:
    async with bare(until_refuse=0.5) as (client, server):
        client.transport.pauseProducing()
        sending = started(failure(server.send_file(recv(10**9), (bytes(100_000) for _ in range(10**4)))))
        assert isinstance(await within(sending, 10), IdleTimeout)


# --- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", built(SIGNON)[:2], built(SIGNON)[:-1]])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_in_a_message(sent: bytes) -> None:
    async with bare() as (client, server):
        client.send(sent)
        client.transport.loseConnection()
        with pytest.raises(ConnectionClosed):
            await server.receive(Signon)
        with pytest.raises(ConnectionClosed):
            await server.receive(Signon)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_in_a_file() -> None:
    async with bare() as (client, server):
        client.send(bytes(1000))
        client.transport.loseConnection()
        with pytest.raises(ConnectionClosed):
            await server.receive_file(1001, lambda data: None)


@pytest_twisted.ensureDeferred
async def test_what_came_before_the_end_is_read() -> None:
    async with bare() as (client, server):
        client.send(built(SIGNON, Send()))
        client.transport.loseWriteConnection()
        await sleep(0.1)
        assert await server.receive(Signon) == SIGNON
        assert await server.receive(Send) == Send()
        server.send(SIGNON)
        await server.drain()
        assert await client.take(len(built(SIGNON))) == built(SIGNON)
        with pytest.raises(ConnectionClosed):
            await server.receive(Send)


@pytest_twisted.ensureDeferred
async def test_the_last_word_arrives_although_much_was_not_read() -> None:
    """A close with unread input would be a reset, which destroys what is under way (SUP 12.1)."""

    async def session(stream: MessageStream) -> None:
        await stream.receive_probe()
        stream.send(Goaway(b"no"))

    async with serving(session) as listening:
        client = await raw(listening.address)
        client.send(PROBE_LITTLE + bytes(2_000_000))
        assert await client.take(len(built(Goaway(b"no"))) + 1) == built(Goaway(b"no"))
        await client.ended()


@pytest_twisted.ensureDeferred
async def test_who_does_not_close_is_closed() -> None:
    async def session(stream: MessageStream) -> None:
        stream.send(Goaway(b"no"))

    async with serving(session, drain=0.2) as listening:
        client = await connect_sup(reactor, listening.address)
        with pytest.raises(PeerGoaway):
            await client.receive(Send)
        with pytest.raises(ConnectionClosed):
            await client.receive(Send)
        await eventually(lambda: not listening.streams, 3)
        await client.finish()
        await client.finish()
        with pytest.raises(ConnectionClosed):
            client.send(Send())
        client.abort()


@pytest_twisted.ensureDeferred
async def test_finish_sends_what_is_left() -> None:
    data = bytes(5_000_000)

    async def session(stream: MessageStream) -> None:
        await stream.send_file(recv(len(data)), [data])

    async with serving(session) as listening:
        client = await connect_sup(reactor, listening.address)
        await sleep(0.1)
        await client.receive(Recv)
        received = bytearray()
        await client.receive_file(len(data), received.extend)
        assert received == data
        await client.finish()


@pytest_twisted.ensureDeferred
async def test_abort_wakes_whoever_waits() -> None:
    async with pair() as (client, server):
        waiting = started(failure(server.receive(Send)))
        server.abort()
        assert isinstance(await within(waiting), ConnectionClosed)
        with pytest.raises(ConnectionClosed):
            server.send(Send())
        with pytest.raises(ConnectionClosed):
            await client.receive(Send)


@pytest_twisted.ensureDeferred
async def test_a_lost_connection_wakes_whoever_waits_for_room() -> None:
    async with bare() as (client, server):
        client.transport.pauseProducing()
        sending = started(failure(server.send_file(recv(10**9), (bytes(100_000) for _ in range(10**4)))))
        await sleep(0.1)
        client.transport.abortConnection()
        assert isinstance(await within(sending), ConnectionClosed)
        with pytest.raises(ConnectionClosed):
            server.send(Send())


@settings(max_examples=30)
@given(data=st.binary(max_size=300))
@pytest_twisted.ensureDeferred
async def test_any_bytes_end_in_an_error_of_ours(data: bytes) -> None:
    kinds = [cls for number, cls in MESSAGES.items() if number != MessageType.GOAWAY]
    async with bare() as (client, server):
        client.send(data)
        client.transport.loseWriteConnection()
        while True:
            try:
                await server.receive(*kinds)
            except (TransportError, FormatError):
                return
