"""Which conversations a capture holds, and who follows each: the way from packets to messages.

Ports are not trusted. RPC is known by the program number inside a call, SUP by its probe and the SIGNON after
it, or because the user said so (`decode_as`); a connection that neither begins is passed over. Where the
beginning is not in the capture, the first packet that begins with a whole call or message decides.
"""

from __future__ import annotations

import itertools
import socket
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, BinaryIO

from wire.capture.files import Notice as PacketNotice
from wire.capture.messages import Conversation, Message, Notice
from wire.capture.packets import Datagram, Packet, Segment, read_packets
from wire.capture.reassembly import Opening, Reassembler
from wire.capture.rpc import PROGRAM_NUMBERS, RecordReader, Remembered, RpcFollower, is_call, kind_of
from wire.capture.sup import CLIENT_TYPES, PROBES, OpenFile, Session, SupReader, begins, first_message
from wire.formats import rpc

PROTOCOLS = ("rpc", "sup")
"""What a port can be declared to carry."""
_Side = tuple[bytes, int]

UNDECIDED = 256
"""Bytes of one direction after which a connection that has shown nothing known is passed over."""
MAX_FLOWS = 16_384
"""UDP conversations remembered at once; past it, the one that began first is forgotten."""


@lru_cache(maxsize=4096)
def host(packed: bytes) -> str:
    """An IP address in its usual notation; an IPv4 address mapped into IPv6 is that IPv4 address."""
    if len(packed) == 16 and packed[:12] == bytes(10) + b"\xff\xff":
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


NOWHERE = Conversation(0, "", ("", 0), ("", 0), 0.0)
"""The conversation of notices about the capture itself."""


class Dissector:
    """Packets in, messages out.

    `decode_as` maps server ports to "rpc" or "sup"; `opener` receives file data of SUP.
    """

    def __init__(self, decode_as: Mapping[int, str] | None = None, opener: OpenFile | None = None) -> None:
        self._decode_as = dict(decode_as or {})
        self._opener = opener
        self._found: list[Message] = []
        self._emit = self._found.append
        self.numbered = itertools.count(1).__next__
        """The number of the next message."""
        self.remembered: Remembered = deque()
        self._conversations = 0
        self._reassembler = Reassembler(self._opened)
        self._flows: OrderedDict[tuple[bytes, bytes, int, int], tuple[RpcFollower, bool]] = OrderedDict()
        self._callers: OrderedDict[_Side, RpcFollower] = OrderedDict()
        self._servers: OrderedDict[_Side, None] = OrderedDict()

    def messages(self, packets: Iterable[Packet | PacketNotice]) -> Iterator[Message]:
        """The messages of a capture, in the order in which its packets complete them."""
        found, segment, packet = self._found, self._reassembler.segment, None
        for packet in packets:
            if type(packet) is Segment:
                segment(packet)
            elif type(packet) is Datagram:
                self._datagram(packet)
            else:
                number, now = self.numbered(), packet.time
                found.append(Notice(NOWHERE, number, now, packet.frame, True, b"", text=packet.reason))  # type: ignore[union-attr]
            if found:
                yield from found
                found.clear()
        if packet is not None:
            self._reassembler.finish(packet.time, packet.frame)
            yield from found

    def conversation(
        self, protocol: str, transport: str, client: _Side, server: _Side, time: float, service: str
    ) -> Conversation:
        """A new conversation."""
        self._conversations += 1
        if protocol != "sup":
            self._servers[server] = None
            _forget_first(self._servers, MAX_FLOWS)
        return Conversation(
            self._conversations,
            transport,
            (host(client[0]), client[1]),
            (host(server[0]), server[1]),
            time,
            service,
            protocol,
        )

    def declared(self, source_port: int, destination_port: int) -> tuple[str, bool]:
        """What the user declared these ports to carry, and whether the destination is the server."""
        if destination_port in self._decode_as:
            return self._decode_as[destination_port], True
        return self._decode_as.get(source_port, ""), False

    def _opened(self, opening: Opening) -> Connection:
        return Connection(self, opening, self._emit, self._opener)

    # ---------------------------------------------------------------------------------------------------- UDP

    def _datagram(self, packet: Datagram) -> None:
        number, time, source, destination, source_port, destination_port, payload, missing, _ = packet
        key = (source, destination, source_port, destination_port)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._new_flow(packet)
            if flow is None:
                return
        follower, from_client = flow
        notes = (
            (f"not whole: {missing:,} bytes are cut off by the recorder's snap length",) if missing else ()
        )
        follower.record(payload, payload, (), from_client, time, number, notes)

    def _new_flow(self, packet: Datagram) -> tuple[RpcFollower, bool] | None:
        """Follows two UDP ports from their first call on, or from a reply on if the user said what they
        carry.
        """
        payload = packet.payload
        declared, to_server = self.declared(packet.source_port, packet.destination_port)
        caller = None
        if is_call(payload):
            to_server = True
        elif declared != "rpc":
            # A broadcast, or a host with several addresses: the answer comes from where the call did not go.
            caller = self._callers.get((packet.destination, packet.destination_port))
            if caller is None or not caller.awaits(payload):
                caller = None
                if (packet.source, packet.source_port) not in self._servers or kind_of(payload) != "reply":
                    return None
        client: _Side = (packet.source, packet.source_port)
        server: _Side = (packet.destination, packet.destination_port)
        if not to_server:
            client, server = server, client
        program = PROGRAM_NUMBERS.get(int.from_bytes(payload[12:16], "big")) if to_server else None
        name = program.name if program is not None else caller.protocol if caller is not None else "rpc"
        conversation = self.conversation(name, "udp", client, server, packet.time, packet.comment)
        follower = RpcFollower(conversation, self._emit, self.numbered, self.remembered, caller)
        self._flows[client[0], server[0], client[1], server[1]] = (follower, True)
        self._flows[server[0], client[0], server[1], client[1]] = (follower, False)
        if to_server:
            self._callers[client] = follower
        _forget_first(self._flows, 2 * MAX_FLOWS)
        _forget_first(self._callers, MAX_FLOWS)
        return follower, to_server


