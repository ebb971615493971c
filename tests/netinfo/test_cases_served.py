"""The differential test cases of NETINFO 9 that concern the wire, the binder and the client library: T02, T66 to
T68, T79 and T81 to T92, against a host that serves database B, by sockets of the tests' own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from netinfo.access import HISTORIC
from netinfo.client.domain import Domain
from netinfo.client.names import DirectServer
from netinfo.client.reactor import ReactorNetwork
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.host import Host
from netinfo.ports import ANY
from netinfo.rawformat import branch_of
from netinfo.server import DomainServer
from netinfo.settings import Settings
from netinfo.superuser import OwnAddresses
from tests.netinfo.base import Base, prop
from wire.codec import codec
from wire.formats.netinfo import NETINFO, Binding, CreateArgs, LookupArgs, NiId, NiStatus, Result
from wire.formats.nibind import NIBIND, AddrInfo, BindArgs, Registration
from wire.formats.portmap import PORTMAP, CallitArgs, CallitResult
from wire.formats.rpc import AcceptStatus, Procedure, Program
from wire.transport.errors import RpcAcceptError, RpcDenied, RpcError
from wire.transport.record import RecordReader, mark
from wire.transport.rpc_message import build_call, read_reply
from wire.transport.tap import Address

SRV, WS1, STRANGER = 0xC02AAC01, 0xC02AAC05, 0x0A000009
"""192.42.172.1, 192.42.172.5 and 10.0.0.9, as BIND carries them."""
SILENCE = 0.3
"""Seconds after which nothing more is expected."""


class Nobody(OwnAddresses):
    """No address is this host's own."""

    def __call__(self, host: str) -> bool:
        return False


@attrs.frozen
class Place:
    """A host with database B as its domain `network`."""

    host: Host
    server: DomainServer
    generation: Generation

    @property
    def domain(self) -> Address:
        assert self.server.address is not None
        return self.server.address

    @property
    def binder(self) -> Address:
        assert self.host.binder_address is not None
        return self.host.binder_address

    @property
    def portmapper(self) -> Address:
        assert self.host.portmapper_address is not None
        return self.host.portmapper_address


@asynccontextmanager
async def place(generation: Generation, superuser: str) -> AsyncIterator[Place]:
    from twisted.internet import reactor

    tree = Base(generation).domain.tree
    settings = Settings(
        address="192.42.172.1", superuser=superuser, guards=HISTORIC, generation=generation, hostname="srv"
    )
    host = Host(reactor, settings, ANY)
    try:
        await host.start_portmapper()
        await host.start_binder()
        server = await host.start_domain(b"network", branch_of(tree, tree.directories[0]))
        yield Place(host, server, generation)
    finally:
        await host.stop()


