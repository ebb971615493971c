"""A domain as a client sees it: servers that fail, the master for writes, credentials (NETINFO 3.3, 4.5)."""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from netinfo.access import HISTORIC, Access, Caller
from netinfo.client.domain import Domain, Options
from netinfo.client.errors import CannotConnectError, CommunicationError, NetInfoError
from netinfo.client.names import DirectServer, Portmapper, ServerName, TaggedServer
from netinfo.client.network import Answer, run
from netinfo.client.servers import first_alive
from netinfo.domain import Domain as Rules
from netinfo.generation import NEXT
from netinfo.properties import values_of
from netinfo.rawformat import load, plant
from tests.netinfo.calls import FakeNetwork
from wire.codec import codec
from wire.formats.errors import Damage, FormatError
from wire.formats.netinfo import NETINFO, NI_INDEX_NULL, NiId, NiStatus, Property, Result
from wire.formats.nibind import NIBIND, AddrInfo
from wire.formats.portmap import PORTMAP, CallitResult
from wire.formats.rpc import AUTH_NONE, AuthUnix
from wire.transport.errors import ConnectError, RpcConnectionLost, RpcError, RpcTimeout
from wire.transport.tap import Address

TEXT = b"""{ "master" = ( "srv/network" ); CHILDREN = (
  { "name" = ( "machines" ); CHILDREN = (
    { "name" = ( "srv" ); "ip_address" = ( "10.0.0.9", "10.0.0.1" ); "serves" = ( "./network" ); },
    { "name" = ( "copy" ); "ip_address" = ( "10.0.0.2" ); "serves" = ( "./network" ); } ) },
  { "name" = ( "users" ); CHILDREN = (
    { "name" = ( "ann" ); "uid" = ( "101" ); }, { "name" = ( "odd" ); "uid" = ( "x" ); },
    { "name" = ( "nobody" ); "uid" = ( "-2" ); }, { "name" = ( "a/b" ); } ) } ) }"""
SU = Caller("127.0.0.1", own=True, superuser=True)


@attrs.define(slots=False)
class World:
    """Hosts 10.0.0.1 (the master), .2 and .3 serve one domain; those in `down` cannot be reached."""

    down: set[str] = attrs.Factory(set)
    breaks: list[Exception] = attrs.Factory(list)
    """What the next calls to a domain server raise."""
    calls: list[tuple[str, str]] = attrs.Factory(list)
    rules: Rules = attrs.Factory(
        lambda: Rules(b"network", plant(load(TEXT), NEXT), access=Access(NEXT, HISTORIC))
    )

    def __attrs_post_init__(self) -> None:
        self.network = FakeNetwork(self._answer)
        connect = self.network.connect_tcp

        async def connect_tcp(host: str, port: int, program: Any, patience: float) -> Any:
            if host in self.down:
                raise ConnectError(f"No connection to {host}.")
            return await connect(host, port, program, patience)

        self.network.connect_tcp = connect_tcp  # type: ignore[method-assign]

    def _answer(self, address: Address, program: Any, procedure: Any, argument: Any) -> Any:
        if address.host in self.down:
            raise RpcTimeout(f"{address.host} is silent.")
        if program is PORTMAP:
            return 766
        if program is NIBIND:
            return (
                Result(NiStatus.NI_OK, AddrInfo(877, 878))
                if argument == b"network"
                else Result(NiStatus.NI_NOTAG, None)
            )
        self.calls.append((address.host, procedure.name))
        if self.breaks:
            raise self.breaks.pop(0)
        return self.rules.call(procedure.number, argument, SU)

    def domain(self, *hosts: str, **options: Any) -> Domain:
        servers: list[ServerName] = [TaggedServer(Portmapper(host), b"network") for host in hosts]
        return Domain(self.network, servers, Options(**options))

    def take(self) -> list[tuple[str, str]]:
        calls, self.calls = self.calls, []
        return calls


def test_a_server_is_found_through_portmapper_and_binder() -> None:
    world = World()
    assert run(world.domain("10.0.0.1").root()).object == 0
    assert world.network.opened == [Address("10.0.0.1", 878)]


def test_a_direct_server_needs_neither() -> None:
    world = World()
    domain = Domain(world.network, [DirectServer("10.0.0.1", 10877)])
    assert run(domain.root()).object == 0
    assert world.network.opened == [Address("10.0.0.1", 10877)]


def test_one_connection_serves_all_calls() -> None:
    world = World()
    domain = world.domain("10.0.0.1")
    for _ in range(3):
        run(domain.root())
    assert len(world.network.opened) == 1
    domain.close()
    run(domain.root())
    assert len(world.network.opened) == 2


