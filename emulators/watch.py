"""What servers in this process say and hear, as messages: between a transport's tap and whoever wants to see it live.

`Watcher` puts the bytes that a tap tells together to the same `Message` values that a capture gives, with secrets
blanked, and passes each on as soon as it is whole. It remembers a bounded number of conversations.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import attrs

from wire.capture.messages import Conversation, Message
from wire.capture.redact import redacted
from wire.capture.rpc import RecordReader, Remembered, RpcFollower
from wire.capture.sup import Session, SupReader
from wire.transport.tap import Address, Tap, TapEvent

CONVERSATIONS = 2048
"""Conversations that are followed at once; past it the one that was silent longest is forgotten."""

Listener = Callable[[Message], None]


@attrs.frozen
class _Followed:
    """A conversation and its readers: the client's bytes, the server's bytes."""

    owner: Address
    conversation: Conversation
    client: Callable[[bytes, float, int], None]
    server: Callable[[bytes, float, int], None]


class Watcher:
    """Hand `rpc` to ONC RPC servers and clients as a tap, `sup` to SUP's; `listeners` hear of each message."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._followed: OrderedDict[tuple[str, frozenset[Address]], _Followed] = OrderedDict()
        self._remembered: Remembered = deque()
        self._conversations = 0
        self._messages = 0
        self._events = 0

    def rpc(self, event: TapEvent) -> None:
        """A tap for ONC RPC."""
        self._event(event, self._follow_rpc)

    def sup(self, event: TapEvent) -> None:
        """A tap for SUP."""
        self._event(event, self._follow_sup)

    def _event(self, event: TapEvent, follow: Callable[[Conversation, Address], _Followed]) -> None:
        self._events += 1
        key = (event.transport, frozenset((event.local, event.remote)))
        followed = self._followed.get(key)
        if event.kind == "close":
            if followed is not None and followed.owner == event.local:
                del self._followed[key]
            return
        if event.kind == "open" or followed is None:
            if followed is not None and followed.owner != event.local:
                return  # both ends are in this process: one of them is enough
            followed = self._followed[key] = follow(self._conversation(event), event.local)
            if len(self._followed) > CONVERSATIONS:
                self._followed.popitem(last=False)
        if followed.owner != event.local or not event.data:
            return
        self._followed.move_to_end(key)
        local_is_client = followed.conversation.client == (event.local.host, event.local.port)
        read = followed.client if event.outgoing is local_is_client else followed.server
        read(event.data, event.time, self._events)

    def _conversation(self, event: TapEvent) -> Conversation:
        """Who acts first is the client: it connects, or sends the first datagram."""
        client, server = (event.local, event.remote) if event.outgoing else (event.remote, event.local)
        self._conversations += 1
        return Conversation(
            self._conversations, event.transport, (client.host, client.port), (server.host, server.port),
            event.time, event.service,
        )  # fmt: skip

    def _follow_rpc(self, conversation: Conversation, owner: Address) -> _Followed:
        follower = RpcFollower(conversation, self._tell, self._number, self._remembered)
        if conversation.transport == "udp":
            return _Followed(
                owner, conversation,
                lambda data, time, frame: follower.record(data, data, (), True, time, frame),
                lambda data, time, frame: follower.record(data, data, (), False, time, frame),
            )  # fmt: skip
        client, server = (
            RecordReader(follower, conversation, side, self._tell, self._number, False)
            for side in (True, False)
        )
        return _Followed(owner, conversation, client.data, server.data)

    def _follow_sup(self, conversation: Conversation, owner: Address) -> _Followed:
        conversation.protocol = "sup"
        session = Session()
        client, server = (
            SupReader(conversation, session, side, self._tell, self._number, None, False)
            for side in (True, False)
        )
        return _Followed(owner, conversation, client.data, server.data)

    def _number(self) -> int:
        self._messages += 1
        return self._messages

    def _tell(self, message: Message) -> None:
        if not message.conversation.protocol:
            message.conversation.protocol = message.protocol
        clean = redacted(message)
        for listener in self.listeners:
            listener(clean)


def elsewhere(tap: Tap, own: Callable[[Address], bool]) -> Tap:
    """*tap* for this process's clients, without what they say to servers in this process, who are heard already.

    own: whether an address is one of those servers'.
    """

    def outward(event: TapEvent) -> None:
        if not own(event.remote):
            tap(event)

    return outward
