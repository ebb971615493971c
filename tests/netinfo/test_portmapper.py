"""The portmapper's rules (RFC 1833 3), and what it passes on (NETINFO 4.4)."""

from __future__ import annotations

from typing import Any

import pytest

from netinfo.client.network import run
from netinfo.portmapper import (
    CALLIT_LIMIT,
    MAPPINGS_LIMIT,
    PortmapperService,
    PortmapTable,
    register_itself,
)
from tests.netinfo.calls import ROOT_HERE, STRANGER, USER_HERE, incoming
from wire.codec import codec
from wire.formats.netinfo import NiStatus, Result
from wire.formats.nibind import NIBIND, AddrInfo, BindArgs
from wire.formats.portmap import IPPROTO_TCP, IPPROTO_UDP, PORTMAP, CallitArgs, CallitResult, Mapping
from wire.formats.rpc import Procedure
from wire.transport.errors import RpcTimeout
from wire.transport.rpc_server import NO_REPLY
from wire.transport.tap import Address

BINDER = Mapping(NIBIND.number, NIBIND.version, IPPROTO_UDP, 766)


def test_a_mapping_is_set_once() -> None:
    table = PortmapTable()
    assert table.set(Mapping(7, 1, IPPROTO_UDP, 700))
    assert table.set(Mapping(7, 1, IPPROTO_UDP, 700)), "the same again is no conflict"
    assert not table.set(Mapping(7, 1, IPPROTO_UDP, 701))
    assert table.port(7, 1, IPPROTO_UDP) == 700
    assert table.port(7, 1, IPPROTO_TCP) == 0
    assert table.port(8, 1, IPPROTO_UDP) == 0


def test_another_version_stands_in_for_one_that_is_missing() -> None:
    table = PortmapTable()
    table.set(Mapping(7, 1, IPPROTO_UDP, 701))
    table.set(Mapping(7, 3, IPPROTO_UDP, 703))
    assert table.port(7, 2, IPPROTO_UDP) == 701
    assert table.port(7, 3, IPPROTO_UDP) == 703


def test_unset_takes_every_protocol_of_one_version() -> None:
    table = PortmapTable()
    for version in (1, 2):
        for protocol in (IPPROTO_TCP, IPPROTO_UDP):
            table.set(Mapping(7, version, protocol, 700 + version))
    assert table.unset(7, 1)
    assert not table.unset(7, 1)
    assert table.mappings() == (Mapping(7, 2, IPPROTO_TCP, 702), Mapping(7, 2, IPPROTO_UDP, 702))


def test_the_table_is_bounded() -> None:
    table = PortmapTable()
    for number in range(MAPPINGS_LIMIT):
        assert table.set(Mapping(number, 1, IPPROTO_UDP, 700))
    assert not table.set(Mapping(MAPPINGS_LIMIT, 1, IPPROTO_UDP, 700))
    assert table.set(Mapping(0, 1, IPPROTO_UDP, 700)), "what is there may be set again"


def test_it_stands_in_its_own_table() -> None:
    table = PortmapTable()
    register_itself(table, 10111)
    assert table.port(PORTMAP.number, 2, IPPROTO_TCP) == table.port(PORTMAP.number, 2, IPPROTO_UDP) == 10111


class Forwarded:
    """Stands for the binder; `calls` is what it was asked."""

    def __init__(self, result: Any = None, error: Exception | None = None) -> None:
        self.calls: list[tuple[int, str, Any]] = []
        self._result, self._error = result, error

    async def __call__(self, port: int, procedure: Procedure, argument: Any) -> Any:
        self.calls.append((port, procedure.name, argument))
        if self._error is not None:
            raise self._error
        return self._result


def service(forwarded: Forwarded | None = None) -> PortmapperService:
    table = PortmapTable()
    table.set(BINDER)
    return PortmapperService(table, forwarded or Forwarded())


def ask(name: str, argument: Any = None, peer: Address = USER_HERE) -> Any:
    return service().serve(incoming(PORTMAP, name, argument, peer))


def test_anybody_may_ask() -> None:
    assert ask("NULL", peer=STRANGER) is None
    assert ask("GETPORT", Mapping(NIBIND.number, 1, IPPROTO_UDP, 0), STRANGER) == 766
    assert ask("DUMP", peer=STRANGER) == (BINDER,)


