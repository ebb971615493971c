"""The domain as a whole: against a model simple enough to be believed, and what comes out of it beside results."""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from netinfo.access import HISTORIC, Access, Caller, Guards
from netinfo.domain import Domain
from netinfo.events import Changed, CheckMaster, ResyncClones
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.limits import Limits, ReplySizeError
from netinfo.passwords import Passwords, UnverifiedError, crypt_matches
from netinfo.rawformat import Branch, plant
from netinfo.replication import received, snapshot
from netinfo.starter import bare_clone
from netinfo.tree import DamagedTreeError, Tree, image_of
from tests.netinfo.base import ANN, ANON, SU, Base, ok, prop, read, refused
from wire.formats import netinfo as n
from wire.formats.netinfo import NETINFO, NI_INDEX_NULL, NiId, NiStatus, Property

S = NiStatus

# --- a model ----------------------------------------------------------------------------------------------------


@attrs.define
class Node:
    """A directory of the model."""

    instance: int
    properties: list[tuple[bytes, list[bytes]]]
    parent: int
    children: list[int] = attrs.Factory(list)


NAMES = st.sampled_from([b"name", b"k", b"", b"\xff"])
VALUES = st.sampled_from([b"a", b"b", b"c", b"", b"a\0b"])
PROPERTIES = st.lists(st.tuples(NAMES, st.lists(VALUES, max_size=3)), max_size=4)
PLACES = st.sampled_from([0, 1, 2, 3, 7, NI_INDEX_NULL])
INDEXES = st.integers(0, 4)
STALE = st.integers(0, 9).map(lambda drawn: drawn == 9)


def sent(properties: list[tuple[bytes, list[bytes]]]) -> tuple[Property, ...]:
    return tuple(Property(name, tuple(values)) for name, values in properties)


def kept(properties: list[tuple[bytes, list[bytes]]]) -> list[tuple[bytes, list[bytes]]]:
    return [
        (name.split(b"\0")[0], [value.split(b"\0")[0] for value in values]) for name, values in properties
    ]


