"""Numbers, instances, positions and the checksum; what makes records a tree."""

from __future__ import annotations

import pytest

from netinfo.generation import APPLE, NEXT, Generation
from netinfo.limits import Limits
from netinfo.rawformat import Branch, plant
from netinfo.replication import snapshot
from netinfo.tree import GAP, DamagedTreeError, Record, Totals, Tree, Vacancy, image_of, records_of
from tests.netinfo.base import prop
from wire.formats.netinfo import NI_INDEX_NULL, NiId
from wire.formats.record import evolve

BOTH = pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)


def family(children: int, generation: Generation = NEXT) -> Tree:
    return plant(Branch((), (Branch((prop("name", "c"),)),) * children), generation)


def test_checksum_of_the_specs_example() -> None:
    """1*3 + 2*2 + 3*1 (NETINFO 5.3)."""
    tree = Tree.load(
        [Record(0, 3, 0, 0, 0, ()), Record(1, 2, 0, 0, 0, ()), Record(2, 1, 0, 1, 0, ())],
        (),
        Totals(10, 3, 0),
    )
    assert tree.checksum == 10


@BOTH
def test_checksum_counts_modulo_a_word(generation: Generation) -> None:
    records = [Record(0, 0xFFFFFFFF, 0, 0, 0, ()), Record(1, 5, 0, 0, 0, ())]
    tree = Tree.load(records, (), Totals(9, 2, 0), generation)
    tree.write(tree.directories[0], ())
    assert tree.directories[0].instance == 0
    assert tree.checksum == 10
    tree.write(tree.directories[1], ())
    assert tree.checksum == 12


def test_lowest_free_number_is_taken_and_continues_its_instances() -> None:
    tree = family(5)
    tree.write(tree.directories[2], ())
    tree.destroy(tree.directories[4])
    tree.destroy(tree.directories[2])
    assert list(tree.vacancies()) == [Vacancy(2, 2), Vacancy(4, 1)]
    made = [tree.create(tree.directories[0], (), NI_INDEX_NULL)[0].id for _ in range(3)]
    assert made == [NiId(2, 3), NiId(4, 2), NiId(6, 1)]


def test_target_leaves_a_gap_that_is_filled_first() -> None:
    tree = family(1)
    assert tree.create(tree.directories[0], (), 0, NiId(6, 9))[0].id == NiId(6, 9)
    assert (tree.totals.slots, tree.highest_id) == (7, 7)
    made = [tree.create(tree.directories[0], (), 0)[0].number for _ in range(5)]
    assert made == [2, 3, 4, 5, 7]


def test_creating_and_destroying_leaves_nothing_behind() -> None:
    tree = family(3)
    for target in (None, NiId(4, 1), NiId(9, 1)):
        for _ in range(1000):
            tree.destroy(tree.create(tree.directories[0], (), 0, target)[0])
    assert len(tree._lowest) < 100
    assert len(tree._vacant) == 6
    assert tree.create(tree.directories[0], (), 0)[0].number == 4


def test_undo_of_a_target_takes_the_gap_back() -> None:
    tree = family(1)
    before = image_of(tree)
    _, commit = tree.create(tree.directories[0], (), 0, NiId(6, 9))
    tree.undo(commit)
    assert image_of(tree) == before
    assert tree.create(tree.directories[0], (), 0)[0].number == 2


def test_children_squeezed_into_one_place_keep_their_order() -> None:
    tree = family(2)
    expected = [1, 2]
    commits = []
    for _ in range(60):
        made, commit = tree.create(tree.directories[0], (prop("name", "c"),), 1)
        expected.insert(1, made.number)
        commits.append(commit)
        assert list(tree.directories[0].children) == expected
        assert list(tree.find(tree.directories[0], b"name", b"c")) == expected
    assert max(len(commit.after) for commit in commits) > 20  # room was made once or twice
    assert sum(len(commit.after) for commit in commits) < 400  # and only then
    for commit in reversed(commits):
        tree.undo(commit)
    assert list(tree.directories[0].children) == [1, 2]
    assert image_of(tree) == image_of(family(2))


