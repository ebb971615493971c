"""nigrep, nireport, nifind and nidomain: output and exit codes (NETINFO 6.5)."""

from __future__ import annotations

import json

import pytest

from netinfo.client.names import Portmapper
from netinfo.commands.nidomain import host_of
from netinfo.commands.tool import run_tool
from tests.netinfo.served import Served
from tests.netinfo.tools import Tool


def test_nigrep_tells_number_path_and_property(host: Served, tool: Tool) -> None:
    ran = tool("nigrep", "^Ann", host.network)
    number = tool("niutil", "-list", host.network, "/users").lines()[1].split()[0]
    assert ran.out == f"{number} /users/ann:  realname Ann Example\n"
    assert tool("nigrep", "^Ann", "-t", host.by_tag()).out == ran.out
    assert tool("nigrep", "^Ann", host.network, "/machines").out == ""
    assert tool("nigrep", "^Ann", host.network, "/machines", "/users").out == ran.out
    assert (
        tool("nigrep", "_writers_passwd", host.network, "/users").lines()[0].endswith("_writers_passwd root")
    )
    found = json.loads(tool("nigrep", "--json", "^Ann", host.network).out)
    assert found == [{"id": int(number), "path": "/users/ann", "name": "realname", "values": ["Ann Example"]}]


def test_nigrep_names_directories_without_a_name(domain: str, tool: Tool) -> None:
    tool("niutil", "-create", "-t", domain, "/x/color=red")
    ran = tool("nigrep", "red", "-t", domain)
    number = ran.out.split()[0]
    assert ran.out == f"{number} /x/dir: {number}:  color red\n"


def test_nigrep_refuses_what_is_no_expression(tool: Tool) -> None:
    ran = tool("nigrep", "(", ".")
    assert (ran.code, "not a regular expression" in ran.err) == (1, True)
    assert tool("nigrep", "x").code == 1


def test_nireport_makes_a_table(host: Served, tool: Tool) -> None:
    ran = tool("nireport", host.network, "/users", "name", "uid", "nope")
    assert ran.lines() == ["root\t0\t#NoValue#\t", "ann\t101\t#NoValue#\t", "ben\t102\t#NoValue#\t"]
    machines = tool("nireport", "-t", host.by_tag(), "/machines", "serves").lines()
    assert machines[0] == "./network,srv/local\t"
    rows = json.loads(tool("nireport", "--json", host.network, "/users", "name").out)
    assert rows == [{"name": ["root"]}, {"name": ["ann"]}, {"name": ["ben"]}]
    assert tool("nireport", host.network, "/users").code == 1
    assert tool("nireport", host.network, "/nope", "name").code == 105