class Against(RuleBasedStateMachine):
    """Makes the same calls on a domain and on a dict of nodes, and compares all that can be read."""

    generation: Generation = NEXT

    @initialize()
    def start(self) -> None:
        self.domain = Domain(b"t", access=Access(self.generation, HISTORIC))
        self.nodes = {0: Node(1, [], 0)}
        self.last: dict[int, int] = {}
        self.slots = 1
        assert self.ask("ROOT", None) == ok(NiId(0, 1))
        self.undo: list[Changed] = []
        self.clone = Domain(b"t", plant(Branch(), self.generation), access=Access(self.generation, HISTORIC))
        self.clone.tree = Tree(self.generation)
        self.clone.call(2, None, SU)

    def ask(self, name: str, argument: Any) -> Any:
        row = NETINFO.by_name[name]
        if row.mutates:
            return self.domain.call(row.number, argument, SU)
        return read(self.domain, row, argument, ANON)

    def pick(self, data: st.DataObject) -> int:
        numbers = sorted(self.nodes)
        return data.draw(st.sampled_from([*numbers, *numbers, 99]))

    def named(self, number: int, stale: bool) -> NiId:
        node = self.nodes.get(number)
        return NiId(number, (node.instance if node else 0) + stale)

    def check(self, number: int, stale: bool) -> NiStatus | None:
        if number not in self.nodes:
            return self.generation.unknown_id
        return S.NI_STALE if stale else None

    def changed(self, number: int, result: Any) -> None:
        self.nodes[number].instance += 1
        assert result == ok(NiId(number, self.nodes[number].instance))

    def first_instance(self, number: int) -> int:
        if not self.generation.reuse_continues:
            return self.generation.first_instance
        return self.last[number] + 1 if number in self.last else self.generation.first_instance

    @rule(data=st.data(), properties=PROPERTIES, where=PLACES, stale=STALE)
    def create(self, data: st.DataObject, properties: Any, where: int, stale: bool) -> None:
        parent = self.pick(data)
        result = self.ask("CREATE", n.CreateArgs(self.named(parent, stale), sent(properties), where, None))
        wrong = self.check(parent, stale)
        if wrong is not None:
            assert result == refused(wrong)
            return
        free = [number for number in range(self.slots) if number not in self.nodes]
        number = free[0] if free else self.slots
        self.slots = max(self.slots, number + 1)
        self.nodes[number] = Node(self.first_instance(number), kept(properties), parent)
        self.nodes[parent].children.insert(where, number)
        self.nodes[parent].instance += 1
        child, above = NiId(number, self.nodes[number].instance), NiId(parent, self.nodes[parent].instance)
        assert result == ok(n.CreateBody(child, above))

    @rule(data=st.data(), stale_parent=STALE, stale_child=STALE)
    def destroy(self, data: st.DataObject, stale_parent: bool, stale_child: bool) -> None:
        child = self.pick(data)
        parent = data.draw(
            st.sampled_from([self.nodes[child].parent if child in self.nodes else 0, self.pick(data)])
        )
        call = n.DestroyArgs(self.named(parent, stale_parent), self.named(child, stale_child))
        result = self.ask("DESTROY", call)
        wrong = self.check(parent, stale_parent)
        if wrong is None:
            if child not in self.nodes:
                wrong = self.generation.unknown_child
            elif stale_child:
                wrong = S.NI_STALE
            elif self.nodes[child].children:
                wrong = S.NI_NOTEMPTY
            elif child not in self.nodes[parent].children:
                wrong = S.NI_UNRELATED
        if wrong is not None:
            assert result == refused(wrong)
            return
        self.last[child] = self.nodes.pop(child).instance
        self.nodes[parent].children.remove(child)
        self.changed(parent, result)

    @rule(data=st.data(), properties=PROPERTIES, stale=STALE)
    def write(self, data: st.DataObject, properties: Any, stale: bool) -> None:
        number = self.pick(data)
        result = self.ask("WRITE", n.WriteArgs(self.named(number, stale), sent(properties)))
        wrong = self.check(number, stale)
        if wrong is not None:
            assert result == refused(wrong)
            return
        self.nodes[number].properties = kept(properties)
        self.changed(number, result)

    @rule(data=st.data(), name=NAMES, values=st.lists(VALUES, max_size=2), where=PLACES)
    def createprop(self, data: st.DataObject, name: bytes, values: list[bytes], where: int) -> None:
        number = self.pick(data)
        call = n.CreatePropArgs(self.named(number, False), sent([(name, values)])[0], where)
        result = self.ask("CREATEPROP", call)
        if number not in self.nodes:
            assert result == refused(self.generation.unknown_id)
            return
        self.nodes[number].properties.insert(where, kept([(name, values)])[0])
        self.changed(number, result)

    @rule(
        data=st.data(),
        kind=st.sampled_from(
            ["DESTROYPROP", "RENAMEPROP", "WRITEPROP", "CREATENAME", "WRITENAME", "DESTROYNAME"]
        ),
        i=INDEXES,
        j=INDEXES,
        value=VALUES,
        stale=STALE,
    )
    def change_property(
        self, data: st.DataObject, kind: str, i: int, j: int, value: bytes, stale: bool
    ) -> None:
        number = self.pick(data)
        which = self.named(number, stale)
        calls = {
            "DESTROYPROP": n.PropArgs(which, i),
            "RENAMEPROP": n.RenamePropArgs(which, i, value),
            "WRITEPROP": n.WritePropArgs(which, i, (value, value)),
            "CREATENAME": n.CreateNameArgs(which, i, value, j),
            "WRITENAME": n.WriteNameArgs(which, i, j, value),
            "DESTROYNAME": n.NameIndexArgs(which, i, j),
        }
        result = self.ask(kind, calls[kind])
        wrong = self.check(number, stale)
        properties = self.nodes[number].properties if number in self.nodes else []
        if wrong is None:
            if i >= len(properties):
                wrong = S.NI_NOPROP
            elif kind in ("WRITENAME", "DESTROYNAME") and j >= len(properties[i][1]):
                wrong = S.NI_NONAME
        if wrong is not None:
            assert result == refused(wrong)
            return
        name, values = properties[i]
        short = value.split(b"\0")[0]
        if kind == "DESTROYPROP":
            del properties[i]
        elif kind == "RENAMEPROP":
            properties[i] = (short, values)
        elif kind == "WRITEPROP":
            properties[i] = (name, [short, short])
        elif kind == "CREATENAME":
            values.insert(j, short)
        elif kind == "WRITENAME":
            values[j] = short
        else:
            del values[j]
        self.changed(number, result)

    @rule()
    def failed_store(self) -> None:
        """A change is made, cannot be stored, and is taken back."""
        self.replay()
        before = image_of(self.domain.tree)
        for number, node in list(self.nodes.items()):
            self.ask("CREATE", n.CreateArgs(NiId(number, node.instance), (prop("name", "gone"),), 0, None))
            leaf = number != 0 and not node.children
            if leaf:
                above = self.domain.tree.directories[node.parent].id
                mine = self.domain.tree.directories[number].id
                self.ask("DESTROY", n.DestroyArgs(above, mine))
                self.ask("WRITE", n.WriteArgs(above, ()))
        events = self.domain.take()
        self.domain.undo(event for event in events if isinstance(event, Changed))
        assert image_of(self.domain.tree) == before

    @rule()
    def replay(self) -> None:
        """A clone makes the calls that come out of the master, and has the same domain."""
        for event in self.domain.take():
            assert isinstance(event, Changed)
            if event.procedure is not None:
                assert self.clone.call(event.procedure.number, event.argument, SU).status == S.NI_OK
        self.clone.take()
        assert list(snapshot(self.clone.tree)) == list(snapshot(self.domain.tree))
        assert self.clone.tree.checksum == self.domain.tree.checksum

    @rule(data=st.data(), key=NAMES, value=VALUES)
    def lookup(self, data: st.DataObject, key: bytes, value: bytes) -> None:
        number = self.pick(data)
        call = n.LookupArgs(NiId(number, 5), key, value)
        if number not in self.nodes:
            assert self.ask("LOOKUP", call) == refused(self.generation.unknown_id)
            return
        wanted = value.split(b"\0")[0]
        node = self.nodes[number]
        hits = tuple(
            c for c in node.children if wanted in dict(reversed(self.nodes[c].properties)).get(key, ())
        )
        which = NiId(number, node.instance)
        if not hits:
            assert self.ask("LOOKUP", call) == self.ask("LOOKUPREAD", call) == refused(S.NI_NODIR)
            return
        assert self.ask("LOOKUP", call) == ok(n.LookupBody(hits, which))
        assert self.ask("LOOKUPREAD", call) == ok(n.ProplistBody(which, sent(self.nodes[hits[0]].properties)))

    @rule(key=NAMES)
    def lists(self, key: bytes) -> None:
        for number, node in self.nodes.items():
            found = tuple(
                n.Entry(c, tuple(dict(reversed(self.nodes[c].properties)).get(key, ())) or None)
                for c in node.children
            )
            which = NiId(number, node.instance)
            assert self.ask("LIST", n.ListArgs(NiId(number, 9), key)) == ok(n.ListBody(found, which))
            everything = tuple(sent(self.nodes[child].properties) for child in node.children)
            assert self.ask("LISTALL", which) == ok(n.ListallBody(which, everything))

    @invariant()
    def reads_the_same(self) -> None:
        if not hasattr(self, "nodes"):
            return
        for number, node in self.nodes.items():
            which = NiId(number, node.instance)
            assert self.ask("SELF", NiId(number, 77)) == ok(which)
            assert self.ask("PARENT", which) == ok(n.ParentBody(node.parent, which))
            assert self.ask("CHILDREN", which) == ok(n.ChildrenBody(tuple(node.children), which))
            assert self.ask("READ", which) == ok(n.ProplistBody(which, sent(node.properties)))
        checksum = sum((number + 1) * node.instance for number, node in self.nodes.items())
        assert self.domain.tree.checksum == checksum

    @invariant()
    def finds_the_same(self) -> None:
        if not hasattr(self, "nodes"):
            return
        tree = self.domain.tree
        for number, node in self.nodes.items():
            expected: dict[tuple[bytes, bytes], list[int]] = {}
            for child in node.children:
                for key, values in dict(reversed(self.nodes[child].properties)).items():
                    for value in dict.fromkeys(values):
                        expected.setdefault((key, value), []).append(child)
            for key in (b"name", b"k", b"", b"\xff"):
                for value in (b"a", b"b", b"c", b""):
                    assert list(tree.find(tree.directories[number], key, value)) == expected.get(
                        (key, value), []
                    )


