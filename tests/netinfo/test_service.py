"""A domain as an RPC service: what it refuses, what it waits for, whom it tells (NETINFO 1.1, 3, 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed

from netinfo import procedures
from netinfo.access import HISTORIC, Access, Guards
from netinfo.credential import complement
from netinfo.domain import Domain
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.limits import LIMITS
from netinfo.passwords import Passwords
from netinfo.service import DomainService
from netinfo.store import StoreError
from tests.netinfo.base import Base, prop
from tests.netinfo.calls import LOCAL, ROOT_HERE, STRANGER, USER_HERE, incoming
from tests.netinfo.test_recorded import fresh, recorded
from wire.codec import codec
from wire.formats.netinfo import (
    NETINFO,
    NI_INDEX_NULL,
    Binding,
    CreateArgs,
    DestroyArgs,
    ListArgs,
    LookupArgs,
    NameIndexArgs,
    NiId,
    NiStatus,
    PropArgs,
    Property,
    ReadallBody,
    Result,
    WriteArgs,
)
from wire.formats.rpc import AUTH_NONE, AcceptStatus, Auth, AuthFlavor, AuthStatus, AuthUnix
from wire.transport.rpc_dispatch import Caller as Origin
from wire.transport.rpc_dispatch import Dispatcher, Flow, Later
from wire.transport.rpc_message import build_call
from wire.transport.rpc_server import NO_REPLY, AcceptError, Encoded, Reject, Streamed
from wire.transport.tap import Address

ROOT = NiId(0, 0)


@attrs.define
class Told:
    """Stands for replication, the store and the search for a parent; remembers what it was told."""

    changes: list[str] = attrs.Factory(list)
    checks: list[bool] = attrs.Factory(list)
    resyncs: list[bool] = attrs.Factory(list)
    kept: list[int] = attrs.Factory(list)
    keeping: Deferred[None] | None = None
    searches: int = 0

    def changed(self, events: Any) -> None:
        self.changes += [event.procedure.name for event in events]

    def check_master(self, trusted: bool) -> None:
        self.checks.append(trusted)

    def resync_clones(self, trusted: bool) -> None:
        self.resyncs.append(trusted)

    def keep(self, events: Any) -> Deferred[None]:
        self.kept.append(len(events))
        return succeed(None) if self.keeping is None else self.keeping

    async def find_parent(self) -> None:
        self.searches += 1


class Served:
    """Base database B behind a service; `served("READ", ...)` gives the result's value, or what stands for
    none."""

    def __init__(
        self,
        generation: Generation = NEXT,
        guards: Guards = HISTORIC,
        *,
        clone: bool = False,
        keeps: bool = False,
    ) -> None:
        base = Base(generation, guards)
        self.domain: Domain = base.domain
        self.domain.clone = clone
        self.domain.take()
        self.told = Told()
        passwords = Passwords()
        self.domain.access = Access(generation, guards, passwords)
        self.service = DomainService(
            self.domain,
            lambda peer, local, transport: peer == ROOT_HERE,
            self.told.find_parent,
            self.told,
            self.told if keeps else None,
            passwords,
            lambda host: host.startswith("127."),  # type: ignore[arg-type]
        )

    def raw(
        self, name: str, argument: Any = None, peer: Address = USER_HERE, credential: Auth = AUTH_NONE
    ) -> Any:
        return self.service.serve(incoming(NETINFO, name, argument, peer, credential=credential))

    def __call__(self, name: str, argument: Any = None, peer: Address = USER_HERE) -> Any:
        return value(name, self.raw(name, argument, peer))


def value(name: str, outcome: Any) -> Any:
    """A result's value, from its bytes where it was given as bytes."""
    parse = codec(NETINFO.by_name[name].result).parse_exact
    if isinstance(outcome, Encoded):
        return parse(outcome.data)
    if isinstance(outcome, Streamed):
        return parse(b"".join(outcome.chunks))
    return outcome