def _forget_first(table: OrderedDict[Any, Any], limit: int) -> None:
    """Drops what was put into a table first, until no more than *limit* are left."""
    while len(table) > limit:
        table.popitem(last=False)


Reader = RecordReader | SupReader


class Connection:
    """A TCP connection: hands its bytes to the readers of its protocol, once that is known
    (`reassembly.Sink`).
    """

    def __init__(
        self,
        dissector: Dissector,
        opening: Opening,
        emit: Callable[[Message], None],
        opener: OpenFile | None = None,
    ) -> None:
        self._dissector = dissector
        self._opening = opening
        self._emit = emit
        self._opener = opener
        self._readers: tuple[Reader, Reader] | None = None
        self._waiting: list[tuple[int, bytes, float, int]] = []
        self._sizes = [0, 0]
        self._whole = opening.handshake
        self._other = False
        self._declared, to_second = dissector.declared(opening.source_port, opening.destination_port)
        self._declared_client = 0 if to_second or not self._declared else 1

    def data(self, direction: int, data: bytes, time: float, frame: int) -> None:
        if self._readers is not None:
            self._readers[direction].data(data, time, frame)
        elif not self._other:
            self._waiting.append((direction, data, time, frame))
            self._sizes[direction] += len(data)
            self._decide(direction, data)
            if self._sizes[direction] > UNDECIDED:
                self._other = self._whole
                self._waiting.clear()

    def gap(self, direction: int, size: int, reason: str, time: float, frame: int) -> None:
        if self._readers is not None:
            self._readers[direction].gap(size, reason, time, frame)
        else:
            self._whole = False
            self._waiting.clear()

    def closed(self, reason: str, time: float, frame: int) -> None:
        if self._readers is not None:
            for reader in self._readers:
                reader.finish(reason, time, frame)
            self._readers = None
        self._other = True
        self._waiting.clear()

    def _decide(self, direction: int, data: bytes) -> None:
        """Chooses the readers, if what was said so far shows the protocol."""
        if self._declared:
            self._start(self._declared, self._declared_client, not self._whole, "")
            return
        if not self._whole:
            if self._is_record(data):
                self._start("rpc", direction, True, self._program(data))
            else:
                order, number = first_message(data)
                if order:
                    self._start("sup", direction if number in CLIENT_TYPES else 1 - direction, True, "sup")
            return
        said = b"".join(piece for side, piece, _, _ in self._waiting if side == direction)
        if said[:4] in PROBES:
            if len(said) >= 8 and begins(said[4:]) == PROBES[said[:4]]:
                self._start("sup", direction, False, "sup")
        elif self._is_record(said):
            self._start("rpc", direction, False, self._program(said))

    def _start(self, protocol: str, client: int, searching: bool, name: str) -> None:
        opening = self._opening
        caller: _Side = (opening.source, opening.source_port)
        server: _Side = (opening.destination, opening.destination_port)
        if client:
            caller, server = server, caller
        dissector = self._dissector
        conversation = dissector.conversation(
            name or protocol, "tcp", caller, server, opening.time, opening.comment
        )
        if protocol == "rpc":
            follower = RpcFollower(conversation, self._emit, dissector.numbered, dissector.remembered)
            readers: list[Reader] = [
                RecordReader(follower, conversation, side, self._emit, dissector.numbered, searching)
                for side in (True, False)
            ]
        else:
            session = Session()
            readers = [
                SupReader(
                    conversation, session, side, self._emit, dissector.numbered, self._opener, searching
                )
                for side in (True, False)
            ]
        if client:
            readers.reverse()
        self._readers = (readers[0], readers[1])
        for direction, data, time, frame in self._waiting:
            readers[direction].data(data, time, frame)
        self._waiting.clear()

    @staticmethod
    def _is_record(data: bytes) -> bool:
        """Whether a stream begins with a call in record fragments, however short they are."""
        return is_call(_unmarked(data))

    @staticmethod
    def _program(data: bytes) -> str:
        program = PROGRAM_NUMBERS.get(int.from_bytes(_unmarked(data)[12:16], "big"))
        return program.name if program is not None else ""


def _unmarked(data: bytes) -> bytes:
    """The first 16 bytes of a record, of which *data* holds the first fragments."""
    record, position = b"", 0
    while position + 4 <= len(data) and len(record) < 16:
        word = int.from_bytes(data[position : position + 4], "big")
        size = word & ~rpc.LAST_FRAGMENT
        if size > 64 << 20:
            return b""
        record += data[position + 4 : position + 4 + min(size, 16)]
        if word & rpc.LAST_FRAGMENT and size < 16:
            return b""
        position += 4 + size
    return record


def dissect(
    file: BinaryIO, decode_as: Mapping[int, str] | None = None, opener: OpenFile | None = None
) -> Iterator[Message]:
    """The messages of a capture file, in the order in which they were complete.

    Raises CaptureError when the file is not a capture.
    """
    return Dissector(decode_as, opener).messages(read_packets(file))
