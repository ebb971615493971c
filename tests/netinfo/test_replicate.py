"""Masters that tell their clones, clones that ask their master, over a network of functions (NETINFO 5)."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from netinfo.access import Access, Caller
from netinfo.domain import Domain, Surroundings
from netinfo.events import Changed
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.rawformat import load, plant
from netinfo.replicate import LINGER, Alarm, Clone, Master
from tests.netinfo.calls import FakeNetwork
from wire.formats.netinfo import NETINFO, NI_INDEX_NULL, CreateArgs, NiId, NiStatus, Property, Result
from wire.formats.nibind import NIBIND, AddrInfo
from wire.formats.portmap import PORTMAP
from wire.transport.errors import ConnectError, RpcConnectionLost
from wire.transport.tap import Address

DOMAIN = b"""{ "master" = ( "srv/network" ); CHILDREN = (
  { "name" = ( "machines" ); CHILDREN = (
    { "name" = ( "srv" ); "ip_address" = ( "10.77.0.1" ); "serves" = ( "./network" ); },
    { "name" = ( "copy" ); "ip_address" = ( "10.77.0.2" ); "serves" = ( "./network" ); } ) },
  { "name" = ( "users" ); } ) }"""
MASTER, COPY = "10.77.0.1", "10.77.0.2"
SU = Caller("127.0.0.1", own=True, superuser=True)


def domain(
    address: str, generation: Generation = NEXT, *, clone: bool = False, text: bytes = DOMAIN
) -> Domain:
    made = Domain(
        b"network",
        plant(load(text), generation),
        access=Access(generation),
        clone=clone,
        surroundings=Surroundings(addresses=(address, "127.0.0.1")),
    )
    made.take()
    return made


@attrs.define
class World:
    """Two hosts; `down` ones do not answer. Calls to domain servers are remembered, and go to `serve`."""

    clock: Clock = attrs.Factory(Clock)
    down: set[str] = attrs.Factory(set)
    calls: list[tuple[str, str]] = attrs.Factory(list)
    serve: Any = None
    network: FakeNetwork = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.network = FakeNetwork(self._answer)

    def _answer(self, address: Address, program: Any, procedure: Any, argument: Any) -> Any:
        if address.host in self.down:
            raise ConnectError(f"{address.host} is away")
        if program is PORTMAP:
            return 766
        if program is NIBIND:
            return Result(NiStatus.NI_OK, AddrInfo(877, 877))
        self.calls.append((address.host, procedure.name))
        return self.serve(procedure, argument)

    def names(self) -> list[str]:
        """The names of the calls since the last time."""
        names, self.calls = [name for _, name in self.calls], []
        return names


def ok(procedure: Any, argument: Any) -> Any:
    if procedure.name in ("CRASHED",):
        return None
    return NiStatus.NI_OK if procedure.name == "RESYNC" else Result(NiStatus.NI_OK, NiId(0, 1))


def write(rules: Domain, name: bytes) -> list[Changed]:
    """Create a user; the change as the server would get it to tell."""
    users = NiId(rules.tree.path(b"users").id.object, rules.tree.path(b"users").id.instance)  # type: ignore[union-attr]
    args = CreateArgs(users, (Property(b"name", (name,)),), NI_INDEX_NULL, None)
    assert rules.call(NETINFO.by_name["CREATE"].number, args, SU).status == NiStatus.NI_OK
    return [event for event in rules.take() if isinstance(event, Changed)]


def master_of(world: World, generation: Generation = NEXT) -> tuple[Master, Domain]:
    rules = domain(MASTER, generation)
    master = Master(world.clock, world.network, rules, 111)
    master.start()
    world.clock.advance(0)
    return master, rules


def test_a_master_that_starts_tells_its_checksum() -> None:
    world = World(serve=ok)
    master_of(world)
    assert world.calls == [(COPY, "CRASHED")]


def test_every_change_is_made_at_the_clone_too() -> None:
    world = World(serve=ok)
    master, rules = master_of(world)
    world.names()
    master.changed(write(rules, b"bob"))
    master.changed(write(rules, b"carl"))
    world.clock.advance(0)
    world.clock.advance(0)
    assert world.names() == ["CREATE", "CREATE"]
    assert rules.surroundings.waiting_updates == 0


def test_updates_share_a_connection_that_is_closed_when_idle() -> None:
    world = World(serve=ok)
    master, rules = master_of(world)
    for number in range(20):
        master.changed(write(rules, b"u%d" % number))
        world.clock.advance(0.1)
    assert len(world.network.opened) == 1
    assert len(world.names()) == 21
    world.clock.advance(LINGER + 1)
    master.changed(write(rules, b"late"))
    world.clock.advance(0)
    assert len(world.network.opened) == 2


def test_apple_s_master_waits_for_updates_to_gather() -> None:
    world = World(serve=ok)
    master, rules = master_of(world, APPLE)
    world.names()
    master.changed(write(rules, b"bob"))
    world.clock.advance(1.9)
    assert world.names() == []
    assert rules.surroundings.waiting_updates == 1
    world.clock.advance(0.2)
    assert world.names() == ["CREATE"]


def test_a_clone_that_was_away_is_told_the_checksum_when_it_is_back() -> None:
    world = World(serve=ok)
    master, rules = master_of(world)
    world.names()
    world.clock.advance(LINGER + 1)
    world.down = {COPY}
    master.changed(write(rules, b"bob"))
    world.clock.pump([0.5] * 20)
    assert rules.surroundings.waiting_updates == 0, "what it missed is not kept: it will transfer the domain"
    assert world.names() == []
    world.down = set()
    world.clock.pump([0.5] * 130)
    assert world.names() == ["CRASHED"]


def test_a_clone_that_does_not_take_us_for_its_master_is_told_to_compare() -> None:
    def readonly(procedure: Any, argument: Any) -> Any:
        return Result(NiStatus.NI_RDONLY, None) if procedure.mutates else ok(procedure, argument)

    world = World(serve=readonly)
    master, rules = master_of(world)
    world.names()
    master.changed(write(rules, b"bob"))
    world.clock.advance(0)
    assert world.names() == ["CREATE", "CRASHED"]


def test_resync_reaches_every_clone_and_strangers_only_now_and_then() -> None:
    world = World(serve=ok)
    master, _ = master_of(world)
    world.names()
    for _ in range(5):
        master.resync_clones(trusted=False)
        world.clock.advance(1)
    assert world.names() == ["RESYNC"]
    world.clock.advance(10)
    assert world.names() == ["RESYNC"], "what came in between is not lost"


def test_every_half_hour_the_clones_compare() -> None:
    world = World(serve=ok)
    master, _ = master_of(world)
    world.names()
    world.clock.advance(1800)
    assert world.names() == ["RESYNC"]
    master.stop()
    assert not world.clock.getDelayedCalls()


def clone_of(world: World, master: Domain, keeper: Any = None) -> tuple[Clone, Domain]:
    """A clone whose master answers READALL, and whose databases begin the same."""
    rules = domain(COPY, clone=True)

    def serve(procedure: Any, argument: Any) -> Any:
        return master.call(procedure.number, argument, SU)

    world.serve = serve
    clone = Clone(world.clock, world.network, rules, 111, keeper, aside=maybeDeferred)
    clone.start()
    world.clock.advance(0)
    return clone, rules


def test_a_clone_compares_when_it_starts() -> None:
    world = World()
    _, rules = clone_of(world, domain(MASTER))
    assert world.calls == [(MASTER, "READALL")]
    assert rules.take() == []


def test_a_clone_with_another_checksum_takes_over_everything() -> None:
    world = World()
    master = domain(MASTER)
    write(master, b"bob")
    kept: list[Any] = []

    class Keeper:
        def keep(self, events: Any) -> Deferred[None]:
            kept.extend(events)
            return succeed(None)

    clone, rules = clone_of(world, master, Keeper())
    assert rules.tree.checksum == master.tree.checksum
    assert len(kept) == 1
    assert not rules.surroundings.receiving
    write(master, b"carl")
    clone.check_master(trusted=True)
    world.clock.advance(1)
    assert rules.tree.checksum == master.tree.checksum
    clone.stop()
    assert not world.clock.getDelayedCalls()


def test_strangers_cannot_make_a_clone_ask_all_the_time() -> None:
    world = World()
    clone, _ = clone_of(world, domain(MASTER))
    world.names()
    world.clock.advance(20)
    for _ in range(8):
        clone.check_master(trusted=False)
        world.clock.advance(1)
    assert world.names() == ["READALL"]


def test_a_clone_whose_master_is_away_tries_again() -> None:
    world = World(down={MASTER})
    master = domain(MASTER)
    write(master, b"bob")
    _, rules = clone_of(world, master)
    assert rules.tree.checksum != master.tree.checksum
    world.clock.pump([0.5] * 10)
    world.down = set()
    world.clock.pump([1.0] * 30)
    assert rules.tree.checksum == master.tree.checksum


def test_both_tell_when_they_compare_next() -> None:
    world = World(serve=ok)
    master, _ = master_of(world)
    world.clock.advance(800)
    assert master.until_cleanup() == 1000
    world = World()
    clone, _ = clone_of(world, domain(MASTER))
    world.clock.advance(800)
    assert clone.until_cleanup() == 1000
    clone.stop()
    assert clone.until_cleanup() == 0


def test_a_busy_master_is_asked_again() -> None:
    world = World()
    clone, rules = clone_of(world, domain(MASTER))
    answers = [Result(NiStatus.NI_MASTERBUSY, None)]
    master = domain(MASTER)
    write(master, b"bob")
    world.serve = lambda procedure, argument: (
        answers.pop() if answers else master.call(procedure.number, argument, SU)
    )
    clone.check_master(trusted=True)
    world.clock.pump([0.5] * 20)
    assert rules.tree.checksum == master.tree.checksum


def test_a_clone_that_does_not_know_its_master_says_so_and_lives_on() -> None:
    world = World(serve=ok)
    rules = domain(COPY, clone=True, text=b'{ "master" = ( "nowhere/network" ); }')
    clone = Clone(world.clock, world.network, rules, 111, None, aside=maybeDeferred)
    clone.start()
    world.clock.advance(0)
    assert world.calls == []
    assert world.clock.getDelayedCalls(), "it tries again"


def test_a_connection_lost_in_a_transfer_changes_nothing() -> None:
    world = World()
    clone, rules = clone_of(world, domain(MASTER))
    before = rules.tree

    def lost(procedure: Any, argument: Any) -> Any:
        raise RpcConnectionLost("gone")

    world.serve = lost
    clone.check_master(trusted=True)
    world.clock.advance(2)
    assert rules.tree is before
    assert not rules.surroundings.receiving


def test_an_alarm_rings_once_at_the_latest_time_it_was_set_to() -> None:
    clock, rings = Clock(), []
    alarm = Alarm(clock, lambda: rings.append(clock.seconds()))
    alarm.set(5.0)
    alarm.set(2.0)
    clock.pump([1.0] * 10)
    assert rings == [2.0]
    alarm.set(None)
    alarm.stop()
    assert not clock.getDelayedCalls()
