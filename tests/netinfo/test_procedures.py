"""The differential test cases of NETINFO 9 that concern a domain, T01 to T95, each in both generations.

Those of the wire, the binder and the client library (T02, T81 to T92) are in `test_cases_served`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netinfo.generation import APPLE, NEXT, Generation
from netinfo.networks import admits
from netinfo.procedures import NotServedError
from netinfo.rawformat import branch_of, dump, load, plant
from netinfo.starter import bare_clone
from tests.netinfo.base import ANN, ANON, BRANCHES, SU, Base, ok, prop, refused, user
from wire.formats.netinfo import (
    NI_INDEX_NULL,
    Binding,
    CreateArgs,
    CreateBody,
    CreateNameArgs,
    CreatePropArgs,
    DestroyArgs,
    ListallBody,
    LookupArgs,
    LookupBody,
    NameIndexArgs,
    NamelistBody,
    NiId,
    NiStatus,
    ParentBody,
    PropArgs,
    ProplistBody,
    ReadallBody,
    ReadNameBody,
    RenamePropArgs,
    WriteArgs,
    WriteNameArgs,
    WritePropArgs,
)

S = NiStatus
Case = Callable[[Base], None]
CASES: dict[str, Case] = {}
WS1 = 0xC02AAC05
"""192.42.172.5, as BIND carries it."""


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


# --- reading ----------------------------------------------------------------------------------------------------


@case
def T01(b: Base) -> None:
    assert b("PING") is None


@case
def T03(b: Base) -> None:
    assert b("ROOT") == ok(NiId(0, 6))


@case
def T04(b: Base) -> None:
    assert b("SELF", NiId(3, 999)) == ok(b.id(3, 1))


@case
def T05(b: Base) -> None:
    assert b("SELF", NiId(77, 0)) == refused(S.NI_BADID if b.next else S.NI_NODIR)


@case
def T06(b: Base) -> None:
    assert b("PARENT", NiId(0, 0)) == ok(ParentBody(0, NiId(0, 6)))


@case
def T07(b: Base) -> None:
    assert b("PARENT", NiId(8, 0)) == ok(ParentBody(7, b.id(8, 1)))


@case
def T08(b: Base) -> None:
    result = b("CHILDREN", NiId(9, 0))
    assert (result.status, result.body.children, result.body.self_id) == (S.NI_OK, (), b.id(9, 1))


@case
def T09(b: Base) -> None:
    assert b("READ", NiId(3, 0)) == ok(ProplistBody(b.id(3, 1), tuple(BRANCHES[0][1])))


@case
def T10(b: Base) -> None:
    assert b.lookup(1, "name", "alpha") == ok(LookupBody((3,), b.id(1, 3)))


@case
def T11(b: Base) -> None:
    assert b.lookup(1, "name", "ALPHA") == refused(S.NI_NODIR)


@case
def T12(b: Base) -> None:
    assert b.lookup(1, "name", "ws*") == refused(S.NI_NODIR)


@case
def T13(b: Base) -> None:
    assert b.lookup(9, "name", "x") == refused(S.NI_NODIR)


@case
def T14(b: Base) -> None:
    assert b.lookup(77, "name", "x") == refused(S.NI_BADID if b.next else S.NI_NODIR)


@case
def T15(b: Base) -> None:
    result = b("LOOKUPREAD", LookupArgs(NiId(4, 0), b"uid", b"101"))
    assert result == ok(ProplistBody(b.id(4, 3), tuple(BRANCHES[3][1])))


@case
def T16(b: Base) -> None:
    assert b.listed(1, "serves") == [(2, (b"./network",)), (3, (b"ws1/local",))]


@case
def T17(b: Base) -> None:
    assert b.listed(7, "lp") == [(8, None)]


@case
def T18(b: Base) -> None:
    assert b.listed(4, "_writers_passwd") == [(5, None), (6, (b"ann",))]


@case
def T19(b: Base) -> None:
    assert b.listed(9, "name") == []


@case
def T20(b: Base) -> None:
    assert b("LISTALL", NiId(7, 0)) == ok(ListallBody(b.id(7, 2), (tuple(BRANCHES[5][1]),)))


@case
def T21(b: Base) -> None:
    assert b("READPROP", PropArgs(NiId(6, 0), 99)) == refused(S.NI_NOPROP)


@case
def T22(b: Base) -> None:
    assert b("READNAME", NameIndexArgs(NiId(3, 0), 0, 1)) == ok(ReadNameBody(b.id(3, 1), b"alpha"))
    assert b("READNAME", NameIndexArgs(NiId(3, 0), 0, 2)) == refused(S.NI_NONAME)
    assert b("READNAME", NameIndexArgs(NiId(3, 0), 9, 0)) == refused(S.NI_NOPROP)


@case
def T23(b: Base) -> None:
    names = (b"name", b"passwd", b"uid", b"_writers_passwd")
    assert b("LISTPROPS", NiId(6, 0)) == ok(NamelistBody(names, b.id(6, 1)))


# --- creating and destroying ------------------------------------------------------------------------------------


@case
def T24(b: Base) -> None:
    call = CreateArgs(b.id(4, 3), (prop("name", "bob"),), 0, None)
    assert b("CREATE", call, SU) == ok(CreateBody(b.id(10, 1), b.id(4, 4)))
    assert b.children(4) == [10, 5, 6]
    assert b("SELF", NiId(0, 0)) == ok(NiId(0, 6))  # the grandparent does not change


@case
def T25(b: Base) -> None:
    call = CreateArgs(b.id(4, 3), (prop("name", "bob"),), 0, None)
    b("CREATE", call, SU)
    before = b.state()
    assert b("CREATE", call, SU) == refused(S.NI_STALE)
    assert b.state() == before


@case
def T26(b: Base) -> None:
    assert b("CREATE", CreateArgs(b.id(4, 3), (), 1, None), SU).body.child.object == 10
    assert b("CREATE", CreateArgs(b.id(4, 4), (), 500, None), SU).body.child.object == 11
    assert b.children(4) == [5, 10, 6, 11]


@case
def T27(b: Base) -> None:
    assert b.create(9).status == S.NI_OK
    assert b.properties(10) == ()


@case
def T28(b: Base) -> None:
    first = b.create(9, prop("name", "dup")).body.child.object
    second = b.create(9, prop("name", "dup"), where=0).body.child.object
    assert b.lookup(9, "name", "dup").body.ids == (second, first)


@case
def T29(b: Base) -> None:
    assert b("DESTROY", DestroyArgs(b.id(7, 2), b.id(8, 1)), SU) == ok(b.id(7, 3))
    assert b("SELF", NiId(8, 0)) == refused(S.NI_BADID if b.next else S.NI_NODIR)


@case
def T30(b: Base) -> None:
    b("DESTROY", DestroyArgs(b.id(7, 2), b.id(8, 1)), SU)
    assert b.create(7, prop("name", "again")).body.child == NiId(8, 2 if b.next else 0)


@case
def T31(b: Base) -> None:
    assert b("DESTROY", DestroyArgs(b.id(7, 1), b.id(8, 1)), SU) == refused(S.NI_STALE)


@case
def T32(b: Base) -> None:
    before = b.state()
    assert b("DESTROY", DestroyArgs(b.id(7, 2), b.id(8, 5)), SU) == refused(S.NI_STALE)
    assert b.state() == before


@case
def T33(b: Base) -> None:
    assert b("DESTROY", DestroyArgs(b.id(0, 6), b.id(4, 3)), SU) == refused(S.NI_NOTEMPTY)


@case
def T34(b: Base) -> None:
    assert b("DESTROY", DestroyArgs(b.id(0, 6), b.id(8, 1)), SU) == refused(S.NI_UNRELATED)


@case
def T35(b: Base) -> None:
    assert b("DESTROY", DestroyArgs(b.id(0, 6), b.id(0, 6)), SU) == refused(S.NI_NOTEMPTY)


@case
def T36(b: Base) -> None:
    expected = S.NI_UNRELATED if b.next else S.NI_NODIR
    assert b("DESTROY", DestroyArgs(b.id(0, 6), NiId(77, 0)), SU) == refused(expected)


# --- properties and values --------------------------------------------------------------------------------------


@case
def T37(b: Base) -> None:
    assert b("WRITE", WriteArgs(b.id(9, 1), ()), SU) == ok(b.id(9, 2))
    assert b.properties(9) == ()


@case
def T38(b: Base) -> None:
    assert b("WRITE", WriteArgs(b.id(9, 1), b.properties(9)), SU) == ok(b.id(9, 2))


@case
def T39(b: Base) -> None:
    call = CreatePropArgs(b.id(9, 1), prop("name", "x"), NI_INDEX_NULL)
    assert b("CREATEPROP", call, SU) == ok(b.id(9, 2))
    assert b.properties(9) == (prop("name", "empty"), prop("name", "x"))
    assert b.lookup(0, "name", "x") == refused(S.NI_NODIR)


@case
def T40(b: Base) -> None:
    b("CREATEPROP", CreatePropArgs(b.id(9, 1), prop("key", "v"), 0), SU)
    assert b.properties(9) == (prop("key", "v"), prop("name", "empty"))


@case
def T41(b: Base) -> None:
    assert b("DESTROYPROP", PropArgs(b.id(9, 1), 1), SU) == refused(S.NI_NOPROP)


@case
def T42(b: Base) -> None:
    assert b("RENAMEPROP", RenamePropArgs(b.id(3, 1), 0, b"ip_address"), SU) == ok(b.id(3, 2))
    assert [p.name for p in b.properties(3)] == [b"ip_address", b"ip_address", b"serves"]
    assert b.lookup(1, "ip_address", "alpha").body.ids == (3,)
    assert b.lookup(1, "ip_address", "192.42.172.5") == refused(S.NI_NODIR)


@case
def T43(b: Base) -> None:
    assert b.listed(1, "name") == [(2, (b"srv",)), (3, (b"ws1", b"alpha"))]
    assert b("WRITEPROP", WritePropArgs(b.id(3, 1), 0, ()), SU) == ok(b.id(3, 2))
    assert b.listed(1, "name") == [(2, (b"srv",)), (3, None)]


@case
def T44(b: Base) -> None:
    b("CREATENAME", CreateNameArgs(b.id(3, 1), 0, b"beta", 0), SU)
    assert b.values(3) == (b"beta", b"ws1", b"alpha")


@case
def T45(b: Base) -> None:
    b("CREATENAME", CreateNameArgs(b.id(3, 1), 0, b"z", 0xFFFFFFFF), SU)
    assert b.values(3) == (b"ws1", b"alpha", b"z")


@case
def T46(b: Base) -> None:
    assert b("DESTROYNAME", NameIndexArgs(b.id(3, 1), 0, 5), SU) == refused(S.NI_NONAME)
    assert b("DESTROYNAME", NameIndexArgs(b.id(3, 1), 9, 0), SU) == refused(S.NI_NOPROP)


@case
def T47(b: Base) -> None:
    assert b("DESTROYNAME", NameIndexArgs(b.id(9, 1), 0, 0), SU) == ok(b.id(9, 2))
    assert b.properties(9) == (prop("name"),)


@case
def T48(b: Base) -> None:
    call = WriteNameArgs(b.id(3, 1), 0, 1, b"gamma")
    assert b("WRITENAME", call, SU) == ok(b.id(3, 2))
    assert b.values(3) == (b"ws1", b"gamma")
    assert b("WRITENAME", call, SU) == refused(S.NI_STALE)


# --- permission -------------------------------------------------------------------------------------------------


@case
def T49(b: Base) -> None:
    before = b.state()
    assert b("WRITE", WriteArgs(b.id(9, 1), ()), ANON) == refused(S.NI_PERM)
    assert b.state() == before


@case
def T50(b: Base) -> None:
    assert b("WRITE", WriteArgs(b.id(9, 0), ()), ANON) == refused(S.NI_STALE)


@case
def T51(b: Base) -> None:
    assert b("DESTROYPROP", PropArgs(b.id(9, 1), 9), ANON) == refused(S.NI_NOPROP)


@case
def T52(b: Base) -> None:
    assert b.create(7, caller=ANON).status == S.NI_OK


@case
def T53(b: Base) -> None:
    assert b.create(7, caller=ANN).status == (S.NI_PERM if b.next else S.NI_OK)


@case
def T54(b: Base) -> None:
    result = b("WRITEPROP", WritePropArgs(b.id(7, 2), 0, (b"x",)), ANON)
    assert result.status == (S.NI_PERM if b.next else S.NI_OK)


@case
def T55(b: Base) -> None:
    assert b("WRITEPROP", WritePropArgs(b.id(6, 1), 1, (b"new",)), ANN) == ok(b.id(6, 2))


@case
def T56(b: Base) -> None:
    assert b("WRITEPROP", WritePropArgs(b.id(6, 1), 2, (b"0",)), ANN) == refused(S.NI_PERM)


@case
def T57(b: Base) -> None:
    assert b("DESTROYPROP", PropArgs(b.id(6, 1), 1), ANN) == refused(S.NI_PERM)


@case
def T58(b: Base) -> None:
    assert b.create(7, caller=user(101, b"wrong")) == refused(S.NI_AUTHERROR)
    assert b.create(7, caller=ANON).status == S.NI_OK


@case
def T59(b: Base) -> None:
    assert b.create(7, caller=user(555, b"pw")) == refused(S.NI_NOUSER)


@case
def T60(b: Base) -> None:
    assert b("READ", NiId(9, 0), user(101, b"wrong")) == ok(
        ProplistBody(b.id(9, 1), (prop("name", "empty"),))
    )


@case
def T61(b: Base) -> None:
    assert b("WRITE", WriteArgs(b.id(9, 1), ()), user(0, b"secret")) == ok(b.id(9, 2))


@case
def T62(b: Base) -> None:
    b.create(
        4, prop("name", "eve"), prop("passwd"), prop("uid", "-3"), prop("_writers_note", "eve"), prop("note")
    )
    assert b("WRITEPROP", WritePropArgs(b.id(10), 4, (b"x",)), user(-3, b"anything")).status == S.NI_OK


# --- checksum and statistics ------------------------------------------------------------------------------------


@case
def T63(b: Base) -> None:
    checksum = 82 if b.next else 82 - sum(range(2, 11))
    assert b("STATISTICS")[0] == prop("checksum", str(checksum))
    assert len(b("STATISTICS")) == (1 if b.next else 44)


@case
def T64(b: Base) -> None:
    T24(b)
    assert b("STATISTICS")[0] == prop("checksum", "98" if b.next else str(82 - 54 + 5))


@case
def T65(b: Base) -> None:
    short = b("STATISTICS", caller=user(0, b"checksum"))
    assert short == (b("STATISTICS")[0],)


# --- hierarchy and replication ----------------------------------------------------------------------------------


@case
def T66(b: Base) -> None:
    assert b("BIND", Binding(b"local", WS1)) is None


@case
def T67(b: Base) -> None:
    with pytest.raises(NotServedError):
        b("BIND", Binding(b"network", 0xC02AAC01))


@case
def T68(b: Base) -> None:
    with pytest.raises(NotServedError):
        b("BIND", Binding(b"local", 0x0A000009))


@case
def T69(b: Base) -> None:
    assert b("RPARENT") == refused(S.NI_NETROOT)


@case
def T70(b: Base) -> None:
    b.create(1, prop("name", "up"), prop("ip_address", "192.42.172.7"), prop("serves", "../up"))
    assert b("RPARENT") == refused(S.NI_NORESPONSE if b.next else S.NI_NETROOT)
    b.domain.surroundings.parent = Binding(b"up", 0xC02AAC07)
    assert b("RPARENT") == ok(Binding(b"up", 0xC02AAC07))


@case
def T71(b: Base) -> None:
    assert b("READALL", b.domain.tree.checksum) == ok(ReadallBody(0, 0, ()))


@case
def T72(b: Base) -> None:
    body = b("READALL", 1).body
    assert [each.id.object for each in body.objects] == list(range(10))
    assert body.objects[3].parent == 1
    assert body.checksum == (82 if b.next else 28)
    assert body.highest_id == (10 if b.next else 9)


@case
def T73(b: Base) -> None:
    b.domain.clone = True
    assert b("READALL", 1) == refused(S.NI_NOTMASTER)


@case
def T74(b: Base) -> None:
    before = b.state()
    assert b("CRASHED", 5) is None
    assert b.state() == before
    assert b.domain.take() == []


@case
def T75(b: Base) -> None:
    assert b("RESYNC") == S.NI_OK


@case
def T76(b: Base) -> None:
    b.domain.clone = True
    assert b("WRITE", WriteArgs(b.id(9, 1), ()), SU).status == S.NI_OK  # srv is its master here
    b.domain.tree = plant(bare_clone(b"far", "10.0.0.1", b"network"), b.generation)
    assert b("WRITE", WriteArgs(b.id(0), ()), SU) == refused(S.NI_RDONLY)
    assert b("WRITE", WriteArgs(NiId(77, 0), ()), ANON) == refused(S.NI_RDONLY)


@case
def T77(b: Base) -> None:
    result = b("CREATE", CreateArgs(b.id(4, 3), (), NI_INDEX_NULL, NiId(50, 7)), SU)
    assert result.body.child == (NiId(50, 7) if b.next else NiId(10, 0))
    assert b.create(4).body.child.object == (10 if b.next else 11)
    assert b.create(4).body.child.object == (11 if b.next else 12)


@case
def T78(b: Base) -> None:
    result = b("CREATE", CreateArgs(b.id(4, 3), (), NI_INDEX_NULL, NiId(5, 1)), SU)
    assert result.status == (S.NI_ALIVE if b.next else S.NI_OK)


@case
def T79(b: Base) -> None:
    b("CREATEPROP", CreatePropArgs(b.id(0), prop("trusted_networks", "192.42.172"), NI_INDEX_NULL), SU)
    assert not admits(b.domain.tree, "10.0.0.9", own=False)
    assert admits(b.domain.tree, "10.0.0.9", own=True)


@case
def T80(b: Base) -> None:
    b.create(0, prop("name", "networks"))
    b.create(10, prop("name", "lab"), prop("address", "192.42.172"))
    b("CREATEPROP", CreatePropArgs(b.id(0), prop("trusted_networks", "lab"), NI_INDEX_NULL), SU)
    assert admits(b.domain.tree, "192.42.172.200", own=False)
    assert not admits(b.domain.tree, "192.42.173.200", own=False)


# --- Apple's own, and text --------------------------------------------------------------------------------------


@case
def T93(b: Base) -> None:
    b("CREATEPROP", CreatePropArgs(b.id(9, 1), prop("_locked"), NI_INDEX_NULL), SU)
    expected = S.NI_OK if b.next else S.NI_RDONLY
    assert b("WRITE", WriteArgs(b.id(9), b.properties(9)), SU).status == expected
    assert b("WRITEPROP", WritePropArgs(b.id(9), 0, (b"x",)), SU).status == expected
    assert b("CREATENAME", CreateNameArgs(b.id(9), 0, b"y", 0), SU).status == S.NI_OK


@case
def T94(b: Base) -> None:
    b.create(0, prop("name", "groups"))
    b.create(10, prop("name", "admin"), prop("users", "ben", "ann"))
    allowed = S.NI_PERM if b.next else S.NI_OK
    assert b("WRITE", WriteArgs(b.id(9, 1), ()), ANN).status == allowed
    b("CREATEPROP", CreatePropArgs(b.id(0), prop("promote_admins", "no"), NI_INDEX_NULL), SU)
    assert b("WRITE", WriteArgs(b.id(9), ()), ANN).status == S.NI_PERM


@case
def T95(b: Base) -> None:
    text = dump(branch_of(b.domain.tree, b.domain.tree.directories[0]))
    tree = plant(load(text), b.generation)
    assert dump(branch_of(tree, tree.directories[0])) == text


@pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, generation: Generation) -> None:
    CASES[name](Base(generation))
