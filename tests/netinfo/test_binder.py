"""The binder's nine procedures, its permission rule and its registry (NETINFO 3.6, 4.2, 11)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from netinfo.addresses import to_number
from netinfo.binder import BINDS_AT_ONCE, BinderService, DomainError, Registry, is_tag
from netinfo.client.network import run
from netinfo.credential import credential
from netinfo.generation import APPLE, NEXT, Generation
from tests.netinfo.calls import ROOT_HERE, STRANGER, USER_HERE, incoming
from wire.formats.netinfo import NiStatus, Result
from wire.formats.nibind import NIBIND, AddrInfo, BindArgs, CloneArgs, Registration
from wire.formats.rpc import AUTH_NONE, AcceptStatus, Auth, AuthStatus
from wire.transport.errors import RpcTimeout
from wire.transport.rpc_server import NO_REPLY, AcceptError, Reject
from wire.transport.tap import Address, Transport

NETWORK = Registration(b"network", AddrInfo(877, 878))
LOCAL = Registration(b"local", AddrInfo(1033, 1033))


def tags(registry: Registry) -> list[bytes]:
    return [entry.tag for entry in registry.entries()]


def test_registering_replaces_and_appends() -> None:
    registry = Registry()
    assert registry.add(LOCAL)
    assert registry.add(NETWORK)
    assert registry.add(Registration(b"local", AddrInfo(1, 2)))
    assert registry.entries() == (Registration(b"local", AddrInfo(1, 2)), NETWORK)


def test_the_last_entry_moves_into_the_hole() -> None:
    registry = Registry()
    for tag in (b"a", b"b", b"c", b"d"):
        registry.add(Registration(tag, AddrInfo(1, 2)))
    registry.remove(b"b")
    assert tags(registry) == [b"a", b"d", b"c"]
    registry.remove(b"c")
    registry.remove(b"nope")
    assert tags(registry) == [b"a", b"d"]


def test_thirty_two_domains_are_all_that_listreg_can_tell() -> None:
    registry = Registry()
    for number in range(32):
        assert registry.add(Registration(b"d%d" % number, AddrInfo(1, 2)))
    assert not registry.add(NETWORK)
    assert registry.add(Registration(b"d31", AddrInfo(3, 4)))


@pytest.mark.parametrize("tag", [b"network", b"local", b"a", b"A.b_c-9", b"x" * 64])
def test_tags(tag: bytes) -> None:
    assert is_tag(tag)


@pytest.mark.parametrize(
    "tag", [b"", b".", b"..", b"../x", b"a/b", b".hidden", b"x" * 65, b"a b", b"a\0b", b"\xff", b"a\n"]
)
def test_what_could_leave_the_directory_is_no_tag(tag: bytes) -> None:
    assert not is_tag(tag)


@attrs.define
class FakeDomains:
    """The program that the binder lives in."""

    done: list[Any] = attrs.Factory(list)
    fails: bool = False
    binds: bool | Exception = True
    alive: bool = True
    aliases: dict[tuple[bytes, str], bytes] = attrs.Factory(dict)
    password: bytes = b"secret"

    def real_tag(self, tag: bytes, client: str) -> bytes:
        return self.aliases.get((tag, client), tag)

    async def is_root_password(self, password: bytes) -> bool:
        return password == self.password

    async def create_master(self, tag: bytes) -> None:
        self._do(("master", tag))

    async def create_clone(self, args: CloneArgs) -> None:
        self._do(("clone", args))

    async def destroy(self, tag: bytes) -> None:
        self._do(("destroy", tag))

    def _do(self, what: Any) -> None:
        if self.fails:
            raise DomainError("the disk is full")
        self.done.append(what)

    async def asks_bind(self, registration: Registration, args: BindArgs) -> bool:
        self.done.append((registration.tag, args))
        if isinstance(self.binds, Exception):
            raise self.binds
        return self.binds

    async def is_alive(self, registration: Registration) -> bool:
        return self.alive


class Bound:
    """A binder with two domains; `bound("LISTREG")` calls it."""

    def __init__(self, generation: Generation = NEXT, **domains: Any) -> None:
        self.domains = FakeDomains(**domains)
        self.registry = Registry()
        self.registry.add(LOCAL)
        self.registry.add(NETWORK)
        self.now = 0.0
        self.service = BinderService(
            self.registry,
            self.domains,
            lambda peer, local, transport: peer == ROOT_HERE,
            generation,
            clock=lambda: self.now,
        )

    def __call__(
        self, name: str, argument: Any = None, peer: Address = ROOT_HERE, credential: Auth = AUTH_NONE
    ) -> Any:
        result = self.service.serve(incoming(NIBIND, name, argument, peer, credential=credential))
        return run(result) if isinstance(result, Coroutine) else result


def test_reading_is_for_everybody() -> None:
    bound = Bound()
    assert bound("PING", peer=STRANGER) is None
    assert bound("GETREGISTER", b"network", STRANGER) == Result(NiStatus.NI_OK, AddrInfo(877, 878))
    assert bound("GETREGISTER", b"nope", STRANGER) == Result(NiStatus.NI_NOTAG, None)
    assert bound("LISTREG", peer=STRANGER) == Result(NiStatus.NI_OK, (LOCAL, NETWORK))


def test_names_end_at_their_first_nul() -> None:
    bound = Bound()
    assert bound("GETREGISTER", b"network\0junk").status == NiStatus.NI_OK
    assert bound("REGISTER", Registration(b"new\0x", AddrInfo(1, 2))) == NiStatus.NI_OK
    assert tags(bound.registry)[-1] == b"new"


CHANGES: list[tuple[str, Any]] = [
    ("REGISTER", Registration(b"new", AddrInfo(1, 2))),
    ("UNREGISTER", b"network"),
    ("CREATEMASTER", b"new"),
    ("CREATECLONE", CloneArgs(b"new", b"srv", 0x7F000001, b"network")),
    ("DESTROYDOMAIN", b"network"),
]


@pytest.mark.parametrize(("name", "argument"), CHANGES)
@pytest.mark.parametrize("peer", [STRANGER, USER_HERE])
def test_changes_are_the_superuser_s(name: str, argument: Any, peer: Address) -> None:
    bound = Bound()
    assert bound(name, argument, peer) == NiStatus.NI_PERM
    assert tags(bound.registry) == [b"local", b"network"]
    assert not bound.domains.done


def test_the_superuser_registers_and_unregisters() -> None:
    bound = Bound()
    assert bound("REGISTER", Registration(b"new", AddrInfo(600, 601))) == NiStatus.NI_OK
    assert bound("GETREGISTER", b"new").body == AddrInfo(600, 601)
    assert bound("UNREGISTER", b"new") == NiStatus.NI_OK
    assert bound("UNREGISTER", b"new") == NiStatus.NI_OK, "even if absent"
    assert bound("GETREGISTER", b"new").status == NiStatus.NI_NOTAG


@pytest.mark.parametrize(
    "registration",
    [
        Registration(b"../x", AddrInfo(1, 2)),
        Registration(b"x", AddrInfo(65536, 2)),
        Registration(b"", AddrInfo(1, 2)),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(registration: Registration) -> None:
    assert Bound()("REGISTER", registration) == NiStatus.NI_SYSTEMERR


def test_domains_are_made_and_unmade() -> None:
    bound = Bound()
    clone = CloneArgs(b"copy", b"srv", 0x7F000001, b"network")
    assert bound("CREATEMASTER", b"new") == NiStatus.NI_OK
    assert bound("CREATECLONE", clone) == NiStatus.NI_OK
    assert bound("CREATEMASTER", b"network") == NiStatus.NI_DUPTAG
    assert bound("CREATECLONE", CloneArgs(b"local", b"srv", 0x7F000001, b"network")) == NiStatus.NI_DUPTAG
    assert bound("DESTROYDOMAIN", b"nope") == NiStatus.NI_NOTAG
    assert bound("DESTROYDOMAIN", b"network") == NiStatus.NI_OK
    assert bound("GETREGISTER", b"network").status == NiStatus.NI_NOTAG
    assert bound.domains.done == [("master", b"new"), ("clone", clone), ("destroy", b"network")]


@pytest.mark.parametrize("tag", [b"", b"../../etc/passwd", b"bad/tag", b".nidb"])
def test_a_tag_never_names_a_path(tag: bytes) -> None:
    bound = Bound()
    assert bound("CREATEMASTER", tag) == NiStatus.NI_SYSTEMERR
    assert bound("CREATECLONE", CloneArgs(tag, b"srv", 1, b"network")) == NiStatus.NI_SYSTEMERR
    assert bound("DESTROYDOMAIN", tag) == NiStatus.NI_NOTAG
    assert not bound.domains.done


def test_a_domain_that_cannot_be_made_is_a_system_error() -> None:
    assert Bound(fails=True)("CREATEMASTER", b"new") == NiStatus.NI_SYSTEMERR


def test_a_full_registry_takes_no_new_domain() -> None:
    bound = Bound()
    for number in range(30):
        bound.registry.add(Registration(b"d%d" % number, AddrInfo(1, 2)))
    assert bound("CREATEMASTER", b"new") == NiStatus.NI_NOSPACE
    assert bound("REGISTER", Registration(b"new", AddrInfo(1, 2))) == NiStatus.NI_NOSPACE


ASK = BindArgs(0xC02AAC05, b"local", b"network")


def test_bind_asks_the_tag_s_server() -> None:
    bound = Bound()
    assert bound("BIND", ASK, STRANGER) is None
    assert bound.domains.done == [(b"network", ASK)]


@pytest.mark.parametrize("no", [False, RpcTimeout("silent")])
def test_a_no_is_silence_or_an_error(no: Any) -> None:
    assert Bound(binds=no)("BIND", ASK, STRANGER) is NO_REPLY
    with pytest.raises(AcceptError) as caught:
        Bound(APPLE, binds=no)("BIND", ASK, STRANGER)
    assert caught.value.reply.endswith(AcceptStatus.SYSTEM_ERR.to_bytes(4, "big"))


def test_only_so_many_binds_wait_at_once() -> None:
    bound = Bound()
    waiting: list[Deferred[bool]] = []

    class Slow(FakeDomains):
        async def asks_bind(self, registration: Registration, args: BindArgs) -> bool:
            waiting.append(Deferred())
            return await waiting[-1]

    bound.service.domains = Slow()

    def ask() -> Deferred[Any]:
        return Deferred.fromCoroutine(bound.service.serve(incoming(NIBIND, "BIND", ASK, STRANGER)))

    under_way = [ask() for _ in range(BINDS_AT_ONCE)]
    assert ask().result is NO_REPLY
    assert len(waiting) == BINDS_AT_ONCE
    waiting[0].callback(True)
    assert under_way[0].result is None
    assert not ask().called
    for each in waiting[1:]:
        each.callback(False)


def test_bind_of_an_unknown_tag_asks_nobody() -> None:
    bound = Bound()
    assert bound("BIND", BindArgs(0xC02AAC05, b"local", b"nope"), STRANGER) is NO_REPLY
    assert not bound.domains.done


def test_apple_s_binder_asks_whether_the_server_lives() -> None:
    assert Bound(alive=False)("GETREGISTER", b"network").status == NiStatus.NI_OK
    assert Bound(APPLE, alive=False)("GETREGISTER", b"network").status == NiStatus.NI_NORESPONSE
    assert Bound(APPLE)("GETREGISTER", b"network").body == AddrInfo(877, 878)


def refusal(service: BinderService, number: int, transport: Transport, peer: Address) -> bytes | None:
    try:
        service.admit(number, transport, peer)
    except Reject as reject:
        return reject.reply
    return None


def refused_over(transport: Transport, generation: Generation, peer: Address) -> set[str]:
    service = Bound(generation).service
    refused = set()
    for procedure in NIBIND.procedures:
        if reply := refusal(service, procedure.number, transport, peer):
            assert reply.endswith(AuthStatus.AUTH_TOOWEAK.to_bytes(4, "big"))
            refused.add(procedure.name)
    service.admit(99, transport, peer)  # not its business: PROC_UNAVAIL
    return refused


def test_over_udp_only_what_is_harmless() -> None:
    every_change = {procedure.name for procedure in NIBIND.procedures if procedure.mutates}
    assert refused_over("tcp", NEXT, STRANGER) == refused_over("tcp", APPLE, STRANGER) == set()
    assert refused_over("udp", NEXT, STRANGER) == refused_over("udp", APPLE, USER_HERE) == every_change
    assert refused_over("udp", NEXT, USER_HERE) == every_change - {"REGISTER", "UNREGISTER"}


# --- Apple's additions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument"), CHANGES)
def test_root_s_password_opens_apple_s_binder_to_others(name: str, argument: Any) -> None:
    knows, guesses = credential(7, b"secret"), credential(0, b"guess")
    assert Bound(NEXT)(name, argument, STRANGER, knows) == NiStatus.NI_PERM
    assert Bound(APPLE)(name, argument, STRANGER, guesses) == NiStatus.NI_PERM
    assert Bound(APPLE)(name, argument, STRANGER) == NiStatus.NI_PERM
    assert Bound(APPLE)(name, argument, STRANGER, knows) == NiStatus.NI_OK, "whatever the uid"


def test_guesses_at_root_s_password_are_slowed_down() -> None:
    bound = Bound(APPLE)
    for _ in range(5):
        bound("UNREGISTER", b"x", STRANGER, credential(0, b"guess"))
    knows = credential(0, b"secret")
    assert bound("UNREGISTER", b"x", STRANGER, knows) == NiStatus.NI_PERM
    bound.now = 20.0
    assert bound("UNREGISTER", b"x", STRANGER, knows) == NiStatus.NI_OK


def test_aliases_are_apple_s() -> None:
    aliases = {(b"public", STRANGER.host): b"network"}
    asked = BindArgs(to_number(STRANGER.host), b"local", b"public")
    apple, next_ = Bound(APPLE, aliases=aliases), Bound(NEXT, aliases=aliases)
    assert apple("GETREGISTER", b"public", STRANGER).body == AddrInfo(877, 878)
    assert apple("GETREGISTER", b"public", ROOT_HERE).status == NiStatus.NI_NOTAG, "another client"
    assert apple("BIND", asked, ROOT_HERE) is None, "the client of BIND counts, not who asks for it"
    assert next_("GETREGISTER", b"public", STRANGER).status == NiStatus.NI_NOTAG
    assert next_("BIND", asked) is NO_REPLY