class AgainstApple(Against):
    generation = APPLE


TestNext = Against.TestCase
TestApple = AgainstApple.TestCase
TestNext.settings = TestApple.settings = settings(stateful_step_count=40)


# --- what comes out ---------------------------------------------------------------------------------------------


def test_root_is_made_on_demand() -> None:
    domain = Domain(b"t")
    assert domain.call(3, NiId(0, 0), ANON) == refused(S.NI_BADID)
    assert domain.call(2, None, ANON) == ok(NiId(0, 1))
    (event,) = domain.take()
    assert isinstance(event, Changed)
    assert event.procedure is None
    assert domain.call(2, None, ANON) == ok(NiId(0, 1))
    assert domain.take() == []


def test_reading_and_refused_calls_bring_no_events() -> None:
    b = Base(NEXT)
    for name in ("ROOT", "STATISTICS", "RPARENT", "PING"):
        b(name)
    b("WRITE", n.WriteArgs(b.id(9), ()), ANON)
    assert b.domain.take() == []


def test_create_tells_clones_the_id_it_chose() -> None:
    b = Base(NEXT)
    call = n.CreateArgs(b.id(4), (prop("name", "bob"),), 0, None)
    child = b("CREATE", call, SU).body.child
    (event,) = b.domain.take()
    assert isinstance(event, Changed)
    assert event.procedure is NETINFO.by_name["CREATE"]
    assert event.argument == n.CreateArgs(call.parent, call.properties, call.where, child)