def test_calls_at_once_come_to_one_connection() -> None:
    world = World()
    domain = world.domain("10.0.0.1")
    connecting: list[Deferred[None]] = []
    connect = world.network.connect_tcp

    async def slow(host: str, port: int, program: Any, patience: float) -> Any:
        connecting.append(Deferred())
        await connecting[-1]
        return await connect(host, port, program, patience)

    world.network.connect_tcp = slow  # type: ignore[method-assign]
    calls: list[Any] = [Deferred.fromCoroutine(domain.root()) for _ in range(3)]
    for each in connecting:
        each.callback(None)
    assert [call.result.object for call in calls] == [0, 0, 0]
    assert len(world.network.still_open()) == 1
    domain.close()
    assert world.network.still_open() == []


@pytest.mark.parametrize("name", ["ROOT", "WRITE"])
def test_a_connection_found_closed_is_opened_again_once(name: str) -> None:
    world = World()
    domain = world.domain("10.0.0.1")
    run(domain.root())
    world.breaks = [RpcConnectionLost("closed while idle")]
    if name == "ROOT":
        run(domain.root())
    else:
        run(domain.write(run(domain.find(b"/users")), (Property(b"name", (b"users",)),)))
    assert len(world.network.opened) == 2
    world.breaks = [RpcConnectionLost("closed"), RpcConnectionLost("closed")]
    with pytest.raises(CommunicationError):
        run(domain.root())


def test_reads_go_to_the_next_server_when_one_fails() -> None:
    world = World()
    domain = world.domain("10.0.0.1", "10.0.0.2", "10.0.0.3")
    world.down = {"10.0.0.1", "10.0.0.2"}
    run(domain.ping())
    assert world.take() == [("10.0.0.3", "PING")]
    run(domain.ping())
    assert world.take() == [("10.0.0.3", "PING")], "and stay there"


def test_reads_fail_over_in_the_middle_of_the_day() -> None:
    world = World()
    domain = world.domain("10.0.0.1", "10.0.0.2")
    run(domain.ping())
    world.breaks = [RpcTimeout("silent")]
    run(domain.ping())
    assert world.take() == [("10.0.0.1", "PING"), ("10.0.0.1", "PING"), ("10.0.0.2", "PING")]


def test_the_first_whose_binder_answers_is_taken_next() -> None:
    world = World(down={"10.0.0.1", "10.0.0.2"})
    world.network.multicall_answer = lambda targets: Answer(1, "10.0.0.3", None)
    domain = world.domain("10.0.0.1", "10.0.0.2", "10.0.0.3")
    run(domain.ping())
    assert world.network.opened == [Address("10.0.0.3", 878)], "and nobody waited for the second"
    ((targets, waits),) = world.network.multicalls
    assert [target.host for target in targets] == ["10.0.0.2", "10.0.0.3"]
    assert waits == (0.5, 1.0)
    assert [str(server) for server in domain.servers] == [
        "10.0.0.3/network",
        "10.0.0.1/network",
        "10.0.0.2/network",
    ]


def test_a_binder_that_answers_for_a_dead_server_hides_no_other() -> None:
    world = World(breaks=[RpcTimeout("silent")] * 2)
    world.network.multicall_answer = lambda targets: Answer(0, targets[0].host, None)
    run(world.domain("10.0.0.1", "10.0.0.2", "10.0.0.3").ping())
    assert [host for host, _ in world.take()] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_only_a_binder_that_knows_the_tag_counts_as_alive() -> None:
    world = World(down={"10.0.0.1"})
    servers = [TaggedServer(Portmapper(host), b"network") for host in ("10.0.0.2", "unknown", "10.0.0.3")]
    assert run(first_alive(world.network, servers)) is None
    ((targets, _),) = world.network.multicalls
    assert [target.host for target in targets] == ["10.0.0.2", "10.0.0.3"]
    result = codec(NIBIND.by_name["GETREGISTER"].result)
    known = result.build(Result(NiStatus.NI_OK, AddrInfo(877, 878)))
    unknown = result.build(Result(NiStatus.NI_NOTAG, None))
    good = [targets[0].is_good(CallitResult(766, passed_on)) for passed_on in (known, unknown, b"\0")]
    assert good == [True, False, False]


def test_an_abort_leaves_no_half_conversation() -> None:
    world = World(breaks=[KeyboardInterrupt()])  # type: ignore[list-item]
    domain = world.domain("10.0.0.1")
    with pytest.raises(KeyboardInterrupt):
        run(domain.ping())
    run(domain.ping())
    assert len(world.network.opened) == 2


def test_no_answer_is_another_error_than_no_connection() -> None:
    with pytest.raises(CommunicationError) as caught:
        run(World(breaks=[RpcTimeout("silent")]).domain("10.0.0.1").ping())
    assert not isinstance(caught.value, CannotConnectError)


