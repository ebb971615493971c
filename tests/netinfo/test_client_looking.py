"""Reading whole parts of a domain in as few calls as the server allows (NETINFO 2.6, 5.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import attrs
import pytest

from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
from netinfo.client.local import SUPERUSER
from netinfo.client.looking import View, read_children, read_tree
from netinfo.client.names import DirectServer
from netinfo.client.network import run
from netinfo.domain import Domain as Rules
from netinfo.generation import NEXT
from netinfo.rawformat import branch_of, load, plant
from tests.netinfo.calls import FakeNetwork
from wire.formats.netinfo import (
    NETINFO,
    NI_INDEX_NULL,
    CreateArgs,
    DestroyArgs,
    NiId,
    NiStatus,
    Property,
    Result,
)
from wire.formats.rpc import AcceptStatus
from wire.transport.errors import RpcAcceptError

T = TypeVar("T")
TEXT = b"""{ "master" = ( "srv/network" ); CHILDREN = (
  { "name" = ( "users" ); CHILDREN = ( { "name" = ( "ann" ); }, { "name" = ( "ben" ); }, { "uid" = ( "7" ); } ) },
  { "name" = ( "groups" ); } ) }"""
USERS = NiId(1, 0)


def too_long(argument: Any) -> Any:
    raise RpcAcceptError(AcceptStatus.SYSTEM_ERR, "the procedure")


@attrs.define
class World:
    """A domain, the calls made to it, and what some procedures do instead."""

    instead: dict[str, Callable[[Any], Any]] = attrs.Factory(dict)
    before: dict[str, Callable[[], Any]] = attrs.Factory(dict)
    """Done before the first call of a procedure is answered: what somebody else does meanwhile."""
    calls: list[str] = attrs.Factory(list)
    rules: Rules = attrs.Factory(lambda: Rules(b"network", plant(load(TEXT), NEXT)))

    def _answer(self, address: Any, program: Any, procedure: Any, argument: Any) -> Any:
        self.calls.append(procedure.name)
        if meanwhile := self.before.pop(procedure.name, None):
            meanwhile()
        if procedure.name in self.instead:
            return self.instead[procedure.name](argument)
        return self.rules.call(procedure.number, argument, SUPERUSER)

    @property
    def domain(self) -> Domain:
        return Domain(FakeNetwork(self._answer), [DirectServer("srv", 877)])

    def change(self, name: str, argument: Any) -> None:
        assert self.rules.call(NETINFO.by_name[name].number, argument, SUPERUSER).status == NiStatus.NI_OK

    def numbers(self) -> list[int]:
        """The numbers of the children of /users, as they are read; each with its own properties."""
        found = run(gathered(read_children(self.domain, USERS)))
        for number, properties in found:
            assert properties == self.rules.tree.directories[number].properties
        return [number for number, _ in found]


async def gathered(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


def test_children_come_in_two_calls() -> None:
    world = World()
    assert world.numbers() == [2, 3, 4]
    assert world.calls == ["CHILDREN", "LISTALL"]


def test_where_there_are_none_one_call_is_enough() -> None:
    world = World()
    assert run(gathered(read_children(world.domain, NiId(5, 0)))) == []
    assert world.calls == ["CHILDREN"]
    with pytest.raises(NetInfoError):
        run(gathered(read_children(world.domain, NiId(77, 0))))


def test_children_too_many_for_one_reply_are_read_one_by_one() -> None:
    world = World({"LISTALL": too_long})
    assert world.numbers() == [2, 3, 4]
    assert world.calls == ["CHILDREN", "LISTALL", "READ", "READ", "READ"]


def test_children_that_change_between_the_calls_are_not_mixed_up() -> None:
    made = (Property(b"name", (b"new",)),)

    def meanwhile() -> None:
        directories = world.rules.tree.directories
        world.change("DESTROY", DestroyArgs(directories[1].id, directories[2].id))
        world.change("CREATE", CreateArgs(directories[1].id, made, NI_INDEX_NULL, None))

    world = World(before={"LISTALL": meanwhile})
    assert world.numbers() == [2, 3, 4], "2 is a new directory"
    assert world.calls[2:] == ["READ"] * 3


def test_a_child_that_goes_away_meanwhile_is_left_out() -> None:
    def meanwhile() -> None:
        directories = world.rules.tree.directories
        world.change("DESTROY", DestroyArgs(directories[1].id, directories[3].id))

    world = World({"LISTALL": too_long}, {"READ": meanwhile})
    assert world.numbers() == [2, 4]


def test_everything_comes_in_one_call() -> None:
    world = World()
    tree = world.rules.tree
    assert run(read_tree(world.domain, NiId(0, 0))) == branch_of(tree, tree.directories[0])
    assert world.calls == ["READALL"]


def test_a_child_that_everything_lacks_is_left_out() -> None:
    """A NeXT's directory may list children that are gone; READALL sends what is there."""
    world = World()

    def with_gap(argument: Any) -> Result:
        result: Result = world.rules.call(NETINFO.by_name["READALL"].number, argument, SUPERUSER)
        objects = tuple(each for each in result.body.objects if each.id.object != 3)
        return Result(NiStatus.NI_OK, attrs.evolve(result.body, objects=objects))

    world.instead["READALL"] = with_gap
    users, _ = run(read_tree(world.domain, NiId(0, 0))).children
    assert [child.properties[0].values for child in users.children] == [(b"ann",), (b"7",)]


def test_everything_in_a_circle_ends() -> None:
    """The tools say so in a sentence (`netinfo.commands.tool.run_tool`)."""
    world = World()

    def in_a_circle(argument: Any) -> Result:
        result: Result = world.rules.call(NETINFO.by_name["READALL"].number, argument, SUPERUSER)
        objects = tuple(attrs.evolve(each, children=(1,)) for each in result.body.objects)
        return Result(NiStatus.NI_OK, attrs.evolve(result.body, objects=objects))

    world.instead["READALL"] = in_a_circle
    with pytest.raises(RecursionError):
        run(read_tree(world.domain, NiId(0, 0)))


def not_allowed(argument: Any) -> Result:
    return Result(NiStatus.NI_PERM, None)


def not_a_master(argument: Any) -> Result:
    return Result(NiStatus.NI_NOTMASTER, None)


@pytest.mark.parametrize("refusal", [not_allowed, not_a_master, too_long])
def test_who_may_not_have_everything_at_once_walks(refusal: Callable[[Any], Any]) -> None:
    world = World({"READALL": refusal})
    tree = world.rules.tree
    assert run(read_tree(world.domain, NiId(0, 0))) == branch_of(tree, tree.directories[0])
    assert world.calls.count("CHILDREN") == 6


def test_a_part_does_not_ask_for_everything() -> None:
    world = World()
    tree = world.rules.tree
    assert run(read_tree(world.domain, USERS)) == branch_of(tree, tree.directories[1])
    assert "READALL" not in world.calls
    view = run(View.below(world.domain, USERS))
    assert run(view.properties(2)) == tree.directories[2].properties
