import socket
import time

import pytest
from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs

from wire.transport.tap import Address, TapEvent, Tapped

HERE, THERE = Address("127.0.0.1", 871), Address("127.0.0.2", 40000)


def test_an_address_is_written_as_usual() -> None:
    assert str(HERE) == "127.0.0.1:871"
    assert str(Address("::1", 871)) == "[::1]:871"
    assert sorted([THERE, HERE]) == [HERE, THERE]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (IPv4Address("TCP", "10.0.0.1", 5), Address("10.0.0.1", 5)),
        (("10.0.0.1", 5), Address("10.0.0.1", 5)),
        (("::1", 5, 0, 0), Address("::1", 5)),
        (("::ffff:10.0.0.1", 5, 0, 0), Address("10.0.0.1", 5)),
    ],
)
def test_addresses_of_twisted_and_of_sockets(given: object, expected: Address) -> None:
    assert Address.of(given) == expected


def test_an_address_of_a_real_socket() -> None:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        assert Address.of(opened.getsockname()) == Address("127.0.0.1", opened.getsockname()[1])


def test_taps_hear_who_when_where_and_what() -> None:
    heard: list[TapEvent] = []
    before = time.time()
    tapped = Tapped([heard.append], "tcp", HERE, "netinfod network")
    assert tapped
    tapped.tell("data", THERE, True, b"abc")
    (event,) = heard
    assert before <= event.time <= time.time()
    assert event == TapEvent("data", "tcp", HERE, THERE, True, b"abc", event.time, "netinfod network")


def test_nobody_listening_is_false_and_costs_nothing() -> None:
    tapped = Tapped([], "udp", HERE, "x")
    assert not tapped
    tapped.tell("datagram", THERE, False, b"abc")


def test_a_recorder_that_fails_is_reported_once_and_disturbs_nobody() -> None:
    heard: list[TapEvent] = []

    def broken(event: TapEvent) -> None:
        raise OSError("disk full")

    tapped = Tapped([broken, heard.append], "tcp", HERE, "x")
    with capturedLogs() as logs:
        tapped.tell("open", THERE, False)
        tapped.tell("data", THERE, False, b"abc")
    assert [event.kind for event in heard] == ["open", "data"]
    assert len(logs) == 1