@pytest.mark.parametrize("name", ["LOOKUP", "WRITEPROP"])
def test_an_argument_that_is_too_long_is_said_to_be(name: str) -> None:
    def answer(*call: Any) -> Any:
        raise FormatError(Damage.LIMIT, "values[0]", 16)

    domain = Domain(FakeNetwork(answer), [DirectServer("10.0.0.1", 1)])
    with pytest.raises(CommunicationError, match=rf"{name} cannot carry this argument: values\[0\]"):
        run(domain.call(name, None))


def test_a_server_that_refuses_is_not_asked_elsewhere() -> None:
    world = World(breaks=[RpcError("AUTH_TOOWEAK")])
    with pytest.raises(CommunicationError, match=r"AUTH_TOOWEAK"):
        run(world.domain("10.0.0.1", "10.0.0.2").ping())
    assert world.take() == [("10.0.0.1", "PING")]


def test_servers_that_connect_and_never_answer_are_tried_once_each() -> None:
    world = World(breaks=[RpcTimeout("silent")] * 20)
    with pytest.raises(CommunicationError):
        run(world.domain("10.0.0.1", "10.0.0.2", "10.0.0.3").ping())
    assert len(world.take()) == 3


def test_without_any_server_a_read_fails_at_once_or_after_its_patience() -> None:
    world = World(down={"10.0.0.1", "10.0.0.2"})
    with pytest.raises(CannotConnectError):
        run(world.domain("10.0.0.1", "10.0.0.2").ping())
    assert world.network.slept == []
    with pytest.raises(CannotConnectError):
        run(world.domain("10.0.0.1", patience=30.0).ping())
    assert world.network.slept == [0.0, 4.0, 8.0, 12.0]


def test_a_server_that_comes_back_is_found_by_the_patient() -> None:
    world = World(down={"10.0.0.1"})

    async def sleep(seconds: float) -> None:
        if seconds:
            world.down = set()

    world.network.sleep = sleep  # type: ignore[method-assign]
    run(world.domain("10.0.0.1", patience=60.0).ping())


def test_writes_go_to_the_master_which_any_of_its_addresses_names() -> None:
    world = World()
    domain = world.domain("10.0.0.2", "10.0.0.1")
    users = run(domain.find(b"/users"))
    world.take()
    run(domain.create(users, (Property(b"name", (b"bob",)),)))
    hosts = [host for host, name in world.take() if name == "CREATE"]
    assert hosts == ["10.0.0.1"]
    run(domain.ping())
    assert world.take() == [("10.0.0.1", "PING")], "reads stay with it"


def test_writes_never_fail_over() -> None:
    world = World()
    domain = world.domain("10.0.0.1", "10.0.0.2")
    users = run(domain.find(b"/users"))
    users = run(domain.write(users, ()))
    world.take()
    world.breaks = [RpcTimeout("silent")]
    with pytest.raises(CommunicationError):
        run(domain.write(users, ()))
    assert world.take() == [("10.0.0.1", "WRITE")]


def test_a_master_that_is_none_of_the_servers_is_named() -> None:
    world = World()
    domain = world.domain("10.0.0.2", "10.0.0.3")
    with pytest.raises(NetInfoError) as caught:
        run(domain.write(NiId(0, 1), ()))
    assert caught.value.status == NiStatus.NI_CANTFINDADDRESS
    assert "srv/network" in str(caught.value)


def test_the_only_server_is_taken_for_the_master() -> None:
    world = World()
    domain = world.domain("10.0.0.2")
    users = run(domain.find(b"/users"))
    assert run(domain.write(users, ())).instance == users.instance + 1
    assert [name for _, name in world.take()].count("LOOKUP") == 1


def test_reads_can_be_made_to_go_to_the_master() -> None:
    world = World()
    domain = world.domain("10.0.0.2", "10.0.0.1", reads_from_master=True)
    run(domain.ping())
    assert world.take()[-1] == ("10.0.0.1", "PING")


def test_an_unknown_tag_is_said_to_be_unknown() -> None:
    world = World()
    domain = Domain(world.network, [TaggedServer(Portmapper("10.0.0.1"), b"nope")])
    with pytest.raises(NetInfoError, match=r"No such tag"):
        run(domain.root())


def test_statuses_name_the_object() -> None:
    domain = World().domain("10.0.0.1")
    for coroutine, status, about in [
        (domain.read(NiId(99, 0)), NiStatus.NI_BADID, "directory 99"),
        (domain.find(b"/users/zed"), NiStatus.NI_NODIR, "/users/zed"),
        (domain.readprop(NiId(0, 0), 7), NiStatus.NI_NOPROP, "the root directory, property 7"),
        (domain.readname(NiId(0, 0), 0, 7), NiStatus.NI_NONAME, "the root directory, property 0, value 7"),
        (domain.write(NiId(0, 99), ()), NiStatus.NI_STALE, "the root directory"),
        (domain.rparent(), NiStatus.NI_NETROOT, "parent of 10.0.0.1/network"),
    ]:
        with pytest.raises(NetInfoError) as caught:
            run(coroutine)
        assert (caught.value.status, caught.value.about) == (status, about)


