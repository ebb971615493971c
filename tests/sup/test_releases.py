"""Releases files and the chains in them (SUP 6.3)."""

import pytest

from sup.releases import LONGEST_CHAIN, InvalidOption, NoSuchRelease, Release, chain, parse

TEXT = b"""# releases of demo
one next = two prefix=p1 list= list.one
two\tprefix p2 scan=scan.two host=host.two
three next=default
last next=first
first prefix=p3
loop next=loop2
loop2 next=loop
broken next=nothing
"""


def test_parse() -> None:
    releases = parse(TEXT)
    assert releases[:2] == [
        Release(b"one", b"two", b"p1", b"list.one"),
        Release(b"two", None, b"p2", scan=b"scan.two", host=b"host.two"),
    ]


def test_unknown_option() -> None:
    with pytest.raises(InvalidOption, match="Invalid release option color for release one"):
        parse(b"one color=red\n")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (b"one", [b"one", b"two"]),
        (b"two", [b"two"]),
        (b"default", [b"default"]),
        (b"three", [b"three", b"default"]),
        (b"last", [b"last", b"first"]),
    ],
)
def test_chain(wanted: bytes, names: list[bytes]) -> None:
    assert [release.name for release in chain(parse(TEXT), wanted)] == names


@pytest.mark.parametrize("wanted", [b"none", b"", b"broken", b"loop"])
def test_chains_that_lead_nowhere(wanted: bytes) -> None:
    with pytest.raises(NoSuchRelease):
        chain(parse(TEXT), wanted)


def test_the_search_wraps_around_and_may_meet_two_lines_of_one_name() -> None:
    releases = parse(b"b prefix=x\na next=b prefix=a\nb prefix=y\n")
    assert [release.prefix for release in chain(releases, b"a")] == [b"a", b"y"]
    releases = parse(b"b prefix=x\na next=b prefix=a\n")
    assert [release.prefix for release in chain(releases, b"a")] == [b"a", b"x"]


def test_without_a_file_there_is_the_default() -> None:
    assert chain([], b"default") == (Release(b"default"),)


def test_chains_have_an_end() -> None:
    """Each tree of a chain costs descriptors."""
    releases = parse(b"".join(b"r%d next=r%d\n" % (at, at + 1) for at in range(200)) + b"r200\n")
    assert len(chain(releases, b"r%d" % (201 - LONGEST_CHAIN))) == LONGEST_CHAIN
    with pytest.raises(NoSuchRelease):
        chain(releases, b"r%d" % (200 - LONGEST_CHAIN))
