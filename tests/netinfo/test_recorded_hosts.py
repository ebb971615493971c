"""The recorded binding of two NeXT hosts, and the recorded life of a NeXT clone, with ours in the originals'
places.

Every call that the recorded peer made to the host of domain `network` is sent again, byte for byte, to our
portmapper, our binder and our domain server in the same state; what they answer must satisfy it: the same
bytes, but for the ports, which are ours.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from netinfo.access import HISTORIC, Access, Caller
from netinfo.client.network import Answer
from netinfo.domain import Domain, Surroundings
from netinfo.generation import NEXT
from netinfo.host import Host
from netinfo.parent import ParentFinder
from netinfo.rawformat import load, plant
from netinfo.replicate import Clone, Master
from netinfo.replication import received
from netinfo.server import DomainServer
from netinfo.tree import Tree
from tests.netinfo import served
from tests.netinfo.calls import FakeNetwork
from wire.capture.conversations import dissect
from wire.capture.messages import RpcMessage
from wire.codec import codec
from wire.formats.netinfo import NETINFO, Binding, CreateNameArgs, NiId, NiStatus, ReadallBody, Result
from wire.formats.nibind import NIBIND, AddrInfo, Registration
from wire.formats.portmap import PORTMAP, CallitResult
from wire.formats.rpc import Call, Program
from wire.transport.record import RecordReader, mark
from wire.transport.tap import Address

RECORDED = Path(__file__).parents[1] / "captures" / "netinfo"
PARENT, CHILD = "10.77.0.1", "10.77.0.2"


@attrs.frozen
class Exchange:
    """A recorded call and its reply, whole."""

    program: Program
    name: str
    transport: str
    client: str
    server: str
    argument: Any
    result: Any
    call: bytes
    reply: bytes


@cache
def recorded(name: str) -> tuple[Exchange, ...]:
    return tuple(exchanges(name))


def exchanges(name: str) -> Iterator[Exchange]:
    calls: dict[int, RpcMessage] = {}
    with (RECORDED / f"{name}.pcap").open("rb") as file:
        for message in dissect(file):
            if not isinstance(message, RpcMessage) or message.header is None or message.procedure is None:
                continue
            if isinstance(message.header.body, Call):
                calls[message.number] = message
                continue
            assert message.call is not None
            call = calls[message.call.number]
            talk = message.conversation
            assert message.program is not None
            yield Exchange(
                message.program,
                message.procedure.name,
                talk.transport,
                talk.client[0],
                talk.server[0],
                call.body,
                message.body,
                call.record,
                message.record,
            )


def whole_domain() -> ReadallBody:
    """Domain `network` as its master sent it to the clone."""
    (body,) = [each.result.body for each in recorded("next-clone") if each.name == "READALL"]
    assert isinstance(body, ReadallBody)
    return body


def recorded_tree() -> Tree:
    domain = Domain(b"network", Tree(NEXT))
    domain.replace(received(whole_domain(), NEXT))
    return domain.tree


def exchange(address: Address, transport: str, call: bytes) -> bytes:
    """Send recorded bytes to one of our servers; its reply."""
    if transport == "udp":
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(10)
            datagrams.sendto(call, (address.host, address.port))
            return datagrams.recv(65536)
    with socket.create_connection((address.host, address.port), timeout=10) as stream:
        stream.sendall(mark(len(call)) + call)
        reader = RecordReader(1 << 20)
        while True:
            data = stream.recv(65536)
            assert data, "the server closed the connection"
            reader.feed(data)
            for record in reader:
                return record


async def ours(host: Host) -> DomainServer:
    """Our host in the place of 10.77.0.1."""
    server = DomainServer(host.reactor, b"network", recorded_tree(), host.settings, None, host.network)
    await server.start(0)
    host.servers[b"network"] = server
    host.registry.add(Registration(b"network", server.ports))
    return server


def test_the_recordings_hold_what_is_replayed() -> None:
    def count(name: str, *calls: str) -> int:
        return sum(each.name in calls and each.server == PARENT for each in recorded(name))

    assert count("next-binding", "CALLIT") == 1
    assert count("next-binding", "GETPORT") == 6
    assert count("next-binding", "ROOT", "LOOKUP", "LIST", "LISTPROPS", "READPROP", "RPARENT", "READ") > 25
    assert count("next-clone", "READALL", "GETREGISTER") == 2
    assert recorded_tree().checksum == 33


@pytest.mark.parametrize("name", ["next-binding", "next-clone"])
@pytest_twisted.ensureDeferred
async def test_the_recorded_peer_is_satisfied(name: str) -> None:
    async with served.host(generation=NEXT, guards=HISTORIC, address_for_others=PARENT) as host:
        server = await ours(host)
        assert host.portmapper_address is not None
        assert host.binder_address is not None
        assert server.address is not None
        places = {PORTMAP: host.portmapper_address, NIBIND: host.binder_address, NETINFO: server.address}
        replayed = 0
        for each in recorded(name):
            if each.server != PARENT or each.client == PARENT:
                continue
            replayed += 1
            reply: bytes = await deferToThread(exchange, places[each.program], each.transport, each.call)
            assert comparable(each, reply) == comparable(each, each.reply), f"{each.name} {each.argument}"
        assert replayed == {"next-binding": 43, "next-clone": 3}[name]


PORT = 1
"""Stands for any port."""


def comparable(each: Exchange, reply: bytes) -> Any:
    """A reply without the ports in it, which are the server's own."""
    if each.program is NETINFO:
        return reply
    if each.name == "GETPORT":
        return reply[:-4], bool(int.from_bytes(reply[-4:], "big"))
    value, _ = codec(each.program.by_name[each.name].result).parse(reply, 24)
    if isinstance(value, CallitResult):
        return reply[:24], CallitResult(PORT, value.results)
    assert isinstance(value, Result)
    assert isinstance(value.body, AddrInfo)
    return reply[:24], Result(value.status, AddrInfo(PORT, PORT))


