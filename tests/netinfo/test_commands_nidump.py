"""nidump: raw text and flat files (NETINFO 6.3, 6.4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netinfo.flat.formats import FORMATS
from netinfo.rawformat import load
from tests.netinfo.served import Served
from tests.netinfo.tools import Tool

RECORDED = Path(__file__).parents[1] / "captures" / "netinfo" / "next-tools.txt"


def test_flat_files_of_the_sample_domain(host: Served, tool: Tool) -> None:
    passwd = tool("nidump", "passwd", host.network)
    assert passwd.lines()[1].split(":")[::2] == ["ann", "101", "Ann Example", "/bin/csh"]
    assert tool("nidump", "--dialect", "apple", "passwd", host.network).lines()[1].count(":") == 9
    assert tool("nidump", "passwd.43", host.network).out == passwd.out
    assert "127.0.0.1 \tsrv" in tool("nidump", "hosts", host.network).out
    assert tool("nidump", "--dialect", "apple", "hosts", host.network).lines()[0].startswith("127.0.0.1\tsrv")
    assert tool("nidump", "bootptab", host.network).lines()[:3] == ["/private/tftpboot:/", "mach", "%%"]
    assert "nameserver" in tool("nidump", "resolv.conf", host.network).out


@pytest.mark.parametrize("form", list(FORMATS))
def test_every_format_can_be_dumped(host: Served, tool: Tool, form: str) -> None:
    ran = tool("nidump", form, host.network)
    assert (ran.code, ran.err) == (0, "")
    assert isinstance(json.loads(tool("nidump", "--json", form, host.network).out), list)


def test_a_domain_without_the_directory_has_nothing_to_say(domain: str, tool: Tool) -> None:
    assert tool("nidump", "-t", "passwd", domain).out == ""
    assert json.loads(tool("nidump", "-t", "--json", "passwd", domain).out) == []


def test_raw_text_of_everything(host: Served, tool: Tool) -> None:
    ran = tool("nidump", "-r", "/", host.network)
    assert ran.lines()[:2] == ["{", '  "master" = ( "srv/network" );']
    branch = load(ran.out.encode())
    assert [child.properties[0].values[0] for child in branch.children][:2] == [b"machines", b"users"]
    by_tag = tool("nidump", "-r", "/", "-t", host.by_tag())
    assert by_tag.out == ran.out, "-t may stand before the domain, as in Apple's synopsis"


def test_raw_text_of_a_part_and_as_json(host: Served, tool: Tool) -> None:
    ann = tool("nidump", "-r", "/users/ann", host.network)
    assert load(ann.out.encode()).properties[0].values == (b"ann",)
    tree = json.loads(tool("nidump", "-r", "--json", "/users", host.network).out)
    assert [child["properties"][0]["values"] for child in tree["children"]] == [["root"], ["ann"], ["ben"]]
    missing = tool("nidump", "-r", "/nope", host.network)
    assert (missing.code, missing.err) == (105, "nidump: /nope: No such directory\n")


@pytest.mark.parametrize(
    "argv", [[], ["passwd"], ["nonsense", "."], ["-r", "/"], ["passwd", ".", "more"], ["-x", "passwd", "."]]
)
def test_wrong_usage_is_explained(tool: Tool, argv: list[str]) -> None:
    ran = tool("nidump", *argv)
    assert ran.code == 1
    assert "usage: nidump" in ran.err


def test_help_lists_the_formats(tool: Tool) -> None:
    ran = tool("nidump", "-help")
    assert ran.code == 0
    assert all(form in ran.out for form in FORMATS)