def test_every_reading_call() -> None:
    domain = World().domain("10.0.0.1")
    users = run(domain.find(b"/users"))
    (ann,) = run(domain.lookup(users, b"name", b"ann"))
    here = NiId(ann, 0)
    assert run(domain.self_id(here)).object == ann
    assert run(domain.parent(here)) == users.object
    assert ann in run(domain.children(users))
    assert values_of(run(domain.read(here)), b"uid") == (b"101",)
    assert run(domain.read_with_id(here))[0].object == ann
    assert values_of(run(domain.lookupread(users, b"uid", b"101")), b"name") == (b"ann",)
    assert run(domain.listprops(here)) == (b"name", b"uid")
    assert run(domain.readprop(here, 1)) == (b"101",)
    assert run(domain.readname(here, 1, 0)) == b"101"
    assert run(domain.list(users, b"uid"))[0].names == (b"101",)
    assert len(run(domain.listall(users))) == 4
    assert run(domain.checksum()) == run(domain.readall()).checksum
    run(domain.resync())
    run(domain.crashed(1))


def test_every_changing_call() -> None:
    domain = World().domain("10.0.0.1")
    users = run(domain.find(b"/users"))
    made = run(domain.create(users, (Property(b"name", (b"bob",)),), 0))
    assert made.parent == NiId(users.object, users.instance + 1)
    here = run(domain.createprop(made.child, Property(b"uid", (b"7",))))
    here = run(domain.renameprop(here, 1, b"gid"))
    here = run(domain.writeprop(here, 1, (b"8", b"9")))
    here = run(domain.createname(here, 1, b"10", 0))
    here = run(domain.writename(here, 1, 1, b"x"))
    here = run(domain.destroyname(here, 1, 2))
    assert run(domain.read(here)) == (Property(b"name", (b"bob",)), Property(b"gid", (b"10", b"x")))
    here = run(domain.destroyprop(here, 0))
    here = run(domain.write(here, ()))
    assert run(domain.read(here)) == ()
    run(domain.destroy(made.parent, here))
    with pytest.raises(NetInfoError):
        run(domain.read(here))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/", 0),
        (b"/machines/name=srv", 2),
        (b"/users/uid=101", 5),
        (b"//users//ann", 5),
        (b"/users/a\\/b", 8),
    ],
)
def test_paths_lead_to_directories(path: bytes, found: int) -> None:
    assert run(World().domain("10.0.0.1").find(path)).object == found


def test_a_relative_path_starts_where_it_is_told() -> None:
    domain = World().domain("10.0.0.1")
    users = run(domain.find(b"/users"))
    assert run(domain.find(b"ann", users)).object == 5
    assert run(domain.find(b"", users)) == users


def test_a_user_is_looked_up_in_the_domain() -> None:
    domain = World().domain("10.0.0.1")
    assert domain.credential == AUTH_NONE
    run(domain.authenticate(b"ann", "pw"))
    body = domain.credential.body
    assert isinstance(body, AuthUnix)
    assert (body.uid, body.gid, body.gids, body.machine) == (101, 0, (), bytes(b ^ 0xFF for b in b"pw"))
    run(domain.authenticate(b"nobody", ""))
    assert domain.credential.body.uid == 0xFFFFFFFE  # type: ignore[union-attr]


@pytest.mark.parametrize("user", [b"zed", b"odd", b"a/b"])
def test_a_user_without_a_number_is_no_user(user: bytes) -> None:
    with pytest.raises(NetInfoError) as caught:
        run(World().domain("10.0.0.1").authenticate(user, "pw"))
    assert caught.value.status == NiStatus.NI_NOUSER


def test_a_fork_gets_a_connection_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    domain = world.domain("10.0.0.1")
    run(domain.ping())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    run(domain.ping())
    assert len(world.network.opened) == 2


def test_where_says_at_the_end_by_itself() -> None:
    domain = World().domain("10.0.0.1")
    root = run(domain.root())
    run(domain.create(root, (Property(b"name", (b"last",)),), NI_INDEX_NULL))
    assert [e.names for e in run(domain.list(root, b"name"))][-1] == (b"last",)


def test_the_procedures_are_the_protocol_s() -> None:
    with pytest.raises(KeyError):
        run(World().domain("10.0.0.1").call("NONSENSE"))
    assert NETINFO.by_name["ROOT"].number == 2