def test_version_reads_are_apples() -> None:
    b = Base(APPLE)
    newest = b.domain.tree.totals.version
    assert b("SELF", NiId(0xFFFFFFFF, 0xFFFFFFFF)) == ok(NiId(0, newest))
    assert b("SELF", NiId(0xFFFFFFFF, newest - 1)) == ok(NiId(9, newest - 1))
    assert b("SELF", NiId(0xFFFFFFFE, 9)) == ok(NiId(9, newest - 1))
    assert b("SELF", NiId(0xFFFFFFFE, 77)) == refused(S.NI_NODIR)
    assert b("SELF", NiId(0xFFFFFFFF, newest + 1)) == refused(S.NI_NODIR)
    assert Base(NEXT)("SELF", NiId(0xFFFFFFFF, 0xFFFFFFFF)) == refused(S.NI_BADID)


def test_object_that_crashed_the_original_is_only_unknown() -> None:
    assert Base(NEXT)("READ", NiId(16777216, 0)) == refused(S.NI_BADID)


def test_target_of_a_writer_who_is_not_superuser_is_ignored() -> None:
    b = Base(NEXT)
    call = n.CreateArgs(b.id(7), (), NI_INDEX_NULL, NiId(50, 7))
    assert b("CREATE", call, ANON).body.child == NiId(10, 1)


def test_target_far_beyond_is_refused() -> None:
    b = Base(NEXT)
    for target in (b.domain.tree.totals.slots + 65_537, 0x7FFFFFFF, 0xFFFFFFFF):
        call = n.CreateArgs(b.id(7), (), NI_INDEX_NULL, NiId(target, 1))
        assert b("CREATE", call, SU) == refused(S.NI_NOSPACE)
    call = n.CreateArgs(b.id(7), (), NI_INDEX_NULL, NiId(b.domain.tree.totals.slots + 65_536, 1))
    assert b("CREATE", call, SU).status == S.NI_OK


# --- limits -----------------------------------------------------------------------------------------------------

SMALL = Limits(
    name=8, value=9, values=3, properties=4, directory=40, children=3, directories=12, depth=3, reply=200
)


def small() -> Base:
    b = Base(NEXT)
    b.domain.tree.limits = SMALL
    return b