@pytest.mark.parametrize("peer", [STRANGER, Address("10.1.2.3", 700)])
def test_strangers_change_nothing(peer: Address) -> None:
    portmapper = service()
    other = Mapping(7, 1, IPPROTO_UDP, 700)
    assert portmapper.serve(incoming(PORTMAP, "SET", other, peer)) is False
    assert portmapper.serve(incoming(PORTMAP, "UNSET", BINDER, peer)) is False
    assert portmapper.table.mappings() == (BINDER,)


@pytest.mark.parametrize("peer", [ROOT_HERE, USER_HERE, Address("127.3.2.1", 5000)])
def test_this_host_may_change_the_table(peer: Address) -> None:
    portmapper = service()
    other = Mapping(7, 1, IPPROTO_UDP, 700)
    assert portmapper.serve(incoming(PORTMAP, "SET", other, peer)) is True
    assert portmapper.serve(incoming(PORTMAP, "UNSET", BINDER, peer)) is True
    assert portmapper.table.mappings() == (other,)


def callit(forwarded: Forwarded, name: str, argument: Any, *, program: int = NIBIND.number) -> Any:
    procedure = NIBIND.by_name[name]
    args = CallitArgs(program, 1, procedure.number, codec(procedure.argument).build(argument))
    return run(service(forwarded).serve(incoming(PORTMAP, "CALLIT", args, STRANGER, "udp")))


def test_bind_is_passed_on_and_its_success_told() -> None:
    forwarded = Forwarded()
    args = BindArgs(0xC02AAC05, b"local", b"network")
    assert callit(forwarded, "BIND", args) == CallitResult(766, b"")
    assert forwarded.calls == [(766, "BIND", args)]


def test_getregister_brings_its_result_as_xdr() -> None:
    forwarded = Forwarded(Result(NiStatus.NI_OK, AddrInfo(877, 878)))
    assert callit(forwarded, "GETREGISTER", b"network") == CallitResult(
        766, bytes.fromhex("000000000000036d0000036e")
    )


def test_failures_are_silent() -> None:
    assert callit(Forwarded(error=RpcTimeout("nobody")), "BIND", BindArgs(1, b"a", b"b")) is NO_REPLY


@pytest.mark.parametrize("name", ["REGISTER", "UNREGISTER", "LISTREG", "CREATEMASTER", "DESTROYDOMAIN"])
def test_nothing_else_is_passed_on(name: str) -> None:
    forwarded = Forwarded()
    args = CallitArgs(NIBIND.number, 1, NIBIND.by_name[name].number, bytes(64))
    assert run(service(forwarded).serve(incoming(PORTMAP, "CALLIT", args, STRANGER, "udp"))) is NO_REPLY
    assert not forwarded.calls


@pytest.mark.parametrize(
    "args",
    [
        CallitArgs(100003, 2, 0, b""),
        CallitArgs(NIBIND.number, 2, 0, b""),
        CallitArgs(NIBIND.number, 1, 99, b""),
        CallitArgs(NIBIND.number, 1, 8, b"\0\0\0"),
    ],
)
def test_other_programs_and_damaged_arguments_are_met_with_silence(args: CallitArgs) -> None:
    forwarded = Forwarded()
    assert run(service(forwarded).serve(incoming(PORTMAP, "CALLIT", args, STRANGER, "udp"))) is NO_REPLY
    assert not forwarded.calls


def test_a_binder_that_is_not_registered_is_not_called() -> None:
    forwarded = Forwarded()
    portmapper = PortmapperService(PortmapTable(), forwarded)
    args = CallitArgs(NIBIND.number, 1, 0, b"")
    assert run(portmapper.serve(incoming(PORTMAP, "CALLIT", args, STRANGER, "udp"))) is NO_REPLY
    assert not forwarded.calls


def test_calls_passed_on_at_once_are_bounded() -> None:
    from twisted.internet.defer import Deferred

    waiting: list[Deferred[None]] = []

    async def slow(port: int, procedure: Procedure, argument: Any) -> Any:
        waiting.append(Deferred())
        await waiting[-1]

    portmapper = PortmapperService(PortmapTable(), slow)
    portmapper.table.set(BINDER)
    args = CallitArgs(NIBIND.number, 1, 0, b"")

    def call() -> Deferred[Any]:
        return Deferred.fromCoroutine(portmapper.serve(incoming(PORTMAP, "CALLIT", args, STRANGER, "udp")))

    under_way = [call() for _ in range(CALLIT_LIMIT)]
    refused = call()
    assert refused.result is NO_REPLY
    assert len(waiting) == CALLIT_LIMIT
    waiting[0].callback(None)
    assert under_way[0].result == CallitResult(766, b"")
    again = call()
    assert not again.called
    for each in waiting[1:]:
        each.callback(None)
