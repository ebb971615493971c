"""The latest messages: found by number, in bounded memory."""

import pytest

from emulators.console import history
from emulators.console.history import History, Line
from emulators.watch import Watcher
from tests.emulators.messages import call, event, reply
from wire.formats.netinfo import LookupArgs, NiId, NiStatus, Result


def watched() -> tuple[Watcher, History]:
    watcher, kept = Watcher(), History()
    watcher.listeners.append(kept)
    return watcher, kept


def test_a_line_has_what_a_list_shows() -> None:
    watcher, kept = watched()
    lines: list[Line] = []
    kept.listeners.append(lines.append)
    watcher.rpc(event("datagram", call(b"LOOKUP", LookupArgs(NiId(5, 0), b"name", b"ann")), udp=True))
    watcher.rpc(event("datagram", reply(b"LOOKUP", Result(NiStatus.NI_NODIR, None)), udp=True, outgoing=True))
    asked, answered = lines
    assert (asked.number, asked.service, asked.name, asked.from_client) == (
        1,
        "netinfod network",
        "LOOKUP",
        True,
    )
    assert "value=ann" in asked.detail
    assert (answered.status, answered.failed, answered.from_client) == ("NI_NODIR", True, False)
    assert list(kept.after(0)) == lines
    assert list(kept.after(1)) == [answered]
    assert list(kept.after(2)) == []


def test_a_message_is_found_with_its_fields() -> None:
    watcher, kept = watched()
    watcher.rpc(event("datagram", call(b"ROOT"), udp=True))
    found = kept.find(1)
    assert found is not None
    line, message = found
    assert line.name == "ROOT"
    assert message is not None
    assert message["fields"]["fields"][0]["name"] == "xid"
    assert bytes.fromhex(message["hex"]) == call(b"ROOT")


@pytest.mark.parametrize("number", [-1, 0, 2, 10**9])
def test_numbers_that_are_not_there(number: int) -> None:
    watcher, kept = watched()
    assert kept.find(number) is None
    watcher.rpc(event("datagram", call(b"ROOT"), udp=True))
    assert kept.find(number) is None


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MESSAGES", 10)
    watcher, kept = watched()
    for xid in range(25):
        watcher.rpc(event("datagram", call(b"PING", xid=xid), udp=True))
    assert [line.number for line in kept.after(0)] == list(range(16, 26))
    assert kept.find(15) is None
    for number in range(16, 26):
        found = kept.find(number)
        assert found is not None
        assert found[0].number == number


def test_only_so_many_bytes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(call(b"PING"))
    monkeypatch.setattr(history, "MEMORY", 3 * size)
    watcher, kept = watched()
    for xid in range(9):
        watcher.rpc(event("datagram", call(b"PING", xid=xid), udp=True))
    assert [line.number for line in kept.after(0)] == [7, 8, 9]


def test_a_long_message_leaves_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "EXPLAINED", 20)
    watcher, kept = watched()
    watcher.rpc(event("datagram", call(b"PING"), udp=True))
    found = kept.find(1)
    assert found is not None
    assert found[1] is None