@pytest.mark.parametrize(
    "properties",
    [
        [prop("n" * 9)],
        [prop("n", "v" * 10)],
        [prop("n", *"abcd")],
        [prop("n")] * 5,
        [prop("n" * 8, "v" * 9, "v" * 9), prop("n" * 8, "v" * 7)],
    ],
    ids=["name", "value", "values", "properties", "directory"],
)
def test_write_beyond_a_limit_is_refused(properties: list[Property]) -> None:
    b = small()
    before = b.state()
    assert b("WRITE", n.WriteArgs(b.id(9), tuple(properties)), SU) == refused(S.NI_NOSPACE)
    assert b.create(9, *properties) == refused(S.NI_NOSPACE)
    assert b.state() == before


def test_single_steps_beyond_a_limit_are_refused() -> None:
    b = small()
    b("WRITE", n.WriteArgs(b.id(9), (prop("n", *"abc"), prop("m"), prop("o"), prop("p"))), SU)
    assert b("CREATEPROP", n.CreatePropArgs(b.id(9), prop("x"), 0), SU) == refused(S.NI_NOSPACE)
    assert b("CREATENAME", n.CreateNameArgs(b.id(9), 0, b"x", 0), SU) == refused(S.NI_NOSPACE)
    assert b("WRITENAME", n.WriteNameArgs(b.id(9), 0, 0, b"x" * 10), SU) == refused(S.NI_NOSPACE)
    assert b("RENAMEPROP", n.RenamePropArgs(b.id(9), 0, b"x" * 9), SU) == refused(S.NI_NOSPACE)
    assert b("WRITEPROP", n.WritePropArgs(b.id(9), 0, (b"x",) * 4), SU) == refused(S.NI_NOSPACE)


def test_growing_beyond_a_limit_is_refused() -> None:
    b = small()
    assert b.create(0) == refused(S.NI_NOSPACE)  # a fourth child
    deep = b.create(8).body.child.object
    assert b.create(deep) == refused(S.NI_NOSPACE)  # a fourth level
    assert b.create(9).status == S.NI_OK
    assert b.create(9) == refused(S.NI_NOSPACE)  # a thirteenth directory


def test_reply_beyond_the_limit_is_no_reply() -> None:
    b = small()
    with pytest.raises(ReplySizeError, match="beyond the limit of 200"):
        b.domain.reply(NETINFO.by_name["LISTALL"].number, NiId(1, 0), ANON)
    assert b("SELF", NiId(1, 0)).status == S.NI_OK


# --- passwords --------------------------------------------------------------------------------------------------


def test_missing_verdict_comes_out_before_anything_changed() -> None:
    b = Base(NEXT)
    passwords = Passwords()
    b.domain.access = attrs.evolve(b.domain.access, verify=passwords)
    call = n.WritePropArgs(b.id(6), 1, (b"new",))
    before = b.state()
    with pytest.raises(UnverifiedError) as asked:
        b("WRITEPROP", call, ANN)
    assert b.state() == before
    assert b.domain.calls[NETINFO.by_name["WRITEPROP"].number] == 0
    password, stored = asked.value.password, asked.value.stored
    passwords.learn(password, stored, crypt_matches(password, stored))
    assert b("WRITEPROP", call, ANN).status == S.NI_OK
    assert b.domain.calls[NETINFO.by_name["WRITEPROP"].number] == 1


def hidden(trusted: str | None = None) -> Base:
    b = Base(NEXT, Guards())
    if trusted is not None:
        b("CREATEPROP", n.CreatePropArgs(b.id(0), prop("trusted_networks", trusted), 0), SU)
    return b


