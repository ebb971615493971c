"""Where a lesson is played: a lab of its own on free loopback ports, a recorder that listens at its servers, clients.

Everything lives in a temporary directory, needs no privileges, and is gone afterwards; only the capture stays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from emulators.config import LabConfig, NetInfoConfig
from emulators.lab import Lab
from emulators.samples import COLLECTION
from emulators.state import open_state
from sup.client import Session, Settings, Status
from sup.durability import Durability
from sup.report import Report
from sup.supfile import Collection, parse
from sup.workspace import Workspace
from wire.capture.writer import Recorder
from wire.formats.rpc import Program
from wire.transport.endpoint import connect_stream
from wire.transport.rpc_client import RpcClient, connect_tcp, connect_udp
from wire.transport.sup_stream import connect_sup
from wire.transport.tap import Address, TapEvent

T = TypeVar("T")

CONFIG = LabConfig(
    port_base=0,
    console=False,
    netinfo=NetInfoConfig(
        superuser="reserved-port"
    ),  # so that whoever plays a lesson is nobody in particular
    sup_debug_port=False,
)
PATIENCE = 10.0
"""Seconds that a lesson waits for anything."""


class LessonError(Exception):
    """An exchange that could not be played, or did not go as its lesson says; the sentence says why."""


class Stage:
    """A lab, the recorder and what a lesson's clients need. `directory` is temporary."""

    def __init__(self, reactor: Any, recorder: Recorder, directory: Path) -> None:
        self.reactor = reactor
        self.directory = directory
        self.recording = False
        """Whether what the lab's servers hear and say is recorded: from `lab` on, until a lesson turns it off."""
        self._recorder = recorder
        self._lab: Lab | None = None
        self._clients: list[RpcClient] = []
        self._state: Any = None

    async def lab(self, prepare: Callable[[Path], None] = lambda collection: None) -> Lab:
        """Start the lab; *prepare* may change the sample collection's directory before. Recording begins."""
        self._state = open_state(self.directory / "lab", CONFIG.listen, fresh=True)
        prepare(self._state.collections / COLLECTION)
        self._lab = Lab(self.reactor, CONFIG, self._state, [self.record])
        await self._lab.start()
        self.recording = True
        return self._lab

    def record(self, event: TapEvent) -> None:
        """The tap of everything a lesson records."""
        if self.recording:
            self._recorder(event)

    async def close(self) -> None:
        """Ends clients and lab."""
        for client in self._clients:
            client.close()
        await self.pause(0.05)  # so that the servers see their clients go before they are stopped
        self.recording = False
        if self._lab is not None:
            await self._lab.stop()
        if self._state is not None:
            self._state.close()

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    # --- clients ------------------------------------------------------------------------------------------------

    async def tcp(self, address: Address, program: Program) -> RpcClient:
        """A client of an RPC program, from an ordinary port: nobody's superuser (NETINFO 3.2)."""
        client = await connect_tcp(self.reactor, address, program, timeout=PATIENCE)
        self._clients.append(client)
        return client

    async def udp(self, address: Address, program: Program) -> RpcClient:
        client = await connect_udp(self.reactor, address, program, timeout=PATIENCE)
        self._clients.append(client)
        return client

    async def say(self, address: Address, data: bytes, patience: float = PATIENCE) -> bytes:
        """Write bytes to a TCP port as `telnet` would; what is answered until the other side closes or *patience*
        seconds have passed."""
        said = _Bytes(data)
        await connect_stream(self.reactor, address, said, PATIENCE)
        waiting = self.reactor.callLater(patience, said.end)
        answer = await said.ended
        if waiting.active():
            waiting.cancel()
        return answer

    async def upgrade(self, client: Path, options: str = "", window: int = 64) -> list[str]:
        """Upgrade the sample collection into *client* with our SUP client, as a supfile with *options* would.

        Gives what the client told its user. Raises LessonError if it did not succeed.
        """
        assert self._lab is not None
        collection = _collection(client, options)
        said: list[str] = []
        report = Report(said.append, verbose=True)
        settings = Settings(durability=Durability(None, None), offload=_at_once, window=window)
        stream = await connect_sup(self.reactor, self._lab.reached("supfilesrv"))
        with Workspace(collection) as workspace:
            status = await Session(stream, collection, workspace, report, settings).run()
        await stream.finish()
        expect(status is Status.DONE, f"the upgrade ended with: {status.value}")
        return said


def expect(holds: bool, sentence: str) -> None:
    """Raises LessonError with *sentence*, which tells what happened instead, unless *holds*."""
    if not holds:
        raise LessonError(f"This run did not go as the lesson says: {sentence}.")


def _collection(client: Path, options: str) -> Collection:
    """The sample collection as a supfile has it that keeps it in the directory *client*, which is made."""
    client.mkdir(exist_ok=True)
    (collection,) = parse(f"{COLLECTION} host=localhost base={client} {options}".encode())
    return collection


def _discard(capture: Path) -> None:
    """Remove the recording of an exchange that did not go as it should."""
    with suppress(OSError):
        capture.unlink()


async def _at_once(function: Callable[[], T]) -> T:
    return function()


class _Bytes(Protocol):
    """Says one thing and listens."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._heard = b""
        self.ended: Deferred[bytes] = Deferred()

    @property
    def _transport(self) -> Any:  # its interface tells mypy of functions without their self
        return self.transport

    def connectionMade(self) -> None:
        self._transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        self._heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            self.ended.callback(self._heard)

    def end(self) -> None:
        self._transport.loseConnection()


Play = Callable[[Stage], Awaitable[None]]
"""Plays a lesson's exchange. Raises LessonError if it does not go as the lesson says."""


async def perform(play: Play, reactor: Any, capture: Path) -> None:
    """Play an exchange and record it in the new file *capture*. Raises LessonError, OSError."""
    if any(sign.isspace() for sign in tempfile.gettempdir()):
        raise LessonError(
            f"A supfile cannot name a directory with a blank in it, such as {tempfile.gettempdir()}, where this lesson "
            "would keep its files: set TMPDIR to another."
        )
    recorder = Recorder(capture)
    try:
        with tempfile.TemporaryDirectory(prefix="lesson-", ignore_cleanup_errors=True) as directory:
            stage = Stage(reactor, recorder, Path(directory))
            try:
                await play(stage)
            finally:
                await stage.close()
    except BaseException:
        _discard(capture)
        raise
    finally:
        recorder.close()