@pytest.mark.parametrize("generation", [NEXT, APPLE])
def test_over_udp_ping_and_bind_alone(generation: Generation) -> None:
    service = Served(generation).service
    for procedure in NETINFO.procedures:
        service.admit(procedure.number, "tcp", STRANGER)
        if procedure.name in ("PING", "BIND"):
            service.admit(procedure.number, "udp", STRANGER)
            continue
        with pytest.raises(Reject) as caught:
            service.admit(procedure.number, "udp", STRANGER)
        assert caught.value.reply.endswith(AuthStatus.AUTH_TOOWEAK.to_bytes(4, "big"))
    with pytest.raises(Reject):
        service.admit(99, "udp", STRANGER)


def test_trusted_networks_decide_at_the_connection() -> None:
    served = Served()
    assert served.service.accept_tcp(STRANGER, USER_HERE)
    root = served("ROOT").body
    properties = (prop("master", "srv/network"), prop("trusted_networks", "192.42.172"))
    assert served("WRITE", WriteArgs(root, properties), ROOT_HERE).status == NiStatus.NI_OK
    assert not served.service.accept_tcp(STRANGER, USER_HERE)
    assert served.service.accept_tcp(Address("192.42.172.200", 2000), USER_HERE)
    assert served.service.accept_tcp(USER_HERE, USER_HERE), "own addresses always"


def test_reads_are_answered_at_once() -> None:
    served = Served()
    found = served("LOOKUP", LookupArgs(NiId(1, 0), b"name", b"alpha"), STRANGER)
    assert found.body.ids == (3,)
    assert served("PING") is None
    assert not served.told.kept
    assert not served.told.changes


def create(name: str = "bob", instance: int = 3) -> CreateArgs:
    return CreateArgs(NiId(4, instance), (prop("name", name),), NI_INDEX_NULL, None)


def test_a_change_is_told_to_the_clones() -> None:
    served = Served()
    assert served("CREATE", create(), ROOT_HERE).status == NiStatus.NI_OK
    assert served.told.changes == ["CREATE"]
    assert served("CREATE", create(), STRANGER).status == NiStatus.NI_STALE
    assert served.told.changes == ["CREATE"]


def test_a_change_is_answered_when_it_is_on_disk() -> None:
    served = Served(keeps=True)
    served.told.keeping = Deferred()
    answering = ensureDeferred(served.raw("CREATE", create(), ROOT_HERE))
    assert not answering.called
    assert served.told.kept == [1]
    assert not served.told.changes, "clones hear of it no sooner than the caller"
    served.told.keeping.callback(None)
    assert value("CREATE", answering.result).status == NiStatus.NI_OK
    assert served.told.changes == ["CREATE"]


@pytest.mark.parametrize(("full", "status"), [(True, NiStatus.NI_NOSPACE), (False, NiStatus.NI_SYSTEMERR)])
def test_a_change_that_cannot_be_written_fails(full: bool, status: NiStatus) -> None:
    served = Served(keeps=True)
    served.told.keeping = fail(StoreError("the disk is gone", full=full))
    answering = ensureDeferred(served.raw("CREATE", create(), ROOT_HERE))
    assert answering.result == Result(status, None)
    assert not served.told.changes


def test_a_clone_that_cannot_store_an_update_asks_its_master() -> None:
    """The master takes its update for made, so that nobody else would bring it again."""
    served = Served(clone=True, keeps=True)
    served.told.keeping = fail(StoreError("the disk is gone"))
    answering = ensureDeferred(served.raw("CREATE", create(), Address("192.42.172.1", 700)))
    assert answering.result == Result(NiStatus.NI_SYSTEMERR, None)
    assert served.told.checks == [True]


def password(uid: int, word: bytes) -> Auth:
    return Auth(AuthFlavor.AUTH_SYS, AuthUnix(0, complement(word), uid, 0, ()))