def test_passwords_are_empty_for_strangers_and_found_by_no_lookup() -> None:
    b = hidden()
    password = b.domain.tree.directories[6].properties[1].values[0].decode()
    assert b("READ", NiId(6, 0)).body.properties[1] == prop("passwd")
    assert b("READPROP", n.PropArgs(NiId(6, 0), 1)).body.names == ()
    assert b("READNAME", n.NameIndexArgs(NiId(6, 0), 1, 0)) == refused(S.NI_NONAME)
    assert b("LISTPROPS", NiId(6, 0)).body.names[1] == b"passwd"
    assert b.listed(4, "passwd") == [(5, None), (6, None)]
    assert b("LISTALL", NiId(4, 0)).body.proplists[1][1] == prop("passwd")
    assert b.lookup(4, "passwd", password) == refused(S.NI_NODIR)
    found = b("LOOKUPREAD", n.LookupArgs(NiId(4, 0), b"name", b"ann")).body.properties
    assert found[1] == prop("passwd")
    assert found[0] == prop("name", "ann")
    assert b("READALL", 1) == refused(S.NI_PERM)


@pytest.mark.parametrize("view", ["own", "trusted", "historic"])
def test_passwords_are_shown_to_those_who_may_see_them(view: str) -> None:
    b = Base(NEXT) if view == "historic" else hidden("192.42.172" if view == "trusted" else None)
    caller = attrs.evolve(ANON, own=view == "own")
    password = b.domain.tree.directories[6].properties[1].values[0]
    assert b("READ", NiId(6, 0), caller).body.properties[1].values == (password,)
    assert b.lookup(4, "passwd", password.decode(), caller).body.ids == (6,)
    assert b.listed(4, "passwd", caller)[1] == (6, (password,))
    stranger = Caller("10.0.0.1", 2000)
    shown = b("READ", NiId(6, 0), stranger).body.properties[1].values
    assert shown == ((password,) if view == "historic" else ())


def test_write_of_one_who_saw_no_password_keeps_it() -> None:
    b = hidden()
    b("CREATEPROP", n.CreatePropArgs(b.id(6), prop("_writers", "ann"), NI_INDEX_NULL), SU)
    stored = b.domain.tree.directories[6].properties[1]
    seen = b("READ", NiId(6, 0), ANN).body.properties
    written = (*seen, prop("shell", "/bin/csh"))
    b.domain.take()
    assert b("WRITE", n.WriteArgs(b.id(6), written), ANN).status == S.NI_OK
    assert b.properties(6) == (*seen[:1], stored, *seen[2:], prop("shell", "/bin/csh"))
    (event,) = b.domain.take()
    assert isinstance(event, Changed)
    assert event.argument.properties == b.properties(6)  # the clones shall keep it, too
    without = tuple(p for p in seen if p.name != b"passwd")
    assert b("WRITE", n.WriteArgs(b.id(6), without), ANN).status == S.NI_OK
    assert b.properties(6) == (*without, stored)
    assert b("WRITE", n.WriteArgs(b.id(6), (*without, prop("passwd", "new"))), ANN).status == S.NI_OK
    assert b.properties(6)[-1] == prop("passwd", "new")
    assert b("WRITE", n.WriteArgs(b.id(6), (prop("passwd"),)), SU).status == S.NI_OK
    assert b.properties(6) == (prop("passwd"),)  # who sees it may empty it


def test_one_who_sees_no_password_cannot_give_it_another_name() -> None:
    b = hidden()
    b("CREATEPROP", n.CreatePropArgs(b.id(6), prop("_writers", "ann"), NI_INDEX_NULL), SU)
    before = b.properties(6)
    assert b("RENAMEPROP", n.RenamePropArgs(b.id(6), 1, b"shown"), ANN) == refused(S.NI_PERM)
    assert b.properties(6) == before
    assert b("RENAMEPROP", n.RenamePropArgs(b.id(6), 2, b"number"), ANN).status == S.NI_OK
    assert b("RENAMEPROP", n.RenamePropArgs(b.id(6), 1, b"shown"), SU).status == S.NI_OK


def test_replies_do_not_mix_what_two_callers_see() -> None:
    b = hidden()
    own = attrs.evolve(ANON, own=True)
    for _ in range(2):
        assert b("READ", NiId(5, 0), ANON).body.properties[1].values == ()
        assert b("READ", NiId(5, 0), own).body.properties[1].values != ()


# --- clones -----------------------------------------------------------------------------------------------------


def a_clone(generation: Generation = NEXT) -> Domain:
    return Domain(b"network", plant(bare_clone(b"far", "10.0.0.1", b"network"), generation), clone=True)


