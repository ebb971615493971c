"""A TCP relay that delays, for latency tests where the kernel offers none.

It runs in a thread of its own, so that the delay also passes while the test blocks, and works for programs outside
the test's process. Bytes keep their order and both halves of a connection close on their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

CHUNK = 65_536
WAITING_CHUNKS = 256
"""How many chunks one direction of a connection may hold back before the relay stops reading it."""


class Relay:
    """Relays connections to `host`:`target`, each byte `delay` seconds late in either direction.

    A request and its reply thus take 2 x `delay` longer than without the relay. Inside a `with` block, `address` is
    where clients connect, `connections` how many did, `to_server` and `to_client` how many bytes passed.
    """

    def __init__(
        self, host: str, target: int, delay: float, listen: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._target = (host, target)
        self._listen = (listen, port)
        self.delay = delay
        self.address: tuple[str, int] = (listen, 0)
        self.connections = 0
        self.to_server = 0
        self.to_client = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, *self._listen)
        self.address = self._server.sockets[0].getsockname()[:2]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_in, server_out = await asyncio.open_connection(*self._target)
        except OSError:
            client_out.transport.abort()
            return
        try:
            # A peer that resets its connection ends both directions, as it would without the relay.
            with contextlib.suppress(OSError, ExceptionGroup):
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._one_way(client_in, server_out, "to_server"))
                    both.create_task(self._one_way(server_in, client_out, "to_client"))
        finally:
            for writer in (client_out, server_out):
                writer.transport.abort()

    async def _one_way(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, counter: str) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_CHUNKS)

        async def read() -> None:
            chunk = b"?"
            while chunk:
                chunk = await source.read(CHUNK)
                await waiting.put((self._loop.time() + self.delay, chunk))

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            while True:
                due, chunk = await waiting.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not chunk:
                    break
                setattr(self, counter, getattr(self, counter) + len(chunk))
                sink.write(chunk)
                await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
            await sink.drain()