def test_versions_count_every_change_child_before_parent() -> None:
    tree = family(1)
    child, _ = tree.create(tree.directories[0], (), 0)
    assert (child.version, tree.directories[0].version, tree.totals.version) == (5, 6, 6)
    tree.destroy(child)
    assert tree.directories[0].version == 7


@BOTH
def test_highest_id_is_told_in_each_generations_way(generation: Generation) -> None:
    tree = family(3, generation)
    tree.destroy(tree.directories[3])
    assert tree.highest_id == (4 if generation is NEXT else 2)


def test_walk_is_depth_first_in_the_childrens_order() -> None:
    tree = plant(Branch((), (Branch((), (Branch(), Branch())), Branch())))
    tree.create(tree.directories[1], (), 0)
    assert [d.number for d in tree.walk()] == [0, 1, 5, 2, 3, 4]
    assert [d.depth for d in tree.walk()] == [0, 1, 2, 2, 2, 1]


def test_load_gives_the_same_tree_in_whatever_order() -> None:
    tree = plant(Branch((), (Branch((), (Branch(), Branch())), Branch())))
    tree.create(tree.directories[1], (), 0)
    tree.destroy(tree.directories[3])
    records = list(tree.records())
    for order in (records, records[::-1]):
        again = Tree.load(order, tree.vacancies(), tree.totals)
        assert image_of(again) == image_of(tree)
        assert again.create(again.directories[0], (), 0)[0].id == NiId(3, 2)


@pytest.mark.parametrize(
    ("records", "totals", "sentence"),
    [
        ([Record(1, 1, 0, 0, 0, ())], Totals(2, 2, 0), "there is no root directory"),
        ([Record(0, 1, 0, 0, 0, ())] * 2, Totals(1, 1, 0), "directory 0 is there twice"),
        ([Record(0, 1, 0, 0, 0, ())], Totals(1, 0, 0), "directory 0 is beyond the highest number, -1"),
        ([Record(0, 1, 0, 0, 0, ())], Totals(2, 1, 0), "the checksum is 1 and should be 2"),
        (
            [Record(0, 1, 0, 0, 0, ()), Record(1, 1, 0, 2, 0, ()), Record(2, 1, 0, 1, 0, ())],
            Totals(6, 3, 0),
            "directory 1 cannot be reached from the root",
        ),
        ([Record(0, 1, 0, 0, 0, ())], Totals(1, 1 << 32, 0), "is beyond the limit of 1000000"),
        (
            [Record(number, 1, 0, max(number - 1, 0), 0, ()) for number in range(130)],
            Totals(130 * 131 // 2, 130, 0),
            "directory 129 is deeper than 128 levels",
        ),
    ],
)
def test_records_that_are_no_tree_are_refused(records: list[Record], totals: Totals, sentence: str) -> None:
    with pytest.raises(DamagedTreeError) as caught:
        Tree.load(records, (), totals)
    assert sentence in str(caught.value)


def test_records_of_objects_know_their_places() -> None:
    tree = plant(Branch((), (Branch((), (Branch(), Branch())), Branch())))
    tree.create(tree.directories[1], (), 0)
    objects = list(snapshot(tree))
    assert {r.number: r.position // GAP for r in records_of(objects)} == {0: 0, 1: 0, 5: 0, 2: 1, 3: 2, 4: 1}
    root, first, *rest = objects
    for broken, sentence in (
        ([root, *rest], "directory 0 has a child 1 that does not exist"),
        (
            [evolve(root, children=(1, 4, 5)), first, *rest],
            "directory 5 is a child of 1 and of another",
        ),
        ([evolve(root, children=(1,)), first, *rest], "directory 4 is in no directory's list"),
        ([evolve(root, children=(1, 4, 0)), first, *rest], "directory 0 is a child of 0"),
        ([root, evolve(first, parent=4), *rest], "directory 1 says its parent is 4, which it is not"),
    ):
        with pytest.raises(DamagedTreeError, match=sentence):
            list(records_of(broken))


def test_empty_domain_has_nothing() -> None:
    tree = Tree()
    assert (tree.checksum, tree.highest_id, tree.path(b"machines"), list(tree.walk())) == (0, 0, None, [])
    assert Tree.load((), (), Totals(), limits=Limits(directories=1)).directories == {}