def test_nifind_climbs(host: Served, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTPORTS_PORTMAP", host.portmapper)
    number = tool("niutil", "-list", host.network, "/users").lines()[1].split()[0]
    assert tool("nifind", "/users/ann").out == f"/users/ann found in /, id = {number}\n"
    verbose = tool("nifind", "-v", "/users/ann").lines()
    assert verbose == ["/users/ann not found in /srv", f"/users/ann found in /, id = {number}"]
    both = tool("nifind", "/machines").lines()
    assert [line.partition(",")[0] for line in both] == ["/machines found in /srv", "/machines found in /"]
    assert [line.partition(",")[0] for line in tool("nifind", "-n", "/machines").lines()] == [
        "/machines found in /"
    ]
    printed = tool("nifind", "-p", "/users/ann", "..").lines()
    assert printed[1] == "name: ann"
    assert printed[-1] == ""
    everywhere = tool("nifind", "-a", "/users/root", "..")
    assert [line.split(",")[0] for line in everywhere.lines()] == [
        "/users/root found in /",
        "/users/root found in /srv",
    ]
    found = json.loads(tool("nifind", "--json", "/users/ann").out)
    assert [(each["domain"], each["id"]) for each in found] == [("/", int(number))]


def test_nifind_from_a_server(host: Served, tool: Tool) -> None:
    assert tool("nifind", "/users/ann", "-t", host.by_tag()).out.startswith("/users/ann found in /, id = ")
    assert tool("nifind", "/nope", host.network).out == ""
    assert tool("nifind").code == 1
    assert tool("nifind", "/users", "127.0.0.1:1").code == 200


def test_nidomain_lists_and_shows(host: Served, tool: Tool) -> None:
    lines = tool("nidomain", "-l", host.portmapper).lines()
    port = host.network.rpartition(":")[2]
    assert f"tag=network udp={port} tcp={port}" in lines
    assert tool("nidomain", "-g", "network", host.portmapper).out == f"tag=network udp={port} tcp={port}\n"
    listed = json.loads(tool("nidomain", "-l", "--json", host.portmapper).out)
    assert {"tag": "network", "udp": int(port), "tcp": int(port)} in listed
    nope = tool("nidomain", "-g", "nope", host.portmapper)
    assert (nope.code, nope.err) == (
        119,
        "nidomain: show one domain's ports: operation failed - No such tag\n",
    )


def test_nidomain_makes_and_unmakes(host: Served, tool: Tool) -> None:
    assert tool("nidomain", "-m", "fresh", host.portmapper).code == 0
    again = tool("nidomain", "-m", "network", host.portmapper)
    assert (again.code, "Duplicate domain tag" in again.err) == (118, True)
    assert tool("nidomain", "-d", "fresh", host.portmapper).code == 0
    assert tool("nidomain", "-d", "fresh", host.portmapper).code == 119
    assert tool("nidomain", "-u", "never-there", host.portmapper).code == 0
    assert tool("nidomain", "-m", "../evil", host.portmapper).code == 114


def test_nidomain_gives_a_domain_another_tag(host: Served, tool: Tool) -> None:
    assert tool("nidomain", "-a", "network", "public", host.portmapper).code == 0
    assert tool("niutil", "-list", "-t", host.by_tag("public"), "/users").code == 0
    assert tool("nidomain", "-u", "public", host.portmapper).code == 0
    assert tool("nidomain", "-g", "public", host.portmapper).code == 119
    assert tool("nidomain", "-a", "nope", "public", host.portmapper).code == 119


def test_nidomain_asks_for_root_s_password(host: Served, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: {"Password for root: ": "secret"}[prompt])
    assert tool("nidomain", "-u", "nope", "-p", host.portmapper).code == 0
    assert tool("nidomain", "-l", "-P", "x" * 300, host.portmapper).code == 1


def test_nidomain_makes_a_clone(host: Served, tool: Tool) -> None:
    master = host.by_tag()
    assert tool("nidomain", "-c", "copy", master, host.portmapper).code == 0
    for _ in range(50):
        ran = tool("niutil", "-statistics", "-t", host.by_tag("copy"))
        if ran.code == 0:
            break
    assert ran.code == 0
    tool("nidomain", "-d", "copy", host.portmapper)


@pytest.mark.parametrize(
    "argv", [[], ["-x"], ["-m"], ["-l", "a", "b"], ["-c", "tag"], ["-m", "t", "h", "more"]]
)
def test_nidomain_wrong_usage(tool: Tool, argv: list[str]) -> None:
    ran = tool("nidomain", *argv)
    assert (ran.code, "usage: nidomain" in ran.err) == (1, True)


def test_nidomain_bad_hosts(tool: Tool) -> None:
    assert tool("nidomain", "-l", "127.0.0.1:1").code == 200
    assert tool("nidomain", "-c", "tag", "no-slash").code == 217
    assert host_of("srv:10111", Portmapper()) == Portmapper("srv", 10111)
    assert host_of("srv", Portmapper("x", 7)) == Portmapper("srv", 7)


def test_directories_without_end_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    async def deeper(argv: list[str]) -> int:
        return await deeper(argv)

    with pytest.raises(SystemExit) as ended:
        run_tool("nidump", "usage", deeper, [])
    assert ended.value.code == 199
    assert capsys.readouterr().err == "nidump: the server's directories are nested without end\n"
