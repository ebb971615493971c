"""Tag aliases: which domain a client means (NETINFO 4.2)."""

import pytest

from netinfo.aliases import alias_of, real_tag
from netinfo.rawformat import load, plant
from netinfo.tree import Tree

INSIDE = """{
  "alias_name" = ( "network" );
  "alias_addrs" = ( "10.1.0.0/255.255.0.0", "junk", "10.9.0.1&255.255.255.255" );
}"""


def tree(text: str) -> Tree:
    return plant(load(text.encode()))


DOMAINS = [
    (b"plain", tree("{ }")),
    (b"inside", tree(INSIDE)),
    (b"outside", tree('{ "alias_name" = ( "network" ); "alias_addrs" = ( "0.0.0.0/0.0.0.0" ); }')),
]


@pytest.mark.parametrize(
    ("tag", "client", "real"),
    [
        (b"network", "10.1.2.3", b"inside"),
        (b"network", "10.9.0.1", b"inside"),
        (b"network", "10.9.0.2", b"outside"),
        (b"network", "::1", b"network"),
        (b"inside", "10.9.0.2", b"inside"),
        (b"other", "10.1.2.3", b"other"),
    ],
)
def test_the_first_alias_that_fits_counts(tag: bytes, client: str, real: bytes) -> None:
    assert real_tag(tag, client, DOMAINS) == real


def test_what_is_no_alias() -> None:
    assert alias_of(Tree()) is None
    assert alias_of(tree("{ }")) is None
    assert alias_of(tree('{ "alias_name" = ( ); }')) is None
    assert alias_of(tree('{ "alias_name" = ( "n" ); "alias_addrs" = ( "10.0.0.0" ); }')) == (b"n", ())
