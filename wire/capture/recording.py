"""Recording with options: `--pcap FILE`, and `--redact` which keeps secrets out of the file from the start.

@pcap_options
def command(recording: Recording, ...):
    with recording.taps() as taps:
        server = RpcServer(services, taps=taps)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from wire.capture.conversations import Connection, Dissector
from wire.capture.messages import Message
from wire.capture.reassembly import Opening
from wire.capture.redact import redact_record, redacted
from wire.capture.rpc import kind_of
from wire.capture.writer import Recorder, packed_pair
from wire.transport.tap import Address, Tap, TapEvent

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen
class Recording:
    """What the options asked for: a file to record to, or None; and whether secrets are blanked in it."""

    path: Path | None = None
    redact: bool = False

    @contextmanager
    def taps(self) -> Iterator[tuple[Tap, ...]]:
        """The taps to hand to transports; the file is complete afterwards.

        Raises click.ClickException, with a sentence, when the file cannot be made.
        """
        if self.path is None:
            yield ()
            return
        try:
            recorder = Recorder(self.path)
        except OSError as error:
            raise click.ClickException(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            yield (Redacting(recorder),) if self.redact else (recorder,)
        finally:
            recorder.close()


def pcap_options(command: F) -> F:
    """Adds --pcap and --redact to a command, which receives a `Recording` as `recording`."""

    @click.option("--pcap", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
                  help="Record what is sent and received in FILE, as pcapng, readable by its owner alone.")  # fmt: skip
    @click.option("--redact", is_flag=True, help="Blank passwords and machine names in the recording.")
    @wraps(command)
    def with_recording(*args: Any, pcap: Path | None, redact: bool, **kwargs: Any) -> Any:
        return command(*args, recording=Recording(pcap, redact), **kwargs)

    return with_recording  # type: ignore[return-value]


class Redacting:
    """A tap before another: hands on what it hears with secrets blanked (`wire.capture.redact`).

    What a client sends is handed on message by message, once it is understood; what is not understood is not
    handed on, for it could be anything. What a server sends holds no secrets of these kinds, and passes.
    """

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._dissector = Dissector()
        self._connections: dict[tuple[Address, Address], _Watched] = {}

    def __call__(self, event: TapEvent) -> None:
        """Takes one event of a transport."""
        if event.transport == "udp":
            if kind_of(event.data):
                self._tap(attrs.evolve(event, data=redact_record(event.data)))
            return
        key = (event.local, event.remote)
        if event.kind == "open" or key not in self._connections:
            self._connections[key] = _Watched(self._tap, self._dissector, event)
        watched = self._connections[key]
        if event.kind == "data":
            watched.data(event)
        elif event.kind == "close":
            watched.closed(event)
            del self._connections[key]
        if event.kind != "data":
            self._tap(event)


class _Watched:
    """One connection, followed as a capture of it would be."""

    def __init__(self, tap: Tap, dissector: Dissector, event: TapEvent) -> None:
        self._tap = tap
        outgoing = event.outgoing if event.kind == "open" else event.local.port > event.remote.port
        self._client_is_local = outgoing
        ends = (event.local, event.remote) if outgoing else (event.remote, event.local)
        packed = packed_pair(*ends)
        self._event = event
        opening = Opening(
            packed[0],
            ends[0].port,
            packed[1],
            ends[1].port,
            event.time,
            0,
            event.kind == "open",
            event.service,
        )
        self._connection = Connection(dissector, opening, self._emit)

    def data(self, event: TapEvent) -> None:
        self._event = event
        from_client = event.outgoing == self._client_is_local
        self._connection.data(0 if from_client else 1, event.data, event.time, 0)
        if not from_client:
            self._tap(event)

    def closed(self, event: TapEvent) -> None:
        self._event = attrs.evolve(event, kind="data", outgoing=self._client_is_local)
        self._connection.closed("the connection was closed", event.time, 0)

    def _emit(self, message: Message) -> None:
        if message.from_client and message.raw:
            raw = redacted(message).raw
            self._tap(attrs.evolve(self._event, data=raw, outgoing=self._client_is_local))
