"""The raw text format: the spec's example to the byte, the grammar's liberties, and every value there and back."""

from __future__ import annotations

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import given

from netinfo import rawformat
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.limits import LIMITS
from netinfo.rawformat import Branch, RawFormatError, branch_of, dump, load, plant
from tests.netinfo.base import prop
from wire.formats.netinfo import Property

EXAMPLE = b"""{
  "name" = ( "users" );
  CHILDREN = (
    {
      "name" = ( "root", "operator" );
      "passwd" = ( );
      "_writers_passwd" = ( "root" );
    },
    {
      "name" = ( "me" );
    }
  )
}
"""
USERS = Branch(
    (prop("name", "users"),),
    (
        Branch((prop("name", "root", "operator"), prop("passwd"), prop("_writers_passwd", "root"))),
        Branch((prop("name", "me"),)),
    ),
)


def test_writes_the_examples_bytes() -> None:
    assert dump(USERS) == EXAMPLE
    assert load(EXAMPLE) == USERS


@pytest.mark.parametrize(
    "text",
    [
        b"{ name = users ; CHILDREN = ( { name = ( root operator ); passwd = ( ); "
        b'"_writers_passwd" = root; }, { name = me; } ) }',
        b'name = ( users ); CHILDREN = { name = root, operator; passwd = (); _writers_passwd = ("root",); }, '
        b"name = me;",
        b'"name"=("users");CHILDREN = ({"name"=("root""operator");"passwd"=();'
        b'"_writers_passwd"=("root");},{"name"=("me");},);',
    ],
)
def test_reads_what_the_grammar_allows(text: bytes) -> None:
    assert load(text) == USERS


def test_children_is_a_keyword_only_without_quotes() -> None:
    assert load(b'{ "CHILDREN" = ( "a" ); }') == Branch((prop("CHILDREN", "a"),))
    assert load(b"{ CHILDREN = ( ) }") == Branch()
    assert load(b"") == Branch()


def test_properties_may_follow_the_children() -> None:
    text = b"a = 1; CHILDREN = ( { } ); b = 2; CHILDREN = ( { c = 3; } );"
    assert load(text) == Branch((prop("a", "1"), prop("b", "2")), (Branch(), Branch((prop("c", "3"),))))


def test_backslashes_of_both_writers_are_read() -> None:
    assert load(rb'"p" = ( "C:\dir\new", "a\\b", "say \"hi\"" );').properties == (
        prop("p", rb"C:\dir\new", rb"a\b", rb'say "hi"'),
    )
    assert load(rb"a\ b = c\;d;").properties == (prop("a b", "c;d"),)
    assert dump(Branch((prop("p", "\\"),))) == b'{\n  "p" = ( "\\\\" );\n}\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{\n "a" = ( "b );', "line 2: a quoted string has no end"),
        (b"{\n\n a b; }", "line 3: expected = but found b"),
        (b"{ a = ; }", "line 1: property a has no value after ="),
        (b"{ a = b }", "line 1: expected ; but found }"),
        (b"{ a = ( b ; }", "line 1: expected ) but found ;"),
        (b"{ a = b;", "line 1: expected } but found the end of the text"),
        (b"{ } }", "line 1: } does not belong here"),
        (b"CHILDREN = ( , );", "line 1: expected a directory"),
        (b"CHILDREN = ( { } { } );", "line 1: expected ) but found {"),
        (b"\xff = ( \n = );", "line 2: expected ) but found ="),
        (b"CHILDREN = { " * 130, "line 1: directories are nested deeper than 128"),
        (b"a = \\", "line 1: a backslash at the end of the text escapes nothing"),
    ],
)
def test_damage_is_named_with_its_line(text: bytes, sentence: str) -> None:
    with pytest.raises(RawFormatError) as caught:
        load(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "text",
    [
        b"n" * 1025 + b" = ( );",
        b"n = %s;" % (b"v" * 65_536),
        b"n = ( %s );" % (b"v " * 4097),
        b"n = ( );" * 1025,
        b"n = ( %s );" % (b"v" * 60_000 + b" ") * 18,
    ],
    ids=["name", "value", "values", "properties", "directory"],
)
def test_a_directory_that_no_server_takes_is_refused(text: bytes) -> None:
    with pytest.raises(RawFormatError, match=r"line 2: a server does not take a directory of this size"):
        load(b"CHILDREN = (\n{ " + text + b" } )")


def test_more_directories_than_a_domain_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"CHILDREN = ( { }, { } )"
    load(text)
    monkeypatch.setattr(rawformat, "LIMITS", attrs.evolve(LIMITS, directories=2))
    with pytest.raises(RawFormatError, match=r"line 1: there are more than 2 directories"):
        load(text)


NAMES = st.binary(max_size=6) | st.sampled_from(
    [b"CHILDREN", b'"', b"\\", b'\\"', b"\\\\", b"a\nb", b"=", b"{"]
)
BRANCHES = st.recursive(
    st.builds(
        Branch, st.lists(st.builds(Property, NAMES, st.lists(NAMES, max_size=3).map(tuple))).map(tuple)
    ),
    lambda inner: st.builds(
        Branch, st.just((prop("name", "x"),)), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=8,
)


@given(BRANCHES)
def test_every_tree_survives(branch: Branch) -> None:
    assert load(dump(branch)) == branch


PIECES = [b"{", b"}", b"(", b")", b",", b";", b"=", b"a ", b'"', b"\\", b"CHILDREN "]


@given(st.binary(max_size=40) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        branch = load(text)
    except RawFormatError:
        return  # and nothing else
    assert load(dump(branch)) == branch


@pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
def test_planting_numbers_as_creating_would(generation: Generation) -> None:
    tree = plant(USERS, generation)
    first = generation.first_instance
    assert [(d.number, d.instance, d.parent) for d in tree.walk()] == [
        (0, 4, 0),
        (1, first, 0),
        (2, first, 0),
    ]
    assert branch_of(tree, tree.directories[0]) == USERS
