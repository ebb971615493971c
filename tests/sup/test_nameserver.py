"""The name server of protocol 4 and 5 (SUP 2.19)."""

import os
from typing import Any

import pytest
import pytest_twisted

from sup.channel import ConnectionClosed, IdleTimeout, UnexpectedMessage
from sup.nameserver import answer
from tests.sup.scripted import ScriptedChannel
from wire.formats.sup import Goaway, NameSignon, NameSignonAck, Ncoll, Nhost

HOSTS = {b"demo": ("one.example", "two.example"), b"other": ("one.example",)}
ACK = NameSignonAck(8, 1, b"4.3 BSD", os.getpid())


async def ask(*script: Any) -> list[Any]:
    channel = ScriptedChannel(*script)
    await answer(channel, HOSTS)
    return channel.sent


@pytest_twisted.ensureDeferred
async def test_version_5() -> None:
    questions = [Ncoll(b"demo"), Ncoll(b"other"), Ncoll(b"unknown"), Goaway(None)]
    assert await ask(NameSignon(5, 1, b"x"), *questions) == [
        ACK,
        Nhost(hosts=(b"one.example", b"two.example")),
        Nhost(hosts=(b"one.example",)),
        Nhost(hosts=()),
    ]


@pytest_twisted.ensureDeferred
async def test_version_4_is_told_one_host() -> None:
    questions = [Ncoll(b"demo"), Ncoll(b"unknown"), Goaway(None)]
    sent = await ask(NameSignon(4, 1, b"x"), *questions)
    assert sent == [ACK, Nhost(host=b"one.example"), Nhost(host=b"")]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("event", [ConnectionClosed("gone"), IdleTimeout(30.0)])
async def test_clients_that_go_without_a_word(event: Exception) -> None:
    assert await ask(NameSignon(5, 1, b"x"), event) == [ACK]


@pytest_twisted.ensureDeferred
async def test_anything_else_is_told() -> None:
    sent = await ask(NameSignon(5, 1, b"x"), UnexpectedMessage("SETUP came"))
    assert sent == [ACK, Goaway(b"Error reading name request from client")]