@pytest_twisted.ensureDeferred
async def test_a_password_is_checked_beside_the_reactor_and_then_remembered() -> None:
    served = Served()
    argument = CreateArgs(NiId(4, 3), (prop("name", "bob"),), NI_INDEX_NULL, None)
    first = served.raw("CREATE", argument, STRANGER, password(0, b"secret"))
    assert not isinstance(first, Encoded), "DES crypt is not done on the reactor's thread"
    assert value("CREATE", await first).status == NiStatus.NI_OK
    second = served.raw("CREATE", create("carl", 4), STRANGER, password(0, b"secret"))
    assert value("CREATE", second).status == NiStatus.NI_OK
    wrong = served.raw("CREATE", create("dora", 5), STRANGER, password(0, b"Secret"))
    assert value("CREATE", await wrong).status == NiStatus.NI_AUTHERROR
    assert served.told.changes == ["CREATE", "CREATE"]


def test_a_bind_that_is_not_served_is_silent_or_fails() -> None:
    yes, no = Binding(b"local", 0xC02AAC05), Binding(b"local", 0x0A000009)
    assert Served()("BIND", yes, STRANGER) is None
    assert Served().raw("BIND", no, STRANGER) is NO_REPLY
    with pytest.raises(AcceptError) as caught:
        Served(APPLE).raw("BIND", no, STRANGER)
    assert caught.value.reply.endswith(AcceptStatus.SYSTEM_ERR.to_bytes(4, "big"))


def test_a_reply_beyond_all_measure_is_a_system_error() -> None:
    served = Served()
    served.domain.tree.limits = attrs.evolve(LIMITS, reply=64)
    with pytest.raises(AcceptError):
        served.raw("LISTALL", NiId(1, 0))


def test_rparent_looks_for_the_parent_first() -> None:
    served = Served()
    answering = ensureDeferred(served.raw("RPARENT"))
    assert answering.result == Result(NiStatus.NI_NETROOT, None)
    assert served.told.searches == 1


def test_readall_is_streamed_and_counted() -> None:
    served = Served()
    outcome = served.raw("READALL", 1)
    assert isinstance(outcome, Streamed)
    chunks = iter(outcome.chunks)
    begun = next(chunks)
    assert served.domain.surroundings.sending == 1
    changed = served("CREATE", create(), ROOT_HERE)
    assert changed.status == NiStatus.NI_OK
    body = codec(NETINFO.by_name["READALL"].result).parse_exact(begun + b"".join(chunks)).body
    assert served.domain.surroundings.sending == 0
    assert [each.id.object for each in body.objects] == list(range(10)), "as it was when the call came"
    assert body.checksum == 82


def test_a_stream_that_is_given_up_is_no_longer_counted() -> None:
    served = Served()
    chunks = iter(served.raw("READALL", 1).chunks)
    next(chunks)
    chunks.close()
    assert served.domain.surroundings.sending == 0


def test_readall_of_the_same_checksum_sends_nothing() -> None:
    assert Served()("READALL", 82) == Result(NiStatus.NI_OK, ReadallBody(0, 0, ()))


def test_readall_is_for_this_host_and_the_domain_s_servers() -> None:
    served = Served(guards=Guards())
    assert served("READALL", 1, USER_HERE).status == NiStatus.NI_OK
    assert served("READALL", 1, STRANGER).status == NiStatus.NI_PERM
    body = served("READALL", 1, Address("192.42.172.1", 2000)).body
    hashes = [p.values for each in body.objects for p in each.properties if p.name == b"passwd"]
    assert all(hashes), "a clone receives the passwords"
    assert len(hashes) == 2


def test_a_clone_sends_nothing_as_a_whole() -> None:
    assert Served(clone=True)("READALL", 1) == Result(NiStatus.NI_NOTMASTER, None)


def test_writes_wait_while_apple_s_master_sends() -> None:
    served = Served(APPLE)
    chunks = iter(served.raw("READALL", 1).chunks)
    next(chunks)
    argument = CreateArgs(NiId(4, 2), (), NI_INDEX_NULL, None)
    assert served("CREATE", argument, ROOT_HERE).status == NiStatus.NI_MASTERBUSY
    list(chunks)
    assert served("CREATE", argument, ROOT_HERE).status == NiStatus.NI_OK


