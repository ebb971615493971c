"""The index of a directory: right whatever was asked before a change, and in the children's order."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from netinfo.index import Index
from netinfo.properties import values_of
from tests.netinfo.base import prop
from wire.formats.netinfo import Property

KEYS, VALUES = [b"name", b"k", b""], [b"a", b"b", b""]
PROPERTIES = st.lists(
    st.builds(Property, st.sampled_from(KEYS), st.lists(st.sampled_from(VALUES), max_size=3).map(tuple)),
    max_size=3,
)


def test_unknown_names_leave_nothing_behind() -> None:
    index = Index({1: 10}, {1: (prop("name", "x"),)}.__getitem__)
    for number in range(1000):
        assert index.find(b"nosuch%d" % number, b"x") == ()
    assert index._maps == {}


def test_names_that_are_gone_are_unknown_again() -> None:
    before, after = (prop("name", "x"),), (prop("other", "x"), prop("other", "y"))
    properties: dict[int, tuple[Property, ...]] = {1: before}
    index = Index({1: 10}, lambda child: properties[child])
    properties[1] = after
    index.replace(1, before, after)
    assert index.find(b"name", b"x") == ()
    assert index.find(b"other", b"x") == [1]
    index.replace(1, after, ())
    assert set(index._names) == set()
    assert set(index._maps) == {b"other"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "move", "drop", "find"]),
            st.integers(1, 5),
            st.integers(-99, 99),
            PROPERTIES,
        ),
        max_size=30,
    )
)
def test_finds_what_a_scan_finds(steps: list[tuple[str, int, int, list[Property]]]) -> None:
    order: dict[int, int] = {}
    properties: dict[int, list[Property]] = {}
    index = Index(order, properties.__getitem__)
    for kind, child, place, wanted in steps:
        if kind == "put" and (child in order or place not in order.values()):
            before = properties.get(child, [])
            if child not in order:
                order[child] = place
                for number, position in sorted(order.items(), key=lambda item: item[1]):
                    del order[number]
                    order[number] = position
            index.replace(child, before, wanted)
            properties[child] = wanted
        elif kind == "drop" and child in order:
            index.replace(child, properties.pop(child), ())
            del order[child]
        elif kind == "find":
            index.find(KEYS[child % 3], VALUES[place % 3])
        for key in KEYS if kind == "move" else ():
            for value in VALUES:
                expected = [number for number in order if value in values_of(properties[number], key)]
                assert list(index.find(key, value)) == expected
    for key in KEYS:
        for value in VALUES:
            expected = [number for number in order if value in values_of(properties[number], key)]
            assert list(index.find(key, value)) == expected
