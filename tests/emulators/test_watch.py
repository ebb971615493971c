"""From a transport's taps to messages: both sides of a conversation, once, with secrets blanked, in bounded memory."""

from typing import Any

import attrs

from emulators import watch
from emulators.watch import Watcher, elsewhere
from tests.emulators.messages import CLIENT, SERVER, call, event, reply, sup_session
from wire.capture.messages import Message, RpcMessage
from wire.formats import rpc
from wire.formats.netinfo import NiId, NiStatus, Result
from wire.transport.tap import Address


def heard(*events: Any, sup: bool = False) -> list[Message]:
    watcher = Watcher()
    messages: list[Message] = []
    watcher.listeners.append(messages.append)
    for each in events:
        (watcher.sup if sup else watcher.rpc)(each)
    return messages


def test_a_call_and_its_reply_over_udp() -> None:
    asked, answered = heard(
        event("datagram", call(b"ROOT"), udp=True),
        event("datagram", reply(b"ROOT", Result(NiStatus.NI_OK, NiId(0, 3))), udp=True, outgoing=True),
    )
    assert (asked.kind, asked.name, asked.from_client, asked.number) == ("call", "ROOT", True, 1)
    assert (answered.kind, answered.status, answered.from_client, answered.number) == (
        "reply",
        "NI_OK",
        False,
        2,
    )
    assert answered.latency is not None
    assert answered.conversation is asked.conversation
    assert asked.conversation.service == "netinfod network"
    assert asked.conversation.client == (CLIENT.host, CLIENT.port)


def test_a_tcp_stream_in_any_pieces() -> None:
    stream = call(b"ROOT", marked=True) + call(b"PING", xid=2, marked=True)
    messages = heard(
        event("open"), *(event("data", stream[at : at + 1]) for at in range(len(stream))), event("close")
    )
    assert [message.name for message in messages] == ["ROOT", "PING"]


def test_a_connection_that_begins_without_being_told() -> None:
    (message,) = heard(event("data", call(b"ROOT", marked=True)))
    assert message.name == "ROOT"


def test_a_port_pair_used_again_is_a_new_conversation() -> None:
    first, second = heard(
        event("open"), event("data", call(b"ROOT", marked=True)[:-2]), event("close"),
        event("open"), event("data", call(b"ROOT", marked=True) * 2),
    )  # fmt: skip
    assert first.conversation is second.conversation
    assert first.conversation.number == 2


def test_both_ends_in_one_process_are_heard_once() -> None:
    """The client's tap hears first; the server's would tell the same again."""
    data = call(b"ROOT", marked=True)
    mine = attrs.evolve(event("open"), local=CLIENT, remote=SERVER, outgoing=True, service="client")
    messages = heard(
        mine, event("open"), attrs.evolve(mine, kind="data", data=data), event("data", data), event("close"),
        attrs.evolve(mine, kind="close"),
    )  # fmt: skip
    assert len(messages) == 1
    assert messages[0].from_client


def test_a_whole_sup_session() -> None:
    messages = heard(*sup_session(), sup=True)
    assert [message.name for message in messages][:4] == ["PROBE", "SIGNON", "SIGNONACK", "SETUP"]
    assert {message.protocol for message in messages} == {"sup"}


def test_passwords_are_blanked() -> None:
    secret = b"\x8f\x9a\x91\x9c\x96\x93"  # "pencil", inverted
    credential = rpc.Auth(rpc.AuthFlavor.AUTH_SYS, rpc.AuthUnix(0, secret, 101, 20, ()))
    (message,) = heard(event("data", call(b"ROOT", credential=credential, marked=True)))
    assert isinstance(message, RpcMessage)
    assert secret not in message.raw
    assert secret not in message.record


def test_old_conversations_are_forgotten() -> None:
    watcher = Watcher()
    for port in range(watch.CONVERSATIONS + 10):
        watcher.rpc(
            attrs.evolve(event("datagram", call(b"PING"), udp=True), remote=Address("10.0.0.1", port))
        )
    assert len(watcher._followed) == watch.CONVERSATIONS


def test_bytes_that_are_nothing_are_messages_too() -> None:
    (message,) = heard(event("datagram", b"\xff" * 20, udp=True))
    assert message.kind == "damaged"


def test_elsewhere_lets_only_strangers_pass() -> None:
    passed: list[Any] = []
    tap = elsewhere(passed.append, lambda address: address == SERVER)
    tap(attrs.evolve(event("data", b"x"), remote=SERVER))
    stranger = attrs.evolve(event("data", b"x"), remote=Address("10.0.0.9", 111))
    tap(stranger)
    assert passed == [stranger]