Case = Callable[[Place], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


# --- sockets ----------------------------------------------------------------------------------------------------------


def _datagrams(address: Address, call: bytes) -> list[bytes]:
    """What is answered to a datagram before there is silence."""
    heard = []
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect((address.host, address.port))
        sock.send(call)
        sock.settimeout(SILENCE)
        try:
            while True:
                heard.append(sock.recv(65536))
        except TimeoutError:
            return heard


def _stream(address: Address, data: bytes, records: int) -> list[bytes]:
    """The records that are answered to bytes on a connection; fewer if it is closed."""
    reader = RecordReader(1 << 20)
    heard: list[bytes] = []
    with socket.create_connection((address.host, address.port), timeout=10) as sock:
        if data:
            sock.sendall(data)
        while len(heard) < records:
            received = sock.recv(65536)
            if not received:
                break
            reader.feed(received)
            heard += list(reader)
    return heard


async def udp(address: Address, program: Program, name: str, argument: Any = None) -> Any:
    """A call's result over UDP; None for silence. No call is answered twice."""
    heard = await deferToThread(_datagrams, address, build_call(7, program, program.by_name[name], argument))
    assert len(heard) < 2
    return read_reply(program.by_name[name], heard[0]) if heard else None


async def tcp(
    address: Address, program: Program, name: str, argument: Any = None, *, procedure: Procedure | None = None
) -> Any:
    procedure = procedure or program.by_name[name]
    call = build_call(7, program, procedure, argument)
    (reply,) = await deferToThread(_stream, address, mark(len(call)) + call, 1)
    return read_reply(procedure, reply)


VOID = "an answer without content"


async def bound(p: Place, tag: bytes, client: int) -> Any:
    """What BIND over UDP comes to: `VOID`, None for silence, or the error."""
    call = build_call(7, NETINFO, NETINFO.by_name["BIND"], Binding(tag, client))
    heard = await deferToThread(_datagrams, p.domain, call)
    if not heard:
        return None
    try:
        read_reply(NETINFO.by_name["BIND"], heard[0])
    except RpcError as error:
        return error
    return VOID


def is_refusal(p: Place, answer: Any) -> bool:
    """Whether it is how this generation says no to a BIND."""
    if p.generation is NEXT:
        return answer is None
    return isinstance(answer, RpcAcceptError) and answer.status == AcceptStatus.SYSTEM_ERR


# --- the domain server ------------------------------------------------------------------------------------------------


@case
async def T02(p: Place) -> None:
    with pytest.raises(RpcDenied, match="AUTH_TOOWEAK"):
        await udp(p.domain, NETINFO, "ROOT")


@case
async def T66(p: Place) -> None:
    assert await bound(p, b"local", WS1) == VOID


@case
async def T67(p: Place) -> None:
    assert is_refusal(p, await bound(p, b"network", SRV))


@case
async def T68(p: Place) -> None:
    assert is_refusal(p, await bound(p, b"local", STRANGER))


@case
async def T79(p: Place) -> None:
    tree = p.server.domain.tree
    root = tree.directories[0]
    tree.write(root, (*root.properties, prop("trusted_networks", "192.42.172")))
    assert (await tcp(p.domain, NETINFO, "ROOT")).status == NiStatus.NI_OK, "an own address always"
    p.server.service.own = Nobody()
    assert await deferToThread(_stream, p.domain, b"", 1) == [], "closed without data"


@case
async def T87(p: Place) -> None:
    """How a reply is divided is the sender's affair; it is one record."""
    tree = p.server.domain.tree
    for number in range(100):
        tree.create(tree.directories[9], (prop("name", f"child {number}"),), 1 << 31)
    children = await tcp(p.domain, NETINFO, "LISTALL", NiId(9, 0))
    assert len(children.body.proplists) == 100


@case
async def T88(p: Place) -> None:
    first = build_call(1, NETINFO, NETINFO.by_name["SELF"], NiId(3, 999))
    second = build_call(2, NETINFO, NETINFO.by_name["PARENT"], NiId(8, 0))
    parts = (first[:5], first[5:30], first[30:])
    divided = b"".join(mark(len(part), last=part is parts[-1]) + part for part in parts)
    replies = await deferToThread(_stream, p.domain, divided + mark(len(second)) + second, 2)
    assert [int.from_bytes(reply[:4], "big") for reply in replies] == [1, 2]
    assert read_reply(NETINFO.by_name["SELF"], replies[0]).body.object == 3
    assert read_reply(NETINFO.by_name["PARENT"], replies[1]).body.parent == 7


@case
async def T89(p: Place) -> None:
    beyond = attrs.evolve(NETINFO.by_name["PING"], number=29)
    with pytest.raises(RpcAcceptError) as unknown:
        await tcp(p.domain, NETINFO, "PING", procedure=beyond)
    assert unknown.value.status == AcceptStatus.PROC_UNAVAIL
    older = attrs.evolve(NETINFO, version=1)
    with pytest.raises(RpcAcceptError, match=r"2") as other:
        await tcp(p.domain, older, "PING")
    assert other.value.status == AcceptStatus.PROG_MISMATCH


@case
async def T90(p: Place) -> None:
    whole = build_call(7, NETINFO, NETINFO.by_name["LOOKUP"], LookupArgs(NiId(1, 0), b"name", b"machines"))
    (reply,) = await deferToThread(_stream, p.domain, mark(len(whole) - 4) + whole[:-4], 1)
    with pytest.raises(RpcAcceptError) as caught:
        read_reply(NETINFO.by_name["LOOKUP"], reply)
    assert caught.value.status == AcceptStatus.GARBAGE_ARGS


# --- binder and portmapper --------------------------------------------------------------------------------------------


@case
async def T81(p: Place) -> None:
    assert await udp(p.binder, NIBIND, "GETREGISTER", b"nope") == Result(NiStatus.NI_NOTAG, None)


@case
async def T82(p: Place) -> None:
    assert await tcp(p.binder, NIBIND, "UNREGISTER", b"nope") == NiStatus.NI_OK


@case
async def T83(p: Place) -> None:
    registered = Registration(b"new", AddrInfo(1, 2))
    assert await tcp(p.binder, NIBIND, "REGISTER", registered) == NiStatus.NI_PERM


@case
async def T84(p: Place) -> None:
    assert await tcp(p.binder, NIBIND, "CREATEMASTER", b"network") == NiStatus.NI_DUPTAG


@case
async def T85(p: Place) -> None:
    assert await tcp(p.binder, NIBIND, "DESTROYDOMAIN", b"nope") == NiStatus.NI_NOTAG


@case
async def T86(p: Place) -> None:
    bind = NIBIND.by_name["BIND"]

    def asked(client: int) -> CallitArgs:
        inner = codec(bind.argument).build(BindArgs(client, b"local", b"network"))
        return CallitArgs(NIBIND.number, NIBIND.version, bind.number, inner)

    assert await udp(p.portmapper, PORTMAP, "CALLIT", asked(WS1)) == CallitResult(p.binder.port, b"")
    assert await udp(p.portmapper, PORTMAP, "CALLIT", asked(STRANGER)) is None


# --- paths ------------------------------------------------------------------------------------------------------------


def opened(p: Place) -> Domain:
    return Domain(ReactorNetwork(p.host.reactor), [DirectServer(p.domain.host, p.domain.port)])


@case
async def T91(p: Place) -> None:
    domain = opened(p)
    paths = (b"/machines/name=alpha", b"/users/uid=0", b"//users//ann")
    assert [(await domain.find(path)).object for path in paths] == [3, 5, 6]
    domain.close()


@case
async def T92(p: Place) -> None:
    domain = opened(p)
    made = await domain.call("CREATE", CreateArgs(await domain.root(), (prop("name", "a/b"),), 0, None))
    assert await domain.find(rb"/a\/b") == made.body.child
    domain.close()


STRANGERS = {"T83"}
"""Cases whose caller is not the superuser."""


@pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_case(name: str, generation: Generation) -> None:
    async with place(generation, "reserved-port" if name in STRANGERS else "same-user") as p:
        await CASES[name](p)
