"""A recorded conversation, had once more with a live server: what the client sent is sent, what comes back is
compared.

Answers are compared field by field. Numbers that no two runs share (transaction numbers, process ids, times)
are recognised by their fields and told apart from real differences.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import attrs

from wire.capture.conversations import Connection, Dissector
from wire.capture.explanation import explanation
from wire.capture.messages import Conversation, Message, RpcMessage, SupMessage
from wire.capture.reassembly import Opening
from wire.capture.rpc import RpcFollower
from wire.capture.text import plain, says_of
from wire.explain import Node
from wire.formats import sup
from wire.formats.record import View

PASSING = frozenset({"xid", "pid", "stamp"})
"""Names of fields whose numbers belong to one run."""
SHOWN = 12
"""Differences of one message that are listed."""


class ReplayError(Exception):
    """The live server could not be asked; the text says why."""


class NoAnswer(ReplayError):
    """The live server was silent for too long."""


@attrs.frozen
class Difference:
    """A field that the live server answered otherwise. `passing`: as it would in any other run."""

    path: str
    recorded: str
    live: str
    passing: bool


@attrs.frozen
class Step:
    """What came of one message of the recording: sent, or answered and compared."""

    recorded: Message
    live: Message | None = None
    differences: tuple[Difference, ...] = ()
    problem: str = ""
    """Why there is no answer to compare."""

    @property
    def same(self) -> bool:
        """Whether nothing differs that should not."""
        return not self.problem and all(difference.passing for difference in self.differences)


# ------------------------------------------------------------------------------------------------ differences


def differences(recorded: Node, live: Node, path: str = "", passing: bool = False) -> Iterator[Difference]:
    """The fields in which two trees of the same kind of message differ."""
    joint = "" if not path or recorded.name.startswith("[") else "."
    name = path + joint + recorded.name
    passing = passing or (
        recorded.field is not None and (recorded.name in PASSING or recorded.field.view is View.TIME)
    )
    mine, theirs = _parts(recorded), _parts(live)
    if not mine and not theirs:
        if recorded.value != live.value or (recorded.damage is None) != (live.damage is None):
            yield Difference(name, _says(recorded), _says(live), passing)
        return
    alike = 0
    for first, second in zip(mine, theirs, strict=False):
        if first.name != second.name:
            break
        alike += 1
        yield from differences(first, second, name, passing)
    if len(mine) != alike or len(theirs) != alike:
        yield Difference(name, _outline(mine[alike:]), _outline(theirs[alike:]), passing)


def _parts(node: Node) -> list[Node]:
    """The parts of a node that have values of their own; how a string is stored is no part of what it says."""
    parts = [part for part in node.children if not part.name.startswith("record mark")]
    return [part for part in parts if part.field is not None or part.children or part.name.startswith("[")]


def _says(node: Node) -> str:
    return says_of(node) or plain(str(node.value))


def _outline(parts: list[Node]) -> str:
    """What is there that the other side does not have."""
    if not parts:
        return "nothing"
    if parts[0].name.startswith("["):
        return f"{len(parts)} more, from {_says(parts[0])} on" if says_of(parts[0]) else f"{len(parts)} more"
    return " ".join(part.name for part in parts)


def compared(recorded: Message, live: Message) -> tuple[Difference, ...]:
    """The differences between a recorded answer and a live one."""
    if recorded.name != live.name or recorded.kind != live.kind:
        then, now = (f"{message.name} {message.status}".strip() for message in (recorded, live))
        return (Difference("message", then, now, passing=False),)
    first, second = _tree(recorded), _tree(live)
    if first is None or second is None:
        return ()
    return tuple(differences(first, second))


def _tree(message: Message) -> Node | None:
    if isinstance(message, RpcMessage):  # as one record: servers may cut it into fragments as they like
        message = attrs.evolve(message, raw=message.record, marks=())
    tree = explanation(message)
    if tree is not None:
        tree.name = ""
    return tree


# ------------------------------------------------------------------------------------------- the conversation


class Digests:
    """An opener that keeps a digest of each file's data, in the order in which the files end."""

    def __init__(self) -> None:
        self.found: deque[str] = deque()

    def __call__(self, conversation: Conversation, recv: sup.Recv) -> _Digest | None:
        return _Digest(self) if recv.size is not None else None


class _Digest:
    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._hash.update(data)

    def close(self, reason: str) -> None:
        self._digests.found.append(reason or self._hash.hexdigest())


