"""Host files: the table of SUP 6.4, and networks."""

import pytest

from sup.hosts import Host, admitting, matches, parse

ADDRESSES = {"localhost": ["127.0.0.1", "::1"], "example": ["192.0.2.7"]}


def resolve(name: str) -> list[str]:
    return ADDRESSES.get(name, [])


def test_parse() -> None:
    text = b"# hosts\nlocalhost\n!example\n! other \t a key with blanks\n192.0.2.0/24\tk\n\n   \n"
    assert list(parse(text)) == [
        Host("localhost"),
        Host("example", negated=True),
        Host("other", negated=True, key=b"a key with blanks"),
        Host("192.0.2.0/24", key=b"k"),
    ]


@pytest.mark.parametrize(
    ("text", "peer", "admitted"),
    [
        (b"", "127.0.0.1", False),
        (b"localhost", "127.0.0.1", True),
        (b"localhost", "::1", True),
        (b"localhost", "192.0.2.7", False),
        (b"!localhost", "127.0.0.1", False),
        (b"!localhost", "192.0.2.7", True),
        (b"!example.invalid\n!localhost", "127.0.0.1", True),
        (b"!localhost\nlocalhost", "127.0.0.1", True),
        (b"127.0.0.1", "127.0.0.1", True),
        (b"127.0.0.1", "::ffff:127.0.0.1", True),
        (b"127.0.0.2", "127.0.0.1", False),
        (b"127.0.0.0/8", "127.9.9.9", True),
        (b"!10.0.0.0/8", "10.1.1.1", False),
        (b"fe80::/10", "fe80::1%eth0", True),
        (b"fe80::/10", "10.1.1.1", False),
        (b"unknown.example", "10.1.1.1", False),
        (b"LOCAL", "127.0.0.1", False),
    ],
)
def test_admitting(text: bytes, peer: str, admitted: bool) -> None:
    assert (admitting(parse(text), peer, resolve) is not None) is admitted


def test_the_key_is_that_of_the_first_line_that_matches() -> None:
    line = admitting(parse(b"example one\nlocalhost two\nlocalhost three"), "127.0.0.1", resolve)
    assert line is not None
    assert line.key == b"two"


def test_addresses_are_not_looked_up() -> None:
    def never(name: str) -> list[str]:
        raise AssertionError(name)

    assert matches("192.0.2.0/24", "192.0.2.1", never)
    assert not matches("192.0.2.1", "192.0.2.2", never)
