"""Names are brought into one form or refused, and refuse sets match as SUP 4.2 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup.names import UnsafeName, ancestors, is_collection_name, is_covered, is_refused, normalise


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"a", b"a"),
        (b"./a", b"a"),
        (b"a//b", b"a/b"),
        (b"a/./b/", b"a/b"),
        (b"d/...", b"d/..."),
        (b".", b"."),
        (b"./", b"."),
        (b".a/..b", b".a/..b"),
        (b"\xff\n#", b"\xff\n#"),
        (b" ", b" "),
    ],
)
def test_normalise(written: bytes, name: bytes) -> None:
    assert normalise(written) == name


@pytest.mark.parametrize(
    "name", [b"", b"/", b"/etc/passwd", b"//x", b"..", b"../x", b"a/../b", b"./..", b"a/..", b"a\0"]
)
def test_unsafe_names_are_refused(name: bytes) -> None:
    with pytest.raises(UnsafeName):
        normalise(name)


@given(st.lists(st.sampled_from([b"a", b".", b"..", b"", b"b c", b"...", b"\0"])).map(b"/".join))
def test_a_normalised_name_stays_below_its_directory(written: bytes) -> None:
    try:
        name = normalise(written)
    except UnsafeName:
        return
    assert normalise(name) == name
    assert name == b"." or not {b"", b".", b".."} & set(name.split(b"/"))


def test_ancestors() -> None:
    assert list(ancestors(b"a/b/c")) == [b"a/b", b"a"]
    assert list(ancestors(b"a")) == []
    assert list(ancestors(b".")) == []


@pytest.mark.parametrize(
    ("name", "refused", "answer"),
    [
        (b"data/a", {b"data/a"}, True),
        (b"data/a/b", {b"data/a"}, True),
        (b"data/ab", {b"data/a"}, False),
        (b"data/a", {b"./data/a"}, False),
        (b"data/d3/x", {b"data/d3/"}, False),
        (b"data/bc", {b"data/b*"}, False),
        (b"data/a", {b"."}, True),
        (b"data/a", {b"", b"/", b".."}, False),
        (b"data", {b"data/a"}, False),
        (b"x", set(), False),
    ],
)
def test_refused(name: bytes, refused: set[bytes], answer: bool) -> None:
    assert is_refused(name, frozenset(refused)) is answer


def test_covered() -> None:
    assert is_covered(b"d/e/a", frozenset([b"d"]))
    assert is_covered(b"d", frozenset([b"d"]))
    assert is_covered(b"x", frozenset([b"."]))
    assert not is_covered(b"x", frozenset([b"d"]))


@pytest.mark.parametrize(
    ("name", "answer"),
    [(b"demo", True), (b"net/src", True), (b"x" * 255, True), (b"x" * 256, False), (b"", False), (b".", False),
     (b"../x", False), (b"/x", False), (b"a//b", False), (b"a\0", False)],
)  # fmt: skip
def test_collection_names(name: bytes, answer: bool) -> None:
    assert is_collection_name(name) is answer
