"""What real NeXT and Apple domain servers answered, call by call, against our domain in the same state."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

from netinfo.access import HISTORIC, Access, Caller
from netinfo.domain import Domain, Surroundings
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.rawformat import plant
from netinfo.replication import received
from netinfo.starter import bare_clone, bare_master
from wire.capture.conversations import dissect
from wire.capture.messages import RpcMessage
from wire.codec import codec
from wire.formats.netinfo import NETINFO, NiStatus, Property
from wire.formats.rpc import Call, Procedure

RECORDED = Path(__file__).parent.parent / "captures" / "netinfo"

TOLD_DIFFERENTLY = {b"server_version", b"authentications", b"connections"}
"""Properties of STATISTICS that speak of the program and its sockets, not of the domain."""


@attrs.frozen
class Exchange:
    """A recorded call and its reply."""

    procedure: Procedure
    argument: object
    caller: Caller
    result: object
    data: bytes
    """The result's own bytes."""


@cache
def recorded(name: str) -> tuple[Exchange, ...]:
    return tuple(exchanges(name))


def exchanges(name: str) -> Iterator[Exchange]:
    calls: dict[int, RpcMessage] = {}
    with (RECORDED / f"{name}.pcap").open("rb") as file:
        for message in dissect(file):
            if not isinstance(message, RpcMessage) or message.program is not NETINFO:
                continue
            assert message.header is not None
            if isinstance(message.header.body, Call):
                calls[message.number] = message
                continue
            assert message.call is not None
            assert message.procedure is not None
            call = calls[message.call.number]
            host, port = message.conversation.client
            assert call.header is not None
            assert isinstance(call.header.body, Call)
            credential = call.header.body.credential
            caller = Caller(host, port, own=True, superuser=port < 1024, credential=credential)
            data = message.record[message.start :]
            yield Exchange(message.procedure, call.body, caller, message.body, data)


def fresh(generation: Generation, host: bytes, address: str) -> Domain:
    """The domain `local` as `netinfod -m local` makes it, started with -n, as for the recordings."""
    tree = plant(bare_master(b"local", host, [address]), generation)
    around = Surroundings(
        addresses=("127.0.0.1", address),
        hostname=host.decode(),
        forced_root=True,
        cleanup_remaining=29.5 * 60,
    )
    return Domain(b"local", tree, access=Access(generation, HISTORIC), surroundings=around)


def test_recordings_are_whole() -> None:
    assert len(recorded("next-calls")) == len(recorded("apple-calls")) == 133
    assert len(recorded("next-tools")) > 60


@pytest.mark.parametrize(
    ("name", "generation"), [("next-calls", NEXT), ("apple-calls", APPLE), ("next-tools", NEXT)]
)
def test_every_recorded_reply_is_ours_to_the_byte(name: str, generation: Generation) -> None:
    domain = fresh(generation, b"vm", "192.0.2.2")
    for count, exchange in enumerate(recorded(name)):
        row = exchange.procedure
        result = domain.call(row.number, exchange.argument, exchange.caller)
        where = f"exchange {count}: {row.name} {exchange.argument}"
        if row.name == "STATISTICS" and generation is APPLE:
            assert comparable(result) == comparable(exchange.result), where
        else:
            assert result == exchange.result, where
            assert codec(row.result).build(result) == exchange.data, where


def comparable(properties: object) -> list[tuple[bytes, tuple[bytes, ...]]]:
    """STATISTICS without what no two servers share; of the call counters, all but the microseconds."""
    assert isinstance(properties, tuple)
    counters = {row.name.lower().encode() for row in NETINFO.procedures}
    told = []
    for prop in properties:
        assert isinstance(prop, Property)
        values = prop.values[:2] if prop.name in counters else prop.values
        told.append((prop.name, () if prop.name in TOLD_DIFFERENTLY else values))
    return told


def transfer() -> Exchange:
    """READALL of a NeXT clone to its NeXT master."""
    (found,) = [each for each in recorded("next-clone") if each.procedure.name == "READALL"]
    return found


def test_recorded_transfer_is_taken_over_and_sent_again_to_the_byte() -> None:
    exchange = transfer()
    body = exchange.result.body  # type: ignore[attr-defined]
    clone = Domain(b"network", plant(bare_clone(b"hosta", "10.77.0.1", b"network")), clone=True)
    clone.replace(received(body, NEXT))
    assert clone.tree.checksum == body.checksum == 33
    assert clone.tree.highest_id == body.highest_id == 6
    master = Domain(b"network", clone.tree, access=Access(NEXT, HISTORIC))
    asking = attrs.evolve(exchange.caller, own=False)
    assert asking.address == "10.77.0.2"
    assert master.call(exchange.procedure.number, exchange.argument, asking) == exchange.result
    assert master.reply(exchange.procedure.number, exchange.argument, asking) == exchange.data
    guarded = Domain(b"network", clone.tree)  # hostb does not serve ./network in it yet
    assert guarded.call(exchange.procedure.number, 9, asking).status == NiStatus.NI_PERM


def test_recorded_clone_after_its_transfer() -> None:
    """What the tools asked the NeXT clone before the next update reached it."""
    clone = Domain(b"network", plant(bare_clone(b"hosta", "10.77.0.1", b"network")), clone=True)
    clone.replace(received(transfer().result.body, NEXT))  # type: ignore[attr-defined]
    after = recorded("next-clone")[recorded("next-clone").index(transfer()) + 1 :]
    answered = []
    for exchange in after:
        result = clone.call(exchange.procedure.number, exchange.argument, exchange.caller)
        if exchange.procedure.name == "STATISTICS":
            break  # an update the recording does not hold came first
        assert result == exchange.result
        answered.append(exchange.procedure.name)
    assert answered[:2] == ["RESYNC", "CHILDREN"]
    assert NiStatus.NI_OK in {getattr(each.result, "status", None) for each in after}