class Live:
    """The live side: a connection (or UDP port) to the server, followed as a capture of it would be.

    *reserved*: from a port below 1024, as the recorded client (NetInfo takes such a caller for the
    superuser); where the system does not allow that, `privileged` is False. Raises ReplayError when the
    server cannot be reached.
    """

    def __init__(self, transport: str, host: str, port: int, timeout: float, reserved: bool = False) -> None:
        self._timeout = timeout
        self._answers: deque[Message] = deque()
        self.digests = Digests()
        self._udp = transport == "udp"
        self._frame = 0
        try:
            kind = socket.SOCK_DGRAM if self._udp else socket.SOCK_STREAM
            family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
            self._socket = socket.socket(family, kind)
            self._socket.settimeout(timeout)
            self.privileged = reserved and _bind_reserved(self._socket)
            self._socket.connect(address)
        except OSError as error:
            raise ReplayError(f"{host}:{port} cannot be reached: {error}") from error
        if not self._udp:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dissector = Dissector()
        opening = Opening(bytes(4), 0, bytes(4), 0, time.time(), 0, handshake=True)
        self._connection = Connection(dissector, opening, self._heard, self.digests)
        place = Conversation(1, transport, ("", 0), (host, port), time.time())
        self._follower = RpcFollower(place, self._heard, dissector.numbered)

    def _heard(self, message: Message) -> None:
        if not message.from_client:
            self._answers.append(message)

    def _feed(self, data: bytes, from_client: bool) -> None:
        self._frame += 1
        now = time.time()
        if self._udp:
            self._follower.record(data, data, (), from_client, now, self._frame)
        else:
            self._connection.data(0 if from_client else 1, data, now, self._frame)

    def send(self, data: bytes) -> None:
        """Sends what the client sent. Raises ReplayError."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ReplayError(f"the server takes nothing more: {error}") from error
        self._feed(data, from_client=True)

    def answer(self, xid: int | None) -> Message:
        """The next answer; of RPC the one with this *xid*. Raises ReplayError when none comes."""
        while True:
            for message in self._answers:
                if xid is None or getattr(message, "xid", None) == xid:
                    self._answers.remove(message)
                    return message
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                raise NoAnswer(f"no answer within {self._timeout:g} s") from None
            except OSError as error:
                raise ReplayError(f"no answer: {error}") from error
            if not data:
                raise ReplayError("no answer: the server has closed the connection")
            self._feed(data, from_client=False)

    def close(self) -> None:
        self._socket.close()


def _bind_reserved(opened: socket.socket) -> bool:
    """Binds to a free port below 1024; False if the system does not allow it."""
    for port in range(1023, 600, -1):
        try:
            opened.bind(("", port))
        except PermissionError:
            return False
        except OSError:
            continue
        return True
    return False


def replay(
    messages: Iterable[Message], files: Mapping[int, deque[str]], lives: Mapping[int, Live]
) -> Iterator[Step]:
    """Has conversations again with a live server, step by step in the recorded order.

    *lives* are the live sides, by the conversations' numbers; *files* the digests of the recorded files of
    each, in order. A conversation ends early when the server cannot be asked any further.
    """
    ended: set[int] = set()
    for message in messages:
        number = message.conversation.number
        live = lives[number]
        if message.kind == "notice":
            yield Step(message, problem="the recording is not whole here")
            continue
        if number in ended:
            yield Step(message, problem="" if message.from_client else "the conversation has ended before")
            continue
        try:
            if message.from_client:
                live.send(message.raw)
                yield Step(message)
                continue
            answer = live.answer(message.xid if isinstance(message, RpcMessage) else None)
        except ReplayError as error:
            if not isinstance(error, NoAnswer) or isinstance(message, SupMessage):
                ended.add(number)
            yield Step(message, problem=str(error))
            continue
        found = compared(message, answer)
        mine, theirs = _data(message, files.get(number)), _data(answer, live.digests.found)
        if mine != theirs and not message.notes and all(one.path != "data" for one in found):
            found = (*found, Difference("data", mine[:16], theirs[:16], passing=False))
        yield Step(message, answer, found)


def _data(message: Message, digests: deque[str] | None) -> str:
    """The digest of the file that *message* brings, taken out of those of its conversation; empty if it brings none."""
    brings = isinstance(message, SupMessage) and message.data_size is not None
    return digests.popleft() if brings and digests else ""