def test_resync_and_crashed_reach_replication() -> None:
    master = Served()
    assert master("RESYNC", None, USER_HERE) == NiStatus.NI_OK
    assert master("RESYNC", None, STRANGER) == NiStatus.NI_OK
    assert master("CRASHED", 5, STRANGER) is None
    assert (master.told.resyncs, master.told.checks) == ([True, False], [])
    clone = Served(clone=True)
    assert clone("RESYNC", None, STRANGER) == NiStatus.NI_OK
    assert clone("CRASHED", 82, STRANGER) is None, "its own checksum"
    assert clone("CRASHED", 5, Address("192.42.172.1", 1000)) is None
    assert (clone.told.resyncs, clone.told.checks) == ([], [False, True])


def test_statistics_are_brought_up_to_date_first() -> None:
    served = Served(APPLE)

    def describe() -> None:
        served.domain.surroundings.connections = (3, 4, 1024, 0)

    served.service.describe = describe
    told = {each.name: each.values for each in served("STATISTICS")}
    assert told[b"connections"] == (b"3", b"4", b"1024", b"0")


def test_each_call_of_a_connection_has_its_own_credential() -> None:
    """The polling clients of Mac OS X ask for the checksum alone with theirs (NETINFO 2.7)."""
    served = Served(APPLE)
    short = password(0, b"checksum")
    asked = [AUTH_NONE, short, AUTH_NONE, short]
    assert [len(served.raw("STATISTICS", credential=each)) for each in asked] == [44, 1, 44, 1]


def test_every_procedure_is_served() -> None:
    assert set(procedures.TABLE) == {procedure.number for procedure in NETINFO.procedures}


# --- the short cut ----------------------------------------------------------------------------------------------------


class Plain:
    """A service without its short cut."""

    program = NETINFO

    def __init__(self, service: DomainService) -> None:
        self.serve = service.serve
        self.admit = service.admit


class Beside:
    """The same calls, as bytes, to two equal domains, of which one may take the short cut; each peer on a connection of
    its own."""

    def __init__(self, make: Callable[[], DomainService]) -> None:
        self.quick, self.plain = make(), make()
        self._dispatchers = Dispatcher([self.quick]), Dispatcher([Plain(self.plain)])
        self._connections: dict[Address, tuple[Origin, ...]] = {}

    def ask(self, record: bytes, peer: Address) -> Any:
        """What both answer."""
        if peer not in self._connections:
            self._connections[peer] = tuple(Origin(each, "tcp", peer, LOCAL) for each in self._dispatchers)
        quick, plain = (self._answer(connection, record) for connection in self._connections[peer])
        assert quick == plain
        assert self.quick.domain.calls == self.plain.domain.calls
        return quick

    def _answer(self, connection: Origin, record: bytes) -> Any:
        outcome = connection.answer(record)
        if isinstance(outcome, Later):
            done: list[Any] = []
            Deferred.fromCoroutine(connection.finish(outcome)).addCallback(done.append)
            (outcome,) = done
        return [outcome.header, *outcome.chunks] if isinstance(outcome, Flow) else outcome


@pytest.mark.parametrize(
    ("name", "generation"), [("next-calls", NEXT), ("apple-calls", APPLE), ("next-tools", NEXT)]
)
def test_short_cut_gives_what_the_plain_way_gives_on_recorded_calls(
    name: str, generation: Generation
) -> None:
    def make() -> DomainService:
        told = Told()
        domain = fresh(generation, b"vm", "192.0.2.2")
        domain.access.clock = lambda: 0.0
        return DomainService(domain, lambda *_: True, told.find_parent, told)

    beside = Beside(make)
    for exchange in recorded(name):
        procedure, credential = exchange.procedure, exchange.caller.credential
        for xid in (1,) if procedure.mutates else (1, 2, 3):
            beside.ask(build_call(xid, NETINFO, procedure, exchange.argument, credential), USER_HERE)
    assert beside.quick.domain.tree.checksum == beside.plain.domain.tree.checksum


