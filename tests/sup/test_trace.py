"""`sup -N`: what is told of messages, and what never is."""

from typing import Any

import pytest

from sup.trace import TracingChannel
from tests.sup.installing import changed, file, finished
from tests.sup.scripted_server import ScriptedServer
from wire.formats.sup import Deny, Login, Recv, Send, SetupAck, SetupCode, Signon, SupParams


def traced(level: int, *script: Any) -> tuple[TracingChannel, ScriptedServer, list[str]]:
    channel, told = ScriptedServer(script), list[str]()
    return TracingChannel(channel, level, told.append), channel, told


@pytest.mark.parametrize("level", [1, 2])
def test_messages(level: int) -> None:
    channel, below, told = traced(level, SetupAck(SetupCode.OK))
    channel.send_probe()
    channel.send(Send(), Signon(8, 26, b"4.3 BSD"))
    assert finished(channel.receive(SetupAck)) == SetupAck(SetupCode.OK)
    assert told == ["SCM Writing message 113", "SCM Writing message 101", "SCM Reading message 104"]
    assert below.sent == ["probe", Send(), Signon(8, 26, b"4.3 BSD")]


def test_values() -> None:
    channel, _, told = traced(3, Deny((b"data/a", b"", b"\x1b[2J")))
    channel.send(Signon(8, 26, b"4.3 BSD"))
    finished(channel.receive(Deny))
    assert told == [
        "SCM Writing message 101",
        "SCM Writing integer 8",
        "SCM Writing integer 26",
        "SCM Writing string 4.3 BSD",
        "SCM Reading message 112",
        "SCM Reading string data/a",
        "SCM Reading string ",
        "SCM Reading string \\x1b[2J",
        "SCM Reading string NULL",
    ]


def test_lengths_of_what_comes_in() -> None:
    channel, _, told = traced(4, Deny((b"data/a",)))
    channel.send(Deny((b"b",)))
    finished(channel.receive(Deny))
    assert told == [
        "SCM Writing message 112",
        "SCM Writing string b",
        "SCM Writing string NULL",
        "SCM Reading message 112",
        "SCM Reading string count 6",
        "SCM Reading string data/a",
        "SCM Reading string NULL",
    ]


def test_files() -> None:
    recv = changed(file(b"a"), size=5)
    channel, _, told = traced(3, recv, [b"he", b"llo"])
    assert finished(channel.receive(Recv)) == recv
    data: list[bytes] = []
    finished(channel.receive_file(5, data.append))
    assert data == [b"he", b"llo"]
    assert told[0] == "SCM Reading message 114"
    assert told[-1] == "SCM Reading file of 5 bytes"
    assert not any("hello" in line for line in told)


def test_passwords_are_not_shown() -> None:
    channel, below, told = traced(4)
    login = Login(b"Hello there, Sailor Boy!", b"joe", b"secret")
    channel.send(login, Login(None, None, None))
    assert below.sent[0] == login
    assert told == [
        "SCM Writing message 105",
        *["SCM Writing string (not shown)"] * 3,
        "SCM Writing message 105",
        *["SCM Writing string NULL"] * 3,
    ]


def test_all_else_is_passed_on() -> None:
    channel, below, _ = traced(2)
    channel.params = SupParams(version=6)
    channel.idle_timeout = 7.0
    assert (
        (below.params, below.idle_timeout)
        == (channel.params, channel.idle_timeout)
        == (SupParams(version=6), 7.0)
    )
    assert (channel.peer, channel.local) == (below.peer, below.local)
    finished(channel.drain())
    finished(channel.finish())
    channel.abort()
    assert below.finished
    assert below.aborted
    with pytest.raises(AssertionError, match="no probe"):
        finished(channel.receive_probe())
    with pytest.raises(AssertionError, match="no files"):
        finished(channel.send_file(file(b"a"), [b""]))