# --- our child and our master against the recorded peer ---------------------------------------------------


LOCAL = b"""{ CHILDREN = ( { "name" = ( "machines" ); CHILDREN = (
    { "name" = ( "hosta" ); "ip_address" = ( "10.77.0.1" ); "serves" = ( "../network" ); } ) } ) }"""


def test_our_child_asks_as_next_s_did() -> None:
    (callit,) = [each for each in recorded("next-binding") if each.name == "CALLIT"]

    def answer(address: Address, program: Any, procedure: Any, argument: Any) -> Any:
        raise AssertionError("nothing else is asked")

    network = FakeNetwork(answer)
    network.multicall_answer = lambda targets: Answer(0, PARENT, callit.result)
    child = Domain(b"local", plant(load(LOCAL), NEXT), access=Access(NEXT, HISTORIC))
    finder = ParentFinder(Clock(), network, child, CHILD, 111, tuple)
    finder._start()
    ((targets, _),) = network.multicalls
    assert [(target.host, target.port, target.argument) for target in targets] == [
        (PARENT, 111, callit.argument)
    ]
    assert child.surroundings.parent == Binding(b"network", 0x0A4D0001)


class RecordedHost:
    """Answers as the recorded host did: each call with a reply that it gave to such a call."""

    def __init__(self, name: str, server: str) -> None:
        self.known = [each for each in recorded(name) if each.server == server]
        self.heard: list[str] = []

    def __call__(self, address: Address, program: Program, procedure: Any, argument: Any) -> Any:
        self.heard.append(procedure.name)
        if procedure.name == "CRASHED":
            return (
                None  # a void answer, whatever is sent (NETINFO 5.2); the recording has lost those segments
            )
        for each in self.known:
            if each.program is program and each.name == procedure.name:
                if procedure.name == "GETREGISTER":
                    assert argument == each.argument
                return each.result
        raise AssertionError(f"the recorded host was never asked {procedure.name}")


def test_our_clone_takes_what_next_s_master_sent() -> None:
    clock, host = Clock(), RecordedHost("next-clone", PARENT)
    beginning = plant(
        load(
            b"""{ "master" = ( "hosta/network" ); CHILDREN = ( { "name" = ( "machines" ); CHILDREN = (
            { "name" = ( "hosta" ); "ip_address" = ( "10.77.0.1" ); "serves" = ( "./network" ); } ) } ) }"""
        ),
        NEXT,
    )
    domain = Domain(
        b"network",
        beginning,
        access=Access(NEXT, HISTORIC),
        clone=True,
        surroundings=Surroundings(addresses=(CHILD, "127.0.0.1")),
    )
    clone = Clone(clock, FakeNetwork(host), domain, 111, None, aside=maybeDeferred)
    clone.start()
    assert host.heard == ["GETPORT", "GETREGISTER", "READALL"]
    assert domain.tree.checksum == 33
    assert domain.tree.highest_id == whole_domain().highest_id
    clone.stop()


def test_our_master_tells_next_s_clone() -> None:
    """The recorded clone knows RESYNC; GETPORT and GETREGISTER lead to it, and CRASHED brings a clone that is
    met first in step."""
    clock, host = Clock(), RecordedHost("next-clone", CHILD)
    domain = Domain(
        b"network",
        recorded_tree(),
        access=Access(NEXT, HISTORIC),
        surroundings=Surroundings(addresses=(PARENT, "127.0.0.1")),
    )
    master = Master(clock, FakeNetwork(host), domain, 111)
    serves = CreateNameArgs(NiId(3, 1), 2, b"./network", 0)
    superuser = Caller("127.0.0.1", own=True, superuser=True)
    assert domain.call(NETINFO.by_name["CREATENAME"].number, serves, superuser).status == NiStatus.NI_OK
    assert domain.tree.checksum == 37, "as the recorded clone tells in its STATISTICS"
    master.resync_clones(trusted=True)
    clock.advance(0)
    assert host.heard == ["GETPORT", "GETREGISTER", "CRASHED", "RESYNC"]
    master.stop()