MASTER = Caller("10.0.0.1", 700)


def test_update_that_does_not_fit_makes_a_clone_ask() -> None:
    clone = a_clone()
    current = clone.tree.directories[1].id
    assert clone.call(8, n.WriteArgs(current, (prop("name", "machines"),)), MASTER).status == S.NI_OK
    assert isinstance(clone.take()[0], Changed)
    assert clone.call(8, n.WriteArgs(current, ()), MASTER) == refused(S.NI_STALE)
    assert clone.take() == [CheckMaster(trusted=True)]
    assert clone.call(8, n.WriteArgs(current, ()), ANON) == refused(S.NI_RDONLY)
    assert clone.take() == []


def test_crashed_and_resync_make_a_clone_ask_only_if_needed() -> None:
    clone = a_clone()
    clone.call(26, clone.tree.checksum, MASTER)
    assert clone.take() == []
    clone.call(26, 1, MASTER)
    clone.call(26, 1, ANON)
    assert clone.call(27, None, ANON) == S.NI_OK
    assert clone.take() == [CheckMaster(trusted=True), CheckMaster(trusted=False), CheckMaster(trusted=False)]


def test_resync_makes_a_master_tell_its_clones() -> None:
    b = Base(NEXT)
    b("RESYNC", caller=SU)
    assert ResyncClones(trusted=True) in b.domain.take()


def test_clone_takes_a_domain_over_whole_or_not_at_all() -> None:
    b = Base(NEXT)
    b("CREATE", n.CreateArgs(b.id(4), (), NI_INDEX_NULL, NiId(20, 5)), SU)
    b("DESTROY", n.DestroyArgs(b.id(4), b.id(20)), SU)
    body = b("READALL", 1).body
    clone = a_clone()
    own = clone.tree
    reply = clone.reply(9, NiId(0, 0), ANON)
    for broken in (
        attrs.evolve(body, objects=body.objects[1:]),
        attrs.evolve(body, objects=body.objects[:-1]),
        attrs.evolve(body, highest_id=8),
        attrs.evolve(body, objects=(*body.objects[:-1], attrs.evolve(body.objects[-1], parent=4))),
        attrs.evolve(body, objects=(*body.objects, attrs.evolve(body.objects[-1], id=NiId(10, 1)))),
    ):
        with pytest.raises(DamagedTreeError):
            received(broken, clone.generation)
    assert clone.tree is own
    assert clone.take() == []
    whole = received(body, clone.generation)
    clone.replace(whole)
    assert clone.take() == [whole]
    assert clone.tree is whole.tree
    assert set(whole.image.states) == set(image_of(clone.tree).states)
    assert whole.image.totals == clone.tree.totals
    assert list(snapshot(clone.tree)) == list(snapshot(b.domain.tree))
    assert (clone.tree.checksum, clone.tree.highest_id) == (body.checksum, body.highest_id)
    assert clone.reply(9, NiId(0, 0), ANON) != reply


def test_apple_master_that_is_sending_refuses_writes() -> None:
    for generation, expected in ((APPLE, S.NI_MASTERBUSY), (NEXT, S.NI_OK)):
        b = Base(generation)
        b.domain.surroundings.sending = 1
        assert b("WRITE", n.WriteArgs(b.id(9), ()), SU).status == expected
        b.domain.surroundings.waiting_updates = 1
        assert b("READALL", 1).status == expected
    b = Base(APPLE)
    b.domain.surroundings.sending = 1
    assert b("WRITE", n.WriteArgs(NiId(77, 0), ()), Caller("10.0.0.1")).status == S.NI_MASTERBUSY


def test_a_locked_database_refuses_writes_and_is_read() -> None:
    b = Base(APPLE)
    b.domain.surroundings.locked = True
    assert b("WRITE", n.WriteArgs(b.id(9), ()), SU).status == S.NI_MASTERBUSY
    assert b("READ", b.id(9)).status == S.NI_OK
    b.domain.surroundings.locked = False
    assert b("WRITE", n.WriteArgs(b.id(9), ()), SU).status == S.NI_OK
