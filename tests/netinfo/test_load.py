"""A thousand connections at once, with readers and writers: no reply lost, doubled or out of order, memory
flat."""

from __future__ import annotations

import random
import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from netinfo.client.blocking import BlockingNetwork
from netinfo.client.network import run
from tests.netinfo import served
from wire.formats.netinfo import (
    NETINFO,
    NI_INDEX_NULL,
    CreateArgs,
    ListArgs,
    LookupArgs,
    NiId,
    NiStatus,
    Property,
    Result,
)
from wire.formats.rpc import AUTH_NONE, Procedure
from wire.transport.record import RecordReader, mark
from wire.transport.rpc_message import build_call, read_reply

CONNECTIONS = 1000
ADDRESSES = 8
"""Loopback addresses that they come from: the server allows 256 for each."""
OUTSTANDING = 4


@attrs.define
class Shared:
    """What all connections know together: the root's latest instance, and how often they changed it."""

    instance: int
    changed: int = 0


@attrs.define(eq=False)
class Caller:
    """One connection: sends calls of its own, and expects their replies in order."""

    sock: socket.socket
    shared: Shared
    random: random.Random
    reader: RecordReader = attrs.Factory(lambda: RecordReader(1 << 24))
    expected: deque[tuple[bytes, Procedure]] = attrs.Factory(deque)
    to_send: bytes = b""
    calls: int = 0
    answered: int = 0

    def fill(self, budget: int) -> None:
        """Make calls until enough are outstanding, or the budget is spent."""
        while len(self.expected) < OUTSTANDING and self.calls < budget:
            name, argument = self.choice()
            procedure = NETINFO.by_name[name]
            call = build_call(self.random.getrandbits(32), NETINFO, procedure, argument)
            self.expected.append((call[:4], procedure))
            self.to_send += mark(len(call)) + call
            self.calls += 1

    def choice(self) -> tuple[str, object]:
        what = self.random.random()
        if what < 0.02:  # somebody else may be faster: then it is stale
            latest = NiId(0, self.shared.instance)
            return "CREATE", CreateArgs(latest, (Property(b"name", (b"x",)),), NI_INDEX_NULL, None)
        if what < 0.5:
            return "LOOKUP", LookupArgs(NiId(1, 0), b"name", b"srv")
        if what < 0.7:
            return "READ", NiId(self.random.randrange(90), 0)
        if what < 0.8:
            return "LIST", ListArgs(NiId(0, 0), b"name")
        return ("STATISTICS" if what < 0.9 else "PING"), None

    def receive(self, data: bytes) -> None:
        self.reader.feed(data)
        for record in self.reader:
            assert self.expected, "a reply that nobody asked for"
            xid, procedure = self.expected.popleft()
            assert record[:4] == xid, "a reply lost, doubled or out of order"
            result = read_reply(procedure, record)
            self.answered += 1
            if procedure.name == "CREATE":
                assert result.status in (NiStatus.NI_OK, NiStatus.NI_STALE)
                if result.status == NiStatus.NI_OK:
                    self.shared.changed += 1
                    self.shared.instance = max(self.shared.instance, result.body.parent.instance)


def connect(place: tuple[str, int], shared: Shared) -> list[Caller]:
    callers = []
    for number in range(CONNECTIONS):
        sock = socket.socket()
        sock.bind((f"127.0.7.{1 + number % ADDRESSES}", 0))
        sock.connect(place)
        sock.setblocking(False)
        callers.append(Caller(sock, shared, random.Random(number)))
    return callers


def drive(callers: list[Caller], budget: int, seconds: float) -> None:
    """Let every connection make that many calls, in all."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        for caller in callers:
            caller.fill(budget)
            ready.register(caller.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, caller)
        left = len(callers)
        while left:
            assert time.monotonic() < deadline, f"{left} connections still wait for replies"
            for key, events in ready.select(timeout=1):
                caller = key.data
                if events & selectors.EVENT_READ:
                    data = caller.sock.recv(65536)
                    assert data, "the server closed a connection"
                    caller.receive(data)
                    caller.fill(budget)
                if caller.to_send and events & selectors.EVENT_WRITE:
                    caller.to_send = caller.to_send[caller.sock.send(caller.to_send) :]
                if caller.answered == budget:
                    ready.unregister(caller.sock)
                    left -= 1
                else:
                    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if caller.to_send else 0)
                    ready.modify(caller.sock, wanted, caller)


def memory(pid: int) -> int:
    """Resident memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.soak
def test_a_thousand_connections(tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    per_round = 10
    with served.process(tmp_path) as host:
        name, _, port = host.network.partition(":")
        begun = root_instance(name, int(port))
        shared = Shared(begun)
        callers = connect((name, int(port)), shared)
        try:
            drive(callers, per_round, 300)
            before = memory(host.pid)
            for turn in range(rounds(2, 30)):  # LISTs grow with what is created
                drive(callers, per_round * (turn + 2), 300)
            grown = memory(host.pid) - before
        finally:
            for caller in callers:
                caller.sock.close()
        assert all(caller.answered == caller.calls for caller in callers)
        assert shared.changed, "some writers were the first"
        # Each create that succeeded moved the root's instance by one, and nothing else did.
        assert root_instance(name, int(port)) == begun + shared.changed
        assert grown < 16 * 1024, f"{grown} KiB more"


def root_instance(host: str, port: int) -> int:
    link = run(BlockingNetwork().connect_tcp(host, port, NETINFO, 10.0))
    result: Result = run(link.call(NETINFO.by_name["ROOT"], None, AUTH_NONE, 10.0))
    link.close()
    return int(result.body.instance)
