"""List files: commands, comments, globs that never leave the collection, included files."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sup.listfile import Command, Keyword, ListFileError, Rules, expand, glob, parse, shell_command
from sup.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    for name in ("d/a", "d/ab", "d/b.o", "d/.hidden", "d/e/f", "d/e/g.o", "x y", "#z", "d2/f"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "dangling").symlink_to("nothing")
    with Tree(os.fsencode(tmp_path)) as tree:
        yield tree


def nothing(_: bytes) -> Iterator[bytes]:
    return iter(())


def test_parse() -> None:
    text = b"# comment\n  upgrade a b\t\tc\n\n \t \n;no\nomitany *.o\nexecute touch %s; ls (a\tb ) ignored\n"
    assert list(parse(text)) == [
        Command(Keyword.UPGRADE, (b"a", b"b", b"c")),
        Command(Keyword.OMITANY, (b"*.o",)),
        Command(Keyword.EXECUTE, (b"a", b"b"), b"touch %s; ls"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"upgrade a\nUPGRADE b\n", "Invalid list file keyword UPGRADE"),
        (b" # not a comment", "Invalid list file keyword #"),
        (b"execute touch x\n", "no command or no (names)"),
        (b"execute (x)\n", "no command or no (names)"),
    ],
)
def test_a_bad_line_is_an_error(text: bytes, message: str) -> None:
    with pytest.raises(ListFileError, match=re.escape(message)):
        list(parse(text))


@pytest.mark.parametrize(
    ("operand", "names"),
    [
        (b"d", [b"d"]),
        (b"./d/", [b"d"]),
        (b"d//a", [b"d/a"]),
        (b"nothing", []),
        (b".", [b"."]),
        (b"*", [b"#z", b"d", b"d2", b"dangling", b"x y"]),
        (b"d*", [b"d", b"d2", b"dangling"]),
        (b"d*/f", [b"d2/f"]),
        (b"d/*/*", [b"d/e/f", b"d/e/g.o"]),
        (b"*/*.o", [b"d/b.o"]),
        (b"d/.*", [b"d/.hidden"]),
        (b"d/?", [b"d/a", b"d/e"]),
        (b"d/{a,b.o,none}", [b"d/a", b"d/b.o"]),
        (b"{d,d2}/{a,f}", [b"d/a", b"d2/f"]),
        (b"d/[ab]*", [b"d/a", b"d/ab", b"d/b.o"]),
        (b"x?y", [b"x y"]),
        (b"dangling", [b"dangling"]),
        (b"dangling/*", []),
        (b"d/a/*", []),
        (b"{}", []),
    ],
)
def test_glob(tree: Tree, operand: bytes, names: list[bytes]) -> None:
    assert sorted(glob(operand, tree)) == names


@pytest.mark.parametrize(
    "operand", [b"/etc", b"../x", b"d/../d", b"~root", b"~", b"{d,../x}", b"a/..", b"{a,b}" * 30]
)
def test_operands_that_lead_out_are_errors(tree: Tree, operand: bytes) -> None:
    with pytest.raises(ListFileError, match="list file"):
        list(glob(operand, tree))


def test_glob_follows_directory_links_only_within_the_tree(tmp_path: Path) -> None:
    (tmp_path / "in/d").mkdir(parents=True)
    (tmp_path / "in/d/x").touch()
    (tmp_path / "in/l").symlink_to("d")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").touch()
    (tmp_path / "in/o").symlink_to("../out")
    with Tree(os.fsencode(tmp_path / "in")) as tree:
        assert list(glob(b"l/*", tree)) == [b"l/x"]
        assert list(glob(b"o/*", tree)) == []
        assert list(glob(b"o/secret", tree)) == []


def test_expand(tree: Tree) -> None:
    text = b"""upgrade d* #z
omit d/e
always d/e/g.o
omitany *.o
backup d/a
noaccount d/a d/ab
symlink dangling
rsymlink d
execute touch %s (d/a d/ab)
execute touch %s (d/a)
execute ls (d/a)
"""
    rules = expand(parse(text), tree, nothing)
    assert rules.omitany is not None
    assert rules.omitany.match(b"d/x.o")
    assert rules == Rules(
        upgrade=frozenset([b"d", b"d2", b"dangling", b"#z"]),
        always=frozenset([b"d/e/g.o"]),
        omit=frozenset([b"d/e"]),
        omitany=rules.omitany,
        backup=frozenset([b"d/a"]),
        noaccount=frozenset([b"d/a", b"d/ab"]),
        symlink=frozenset([b"dangling"]),
        rsymlink=frozenset([b"d"]),
        execute={b"d/a": (b"ls", b"touch d/a"), b"d/ab": (b"touch d/ab",)},
    )


def test_include(tree: Tree) -> None:
    texts = {b"one": [b"upgrade d\ninclude two\n"], b"two": [b"omit d/e\n", b"omit d/a\n"], b"none": []}
    rules = expand(parse(b"include one none\nupgrade d2\n"), tree, lambda operand: iter(texts[operand]))
    assert rules == Rules(upgrade=frozenset([b"d", b"d2"]), omit=frozenset([b"d/e", b"d/a"]))


def test_a_file_that_includes_itself_ends(tree: Tree) -> None:
    with pytest.raises(ListFileError, match="includes more than"):
        expand(parse(b"include me"), tree, lambda _: iter([b"include me"]))


@pytest.mark.parametrize(
    ("shell", "name", "sane", "historic"),
    [
        (b"touch %s", b"d/a", b"touch d/a", b"touch d/a"),
        (b"touch %s", b"a;rm", b"touch 'a;rm'", b"touch a;rm"),
        (b"touch %s", b"\xff a", b"touch '\xff a'", b"touch \xff a"),
        (b"date +%%s %s %s", b"a", b"date +%s a %s", b"date +%s a %s"),
        (b"run %d", b"a", b"run %d", b"run %d"),
    ],
)
def test_shell_command(shell: bytes, name: bytes, sane: bytes, historic: bytes) -> None:
    assert shell_command(shell, name) == sane
    assert shell_command(shell, name, historic=True) == historic


def test_lines_are_no_longer_than_the_originals() -> None:
    """Else braces within braces could take hours to be taken apart."""
    assert len(list(parse(b"upgrade " + b"x" * 1991))) == 1
    with pytest.raises(ListFileError, match="Line 2 of the list file is longer than 1999 bytes"):
        list(parse(b"upgrade x\nupgrade " + b"{" * 996 + b"}" * 996 + b"\n"))
