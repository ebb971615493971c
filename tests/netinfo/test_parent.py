"""Finding the parent domain as NeXT's and as Apple's servers do (NETINFO 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from netinfo.access import Access
from netinfo.addresses import Interface, to_number
from netinfo.client.network import Answer, Target
from netinfo.domain import Domain, Surroundings
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.parent import APPLE_WAITS, NEXT_WAITS, ParentFinder
from netinfo.rawformat import load, plant
from tests.netinfo.calls import FakeNetwork
from wire.codec import codec
from wire.formats.netinfo import NETINFO, Binding, NiStatus, Result
from wire.formats.nibind import NIBIND, AddrInfo, BindArgs
from wire.formats.portmap import PORTMAP, Mapping
from wire.transport.errors import RpcTimeout
from wire.transport.tap import Address

LOCAL = b"""{ "master" = ( "localhost/local" ); CHILDREN = (
  { "name" = ( "machines" ); CHILDREN = (
    { "name" = ( "localhost" ); "ip_address" = ( "127.0.0.1" ); "serves" = ( "./local" ); },
    { "name" = ( "srv" ); "ip_address" = ( "10.77.0.1", "10.78.0.1" ); "serves" = ( "../network" ); },
    { "name" = ( "broadcasthost" ); "ip_address" = ( "255.255.255.255" ); "serves" = ( "../network" ); } ) } )
    }"""
ROOT_DOMAIN = b"""{ "master" = ( "srv/network" ); CHILDREN = ( { "name" = ( "machines" ); } ) }"""
PARENT = Binding(b"network", to_number("10.77.0.1"))
INTERFACES = (
    Interface("lo", "127.0.0.1", "255.0.0.0", "127.255.255.255"),
    Interface("en0", "10.77.0.2", "255.255.255.0", "10.77.0.255"),
)


class Child:
    """A domain that looks for its parent in a world where `alive` are the hosts that serve `network`."""

    def __init__(
        self, generation: Generation = NEXT, text: bytes = LOCAL, address: str = "10.77.0.2", **around: Any
    ) -> None:
        self.clock = Clock()
        self.alive: set[str] = set()
        self.domain = Domain(
            b"local",
            plant(load(text), generation),
            access=Access(generation),
            surroundings=Surroundings(**around),
        )
        self.network = FakeNetwork(self._answer)
        self.finder = ParentFinder(
            self.clock, self.network, self.domain, address, 111, lambda: INTERFACES, lambda items: None
        )

    def _answer(self, address: Address, program: Any, procedure: Any, argument: Any) -> Any:
        if address.host not in self.alive:
            raise RpcTimeout(f"{address} is silent")
        if program is PORTMAP:
            assert argument == Mapping(NIBIND.number, 1, 17, 0)
            return 766
        if program is NIBIND:
            assert (procedure.name, argument, address.port) == ("GETREGISTER", b"network", 766)
            return Result(NiStatus.NI_OK, AddrInfo(877, 878))
        assert (program, procedure.name, address.port) == (NETINFO, "PING", 877)
        return None

    def found(self) -> Binding | None:
        return self.domain.surroundings.parent

    def find(self) -> Binding | None:
        """Search, and give what was found."""
        searching = ensureDeferred(self.finder.find())
        assert searching.called
        return self.domain.surroundings.parent


def first_answers(host: str) -> Any:
    return lambda targets: Answer(0, host, None)


def test_a_root_domain_asks_nobody() -> None:
    child = Child(text=ROOT_DOMAIN)
    child.domain.surroundings.parent = PARENT
    assert child.find() is None
    assert not child.network.multicalls


def test_a_domain_that_is_told_to_be_root_asks_nobody() -> None:
    child = Child(forced_root=True)
    assert child.find() is None
    assert not child.network.multicalls


def test_all_candidates_are_asked_at_once_to_bind() -> None:
    child = Child()
    child.network.multicall_answer = first_answers("10.77.0.1")
    assert child.find() == PARENT
    ((targets, waits),) = child.network.multicalls
    assert waits == NEXT_WAITS == (4.0, 6.0, 8.0, 10.0, 12.0)
    assert [(t.host, t.port, t.procedure.name) for t in targets] == [
        ("10.77.0.1", 111, "CALLIT"),
        ("10.77.0.255", 111, "CALLIT"),
    ]
    inner = targets[0].argument
    assert (inner.program, inner.version, inner.procedure) == (NIBIND.number, 1, 8)
    assert codec(NIBIND.by_name["BIND"].argument).parse_exact(inner.arguments) == BindArgs(
        to_number("10.77.0.2"), b"local", b"network"
    )


def test_the_answerer_s_address_counts_not_the_one_that_was_asked() -> None:
    child = Child()
    child.network.multicall_answer = lambda targets: Answer(1, "10.77.0.99", None)
    assert child.find() == Binding(b"network", to_number("10.77.0.99"))


def test_a_parent_is_kept_while_its_binder_knows_it() -> None:
    child = Child()
    child.network.multicall_answer = first_answers("10.77.0.1")
    child.find()
    child.alive = {"10.77.0.1"}
    assert child.find() == PARENT
    assert len(child.network.multicalls) == 1


def test_a_parent_that_went_away_is_looked_for_again() -> None:
    child = Child()
    child.domain.surroundings.parent = Binding(b"network", to_number("10.77.0.50"))
    child.network.multicall_answer = first_answers("10.77.0.1")
    assert child.find() == PARENT


def test_a_caller_waits_four_seconds_and_the_search_goes_on() -> None:
    child = Child()
    answering: Deferred[Answer | None] = Deferred()

    async def multicall(targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        return await answering

    child.network.multicall = multicall  # type: ignore[method-assign]
    first, second = ensureDeferred(child.finder.find()), ensureDeferred(child.finder.find())
    child.clock.advance(3.9)
    assert not any(search.called for search in (first, second))
    child.clock.advance(0.2)
    assert all(search.called for search in (first, second))
    third = ensureDeferred(child.finder.find())
    answering.callback(Answer(0, "10.77.0.1", None))
    assert third.called
    assert child.found() == PARENT
    assert not child.clock.getDelayedCalls()


def test_nobody_answers() -> None:
    child = Child()
    assert child.find() is None
    assert child.find() is None
    assert len(child.network.multicalls) == 2, "NeXT's server searches at every call"


def test_apple_s_server_binds_to_whoever_is_there() -> None:
    child = Child(APPLE)
    child.alive = {"10.77.0.1"}
    assert child.find() == PARENT
    assert not child.network.multicalls, "anonymous binding asks for no BIND"
    child.alive = set()
    child.domain.surroundings.parent = PARENT
    assert child.find() is None


def test_apple_s_server_asks_in_three_rounds() -> None:
    child = Child(APPLE)
    assert child.find() is None
    asked = [[target.host for target in targets] for targets, _ in child.network.multicalls]
    assert asked == [["10.77.0.1", "10.77.0.255"]] * 2, "attached networks; everybody; nobody on this host"
    assert all(waits == APPLE_WAITS for _, waits in child.network.multicalls)


@pytest.mark.parametrize(("generation", "rounds"), [(NEXT, 1), (APPLE, 3)])
def test_nothing_leaves_a_host_that_is_known_by_a_loopback_address(
    generation: Generation, rounds: int
) -> None:
    child = Child(generation, LOCAL.replace(b"10.77.0.1", b"127.0.0.7"), address="127.0.0.7")
    assert child.find() is None
    asked = [[target.host for target in targets] for targets, _ in child.network.multicalls]
    assert asked == [["127.0.0.7"]] * rounds
    child.alive = {"127.0.0.7"}
    child.clock.advance(601)
    child.network.multicall_answer = first_answers("127.0.0.7")
    assert child.find() == Binding(b"network", to_number("127.0.0.7"))


def test_apple_s_server_gives_up_for_ten_minutes() -> None:
    child = Child(APPLE)
    child.find()
    before = len(child.network.multicalls)
    child.find()
    assert len(child.network.multicalls) == before
    child.clock.advance(601)
    child.find()
    assert len(child.network.multicalls) > before


@pytest.mark.parametrize("generation", [NEXT, APPLE])
def test_a_search_that_breaks_is_reported_and_ends(generation: Generation) -> None:
    child = Child(generation)

    async def multicall(targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        raise RuntimeError("broken")

    child.network.multicall = multicall  # type: ignore[method-assign]
    assert child.find() is None
    assert child.find() is None
