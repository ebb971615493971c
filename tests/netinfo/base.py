"""Base database B of NETINFO 9, built over the protocol as the spec says, and people who call it."""

from __future__ import annotations

from typing import Any

from netinfo.access import HISTORIC, Access, Caller, Guards
from netinfo.credential import complement
from netinfo.domain import Domain, Surroundings
from netinfo.generation import Generation
from netinfo.passwords import crypt_hash
from netinfo.rawformat import plant
from netinfo.starter import bare_master
from wire.codec import codec
from wire.formats import netinfo as n
from wire.formats.netinfo import NETINFO, NI_INDEX_NULL, CreateArgs, NiId, NiStatus, Property, Result
from wire.formats.rpc import Auth, AuthFlavor, AuthUnix, Procedure

SECRET = crypt_hash(b"secret", "ab")
PW = crypt_hash(b"pw", "cd")

SU = Caller("192.42.172.1", 1000, own=True, superuser=True)
ANON = Caller("192.42.172.9", 2000)


def user(uid: int, password: bytes, address: str = "192.42.172.9") -> Caller:
    """A remote caller with a password in its credential (NETINFO 3.3)."""
    body = AuthUnix(0, complement(password), uid & 0xFFFFFFFF, 0, ())
    return Caller(address, 2000, credential=Auth(AuthFlavor.AUTH_SYS, body))


ANN = user(101, b"pw")


def prop(name: str | bytes, *values: str | bytes) -> Property:
    def encoded(text: str | bytes) -> bytes:
        return text.encode() if isinstance(text, str) else text

    return Property(encoded(name), tuple(map(encoded, values)))


BRANCHES = [
    (1, [prop("name", "ws1", "alpha"), prop("ip_address", "192.42.172.5"), prop("serves", "ws1/local")]),
    (0, [prop("name", "users")]),
    (4, [prop("name", "root"), prop("passwd", SECRET), prop("uid", "0")]),
    (4, [prop("name", "ann"), prop("passwd", PW), prop("uid", "101"), prop("_writers_passwd", "ann")]),
    (0, [prop("name", "printers"), prop("_writers", "*")]),
    (7, [prop("name", "lp"), prop("lp")]),
    (0, [prop("name", "empty")]),
]
"""(parent, properties) of directories 3 to 9, in the order in which they are created."""


def read(domain: Domain, row: Procedure, argument: Any, caller: Caller) -> Any:
    """The result of a reading procedure, asked in every way there is; all must agree."""
    sent = codec(row.argument).build(argument)
    recall = domain.recall(row.number, caller) or (lambda sent: None)
    before = recall(sent)
    reply = domain.reply(row.number, argument, caller)
    assert before in (None, reply), "recalled what is no longer so"
    assert recall(sent) in (None, reply)
    assert recall(sent + b"\0") is None
    result = codec(row.result).parse_exact(reply)
    assert result == domain.call(row.number, argument, caller)
    return result


class Base:
    """Database B in one generation; `base("READ", base.id(3))` calls it and gives the result."""

    def __init__(self, generation: Generation, guards: Guards = HISTORIC, clone: bool = False) -> None:
        tree = plant(bare_master(b"network", b"srv", ["192.42.172.1"]), generation)
        access = Access(generation, guards)
        around = Surroundings(addresses=("127.0.0.1", "192.42.172.1"), hostname="srv")
        self.generation = generation
        self.next = generation.name == "next"
        self.domain = Domain(b"network", tree, access=access, surroundings=around)
        for parent, properties in BRANCHES:
            self.create(parent, *properties)
        self.domain.take()
        self.domain.clone = clone

    def __call__(self, name: str, argument: Any = None, caller: Caller = ANON) -> Any:
        """The result, through its bytes."""
        row = NETINFO.by_name[name]
        if row.mutates or name == "STATISTICS":
            result = self.domain.call(row.number, argument, caller)
            return codec(row.result).parse_exact(codec(row.result).build(result))
        return read(self.domain, row, argument, caller)

    def id(self, number: int, instance: int | None = None) -> NiId:
        """An id as NETINFO 9 writes it: with [A] every instance but the root's is one lower. None: the current one."""
        if instance is None:
            return self.domain.tree.directories[number].id
        return NiId(number, instance if self.next or number == 0 else instance - 1)

    def create(
        self, parent: int, *properties: Property, where: int = NI_INDEX_NULL, caller: Caller = SU
    ) -> Result:
        result: Result = self("CREATE", CreateArgs(self.id(parent), properties, where, None), caller)
        return result

    def children(self, number: int) -> list[int]:
        return list(self("CHILDREN", NiId(number, 0)).body.children)

    def properties(self, number: int) -> tuple[Property, ...]:
        properties: tuple[Property, ...] = self("READ", NiId(number, 0), SU).body.properties
        return properties

    def values(self, number: int, index: int = 0) -> tuple[bytes, ...]:
        values: tuple[bytes, ...] = self("READPROP", n.PropArgs(NiId(number, 0), index), SU).body.names
        return values

    def lookup(self, number: int, key: str, value: str, caller: Caller = ANON) -> Result:
        argument = n.LookupArgs(NiId(number, 0), key.encode(), value.encode())
        result: Result = self("LOOKUP", argument, caller)
        return result

    def listed(
        self, number: int, name: str, caller: Caller = ANON
    ) -> list[tuple[int, tuple[bytes, ...] | None]]:
        entries = self("LIST", n.ListArgs(NiId(number, 0), name.encode()), caller).body.entries
        return [(entry.id, entry.names) for entry in entries]

    def state(self) -> Any:
        """Everything of the tree, to see that nothing changed."""
        return [d.to_object() for d in self.domain.tree.walk()], self.domain.tree.totals


def ok(body: Any) -> Result:
    return Result(NiStatus.NI_OK, body)


def refused(status: NiStatus) -> Result:
    return Result(status, None)
