"""niload: what is created, kept, changed and destroyed, in both dialects (NETINFO 6.3, 6.4)."""

from __future__ import annotations

import pytest

from tests.netinfo.served import Served
from tests.netinfo.tools import Tool

ANN = b"ann:x:101:20:Ann:/h:/bin/sh\n"
BEN = b"ben:y:102:20:Ben:/h:/bin/sh\n"


def accounts(tool: Tool, domain: str) -> list[str]:
    return tool("nidump", "-t", "passwd", domain).lines()


def test_new_accounts_are_created_and_known_ones_changed(domain: str, tool: Tool) -> None:
    ran = tool("niload", "-v", "-t", "passwd", domain, stdin=ANN + BEN)
    assert (ran.code, ran.err) == (0, "create ann\ncreate ben\n")
    tool("niutil", "-createprop", "-t", domain, "/users/ann", "note", "mine")
    changed = ANN.replace(b"/bin/sh", b"/bin/csh")
    ran = tool("niload", "-v", "-t", "passwd", domain, stdin=changed + BEN)
    assert ran.err == "change ann\nkeep ben\n"
    assert accounts(tool, domain) == ["ann:x:101:20:Ann:/h:/bin/csh", "ben:y:102:20:Ben:/h:/bin/sh"]
    assert tool("niutil", "-readprop", "-t", domain, "/users/ann", "note").out == "mine\n"


def test_next_s_loader_removes_what_is_empty(domain: str, tool: Tool) -> None:
    tool("niload", "-t", "passwd", domain, stdin=ANN)
    tool("niload", "-t", "passwd", domain, stdin=b"ann::101:20:::\n")
    assert tool("niutil", "-readprop", "-t", domain, "/users/ann", "shell").code == 106
    assert tool("niutil", "-read", "-t", domain, "/users/ann").lines()[1] == "passwd: "


def test_apple_s_loader_replaces_or_merges(domain: str, tool: Tool) -> None:
    group = b"staff:*:20:ann,ben\n"
    assert tool("niload", "--dialect", "apple", "-t", "group", domain, stdin=group).code == 0
    tool("niutil", "-createprop", "-t", domain, "/groups/staff", "note", "mine")
    tool("niload", "--dialect", "apple", "-m", "-t", "group", domain, stdin=b"staff:*:21:carl\n")
    merged = tool("niutil", "-read", "-t", "--dialect", "apple", domain, "/groups/staff").lines()
    assert merged == ["name: staff", "passwd: *", "gid: 21 20", "users: carl ann ben", "note: mine"]
    tool("niload", "--dialect", "apple", "-t", "group", domain, stdin=b"staff:*:22:dora\n")
    replaced = tool("niutil", "-read", "-t", "--dialect", "apple", domain, "/groups/staff").lines()
    assert replaced == ["name: staff", "passwd: *", "gid: 22", "users: dora"]


@pytest.mark.parametrize("dialect", ["next", "apple"])
def test_deleting_what_the_input_lacks(domain: str, tool: Tool, dialect: str) -> None:
    hosts = b"10.0.0.1 one uno\n10.0.0.2 two\n10.0.0.3 three\n"
    tool("niload", "--dialect", dialect, "-t", "hosts", domain, stdin=hosts)
    before = tool("niutil", "-list", "-t", domain, "/machines").lines()
    tool("niload", "--dialect", dialect, "-d", "-t", "hosts", domain, stdin=b"10.0.0.1 uno\n10.0.0.3 three\n")
    after = tool("niutil", "-list", "-t", domain, "/machines").lines()
    assert len(before) == 4
    names = sorted(line.split()[1] for line in after)
    assert names == ["three", "uno"]
    if dialect == "next":
        assert {line.split()[0] for line in after} < {line.split()[0] for line in before}, (
            "kept, not made anew"
        )


def test_another_key(domain: str, tool: Tool) -> None:
    tool("niload", "-t", "passwd", domain, stdin=ANN)
    renamed = ANN.replace(b"ann:", b"anna:")
    tool("niload", "-k", "uid", "-t", "passwd", domain, stdin=renamed)
    assert accounts(tool, domain) == ["anna:x:101:20:Ann:/h:/bin/sh"]
    ran = tool("niload", "-k", "nope", "-t", "passwd", domain, stdin=ANN)
    assert (ran.code, "has no nope" in ran.err) == (1, True)


def test_a_mistake_in_the_last_line_changes_nothing(domain: str, tool: Tool) -> None:
    ran = tool("niload", "-t", "passwd", domain, stdin=ANN + b"broken:line\n")
    assert ran.code == 1
    assert "broken:line" in ran.err
    assert accounts(tool, domain) == []


RAW = b"""{ "name" = ( "tree" ); CHILDREN = ( { "name" = ( "leaf" ); }, { "name" = ( "twig" ); "x" = ( ); } ) }"""


def test_raw_text_replaces_a_directory(domain: str, tool: Tool) -> None:
    assert tool("niload", "-r", "/made/on/the/way", "-t", domain, stdin=RAW).code == 0
    names = [line.split()[1] for line in tool("niutil", "-list", "-t", domain, "/made/on/the/tree").lines()]
    assert names == ["leaf", "twig"]
    assert (
        tool("niload", "-r", "/made/on/the/tree", "-t", domain, stdin=b'{ "name" = ( "tree" ); }').code == 0
    )
    assert tool("niutil", "-list", "-t", domain, "/made/on/the/tree").out == ""


def test_dumped_and_loaded_again_it_is_the_same(host: Served, domain: str, tool: Tool) -> None:
    whole = tool("nidump", "-r", "/", host.network).out
    assert tool("niload", "-r", "/", "-t", domain, stdin=whole.encode()).code == 0
    assert tool("nidump", "-r", "/", "-t", domain).out == whole


def test_raw_text_that_is_none(domain: str, tool: Tool) -> None:
    ran = tool("niload", "-r", "/x", "-t", domain, stdin=b"{ nonsense")
    assert ran.code == 1
    assert "line 1" in ran.err
    relative = tool("niload", "-r", "x", "-t", domain, stdin=RAW)
    assert (relative.code, "begins with a slash" in relative.err) == (1, True)


@pytest.mark.parametrize("argv", [[], ["passwd"], ["exports", "."], ["nonsense", "."], ["-r", "/x"]])
def test_wrong_usage_is_explained(tool: Tool, argv: list[str]) -> None:
    ran = tool("niload", *argv)
    assert ran.code == 1
    assert "usage: niload" in ran.err
