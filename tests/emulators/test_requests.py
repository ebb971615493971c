"""One line for each call: who, what, what came of it; and what has no reply is told, too."""

import tracemalloc

import attrs

from emulators import requests
from emulators.requests import LINE, UNANSWERED, RequestLog
from emulators.watch import Watcher
from tests.emulators.messages import call, event, reply, sup_session
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Result


def log() -> tuple[Watcher, RequestLog, list[str]]:
    lines: list[str] = []
    watcher, written = Watcher(), RequestLog(lines.append)
    watcher.listeners.append(written)
    return watcher, written, lines


LOOKUP = call(b"LOOKUP", LookupArgs(NiId(5, 0), b"name", b"ann"))


def test_a_call_and_its_reply_are_one_line() -> None:
    watcher, _, lines = log()
    watcher.rpc(event("datagram", LOOKUP, udp=True))
    assert lines == []
    found = reply(b"LOOKUP", Result(NiStatus.NI_OK, LookupBody((7,), NiId(5, 4))))
    watcher.rpc(event("datagram", found, udp=True, outgoing=True, time=1e9 + 0.0015))
    (line,) = lines
    assert line.startswith("netinfod network  127.0.0.1:40000 udp  LOOKUP id=5.0 key=name value=ann → NI_OK")
    assert line.endswith("(1.500 ms)")


def test_a_failure_shows_its_status() -> None:
    watcher, _, lines = log()
    watcher.rpc(event("datagram", LOOKUP, udp=True))
    watcher.rpc(event("datagram", reply(b"LOOKUP", Result(NiStatus.NI_NODIR, None)), udp=True, outgoing=True))
    assert "→ NI_NODIR (" in lines[0]


def test_what_is_not_answered_is_told_after_a_while() -> None:
    watcher, written, lines = log()
    watcher.rpc(event("datagram", LOOKUP, udp=True))
    written.sweep(1e9 + UNANSWERED - 1)
    assert lines == []
    written.sweep(1e9 + UNANSWERED + 1)
    written.sweep(1e9 + UNANSWERED + 2)
    assert len(lines) == 1
    assert lines[0].endswith("→ no reply")


def test_a_late_reply_has_a_line_of_its_own() -> None:
    watcher, written, lines = log()
    watcher.rpc(event("datagram", call(b"PING"), udp=True))
    written.sweep(1e9 + 100)
    watcher.rpc(event("datagram", reply(b"PING"), udp=True, outgoing=True))
    assert "PING → SUCCESS" in lines[1]


def test_a_call_sent_again_is_answered_twice() -> None:
    watcher, _, lines = log()
    for outgoing, data in ((False, LOOKUP), (False, LOOKUP), *2 * ((True, reply(b"PING")),)):
        watcher.rpc(event("datagram", data, udp=True, outgoing=outgoing))
    assert len(lines) == 2


def test_a_line_is_never_very_long() -> None:
    watcher, _, lines = log()
    watcher.rpc(
        event("datagram", call(b"LOOKUP", LookupArgs(NiId(5, 0), b"k" * 5000, b"v" * 5000)), udp=True)
    )
    watcher.rpc(event("datagram", reply(b"LOOKUP", Result(NiStatus.NI_NODIR, None)), udp=True, outgoing=True))
    assert len(lines[0]) < 2 * LINE


def test_nothing_a_peer_sends_reaches_the_terminal_unescaped() -> None:
    watcher, _, lines = log()
    watcher.rpc(event("datagram", call(b"LOOKUP", LookupArgs(NiId(5, 0), b"\x1b[2J", b"\r\nroot")), udp=True))
    watcher.rpc(event("datagram", reply(b"LOOKUP", Result(NiStatus.NI_NODIR, None)), udp=True, outgoing=True))
    assert lines[0].isprintable()


def test_waiting_calls_are_bounded(monkeypatch: object) -> None:
    watcher, written, lines = log()
    for xid in range(requests.WAITING + 5):
        watcher.rpc(event("datagram", call(b"PING", xid=xid), udp=True))
    assert len(lines) == 5
    assert len(written._waiting) == requests.WAITING


def test_long_calls_that_are_never_answered_are_not_held() -> None:
    watcher, written, _ = log()
    long = call(b"LOOKUP", LookupArgs(NiId(5, 0), b"k" * 60_000, b"v"))
    tracemalloc.start()
    for xid in range(200):
        watcher.rpc(event("datagram", xid.to_bytes(4, "big") + long[4:], udp=True))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(written._waiting) == 200
    assert held < 20 * len(long)


def test_bytes_that_are_no_call() -> None:
    watcher, _, lines = log()
    watcher.rpc(event("datagram", b"\xff" * 30, udp=True))
    assert "no call" in lines[0]


def test_sup_is_left_to_its_own_server() -> None:
    watcher, _, lines = log()
    for each in sup_session():
        watcher.sup(attrs.evolve(each, service="supfilesrv"))
    assert lines == []