IDS = st.builds(NiId, st.integers(0, 11), st.integers(0, 3))
WORDS = st.sampled_from([b"name", b"passwd", b"uid", b"x", b"alpha", b"ann", b"101", b"a\0b"])
INDEXES = st.integers(0, 4)
PROPERTIES = st.lists(st.builds(lambda name, value: Property(name, (value,)), WORDS, WORDS), max_size=3)
READS = st.one_of(
    st.tuples(st.sampled_from(["PING", "ROOT", "STATISTICS"]), st.none()),
    st.tuples(st.sampled_from(["SELF", "PARENT", "CHILDREN", "READ", "LISTPROPS", "LISTALL"]), IDS),
    st.tuples(st.sampled_from(["LOOKUP", "LOOKUPREAD"]), st.builds(LookupArgs, IDS, WORDS, WORDS)),
    st.tuples(st.just("LIST"), st.builds(ListArgs, IDS, WORDS)),
    st.tuples(st.just("READPROP"), st.builds(PropArgs, IDS, INDEXES)),
    st.tuples(st.just("READNAME"), st.builds(NameIndexArgs, IDS, INDEXES, INDEXES)),
)
WRITES = st.tuples(st.sampled_from(["CREATE", "WRITE", "DESTROY", "trust"]), st.integers(0, 11), PROPERTIES)


@given(
    st.lists(st.tuples(READS, st.sampled_from([b"", b"\0\0\0\1"])), min_size=1, max_size=6),
    st.lists(WRITES, max_size=8),
    st.sampled_from([NEXT, APPLE]),
)
@settings(deadline=None)
def test_short_cut_gives_what_the_plain_way_gives(
    reads: list[Any], writes: list[Any], generation: Generation
) -> None:
    """The same reads again and again, by callers who see passwords and one who does not, with changes in between."""

    def make() -> DomainService:
        service = Served(generation, Guards()).service
        service.domain.access.clock = lambda: 0.0  # Apple's STATISTICS tells the time that calls took
        service.domain.microseconds = [0.0] * len(NETINFO.procedures)
        return service

    beside = Beside(make)

    def call(name: str, argument: Any, rest: bytes = b"", peer: Address = ROOT_HERE) -> None:
        beside.ask(build_call(1, NETINFO, NETINFO.by_name[name], argument) + rest, peer)

    def read() -> None:
        for (name, argument), rest in reads:
            for peer in (USER_HERE, STRANGER, STRANGER):
                call(name, argument, rest, peer)

    read()
    for name, number, properties in writes:
        directories = beside.plain.domain.tree.directories
        here = directories.get(number, directories[0])
        if name == "trust":
            networks = tuple(b"192.0.2" for _ in properties)
            trust = (Property(b"trusted_networks", networks),)
            call("WRITE", WriteArgs(directories[0].id, trust))
        elif name == "WRITE":
            call("WRITE", WriteArgs(here.id, tuple(properties)))
        elif name == "CREATE":
            call("CREATE", CreateArgs(here.id, tuple(properties), NI_INDEX_NULL, None))
        else:
            call("DESTROY", DestroyArgs(directories[here.parent].id, here.id))
        read()


def test_short_cut_is_taken() -> None:
    served = Served(guards=Guards())
    read = NETINFO.by_name["READ"]
    sent = codec(read.argument).build(NiId(5, 0))
    near = served.service.recall(read, AUTH_NONE, USER_HERE)
    far = served.service.recall(read, AUTH_NONE, STRANGER)
    assert near is not None
    assert far is not None
    assert near(sent) is None
    reply = served.raw("READ", NiId(5, 0)).data
    assert near(sent) is reply
    assert far(sent) is None, "who sees no passwords has replies of his own"
    assert served.domain.calls[read.number] == 2
    assert served("WRITE", WriteArgs(served.domain.tree.directories[5].id, ()), ROOT_HERE).status == 0
    assert near(sent) is None
    assert served.service.recall(NETINFO.by_name["CREATE"], AUTH_NONE, USER_HERE) is None
