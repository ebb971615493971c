"""niutil: every operation, its output in both dialects, its exit codes (NETINFO 6.5)."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from netinfo.commands.niutil import OPERATIONS
from tests.netinfo.served import Served
from tests.netinfo.tools import Tool
from tests.peers import loopback
from wire.formats.netinfo import NETINFO, NiStatus
from wire.transport.record import mark

ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).parents[1] / "captures" / "netinfo" / "next-tools.txt"


class HalfServer:
    """A domain server that answers ROOT and nothing else."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        """Set when a call has come that stays without an answer."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.where = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> HalfServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(timeout=20)
        self._listening.close()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            while call := connection.recv(65536):
                (number,) = struct.unpack(">I", call[24:28])
                if number == NETINFO.by_name["ROOT"].number:
                    reply = call[4:8] + struct.pack(">8I", 1, 0, 0, 0, 0, NiStatus.NI_OK, 0, 1)
                    connection.sendall(mark(len(reply)) + reply)
                else:
                    self.reached.set()


TOOLS = {"niutil": ["-list", "{}", "/users"], "nicl": ["{}", "ls", "/users"], "nidump": ["-r", "/", "{}"]}


def with_output(name: str, where: str, output: int) -> tuple[int, str]:
    """A tool as a process of its own, whose standard output is that file; its exit code and what it complains of."""
    code = f"from netinfo.commands.{name} import main; main()"
    argv = [word.format(where) for word in TOOLS[name]]
    ran = subprocess.run(
        [sys.executable, "-c", code, *argv],
        stdout=output,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stderr.decode()


@pytest.mark.parametrize("name", TOOLS)
def test_who_reads_no_further_has_enough(name: str, host: Served) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert with_output(name, host.network, writing) == (0, "")
    os.close(writing)


@pytest.mark.parametrize("name", TOOLS)
def test_an_output_that_cannot_be_written_is_one_sentence(name: str, host: Served) -> None:
    with open(os.devnull) as unwritable:
        assert with_output(name, host.network, unwritable.fileno()) == (
            1,
            f"{name}: the output cannot be written: Bad file descriptor\n",
        )


@pytest.fixture
def people(domain: str, tool: Tool) -> str:
    """A domain with the accounts of the recorded session."""
    accounts = b"root::0:1:Operator:/:/bin/csh\nann:ab3Qw5Yz1xKfM:101:20:Ann:/Users/ann:/bin/csh\n"
    accounts += b"bob:x:102:20:Bob:/Users/bob:/bin/csh\n"
    assert tool("niload", "-t", "passwd", domain, stdin=accounts).code == 0
    return domain


def recorded(command: str) -> str:
    """What NeXT's own tool printed to a command."""
    after = RECORDED.read_text().partition(f"$ {command}\n")[2]
    return after.partition("$ ")[0]


def test_reading_prints_what_next_s_niutil_printed(people: str, tool: Tool) -> None:
    assert tool("niutil", "-read", "-t", people, "/users/ann").out == recorded("niutil -read . /users/ann")
    uids = tool("niutil", "-list", "-t", people, "/users", "uid").lines()
    assert [line[8:] for line in uids] == [
        line[8:] for line in recorded("niutil -list . /users uid").splitlines()
    ]
    names = tool("niutil", "-list", "-t", people, "/users").lines()
    assert [line[8:] for line in names] == [" root ", " ann ", " bob "]
    assert all(line[:8] == f"{int(line[:8]):<8}" for line in names)


def test_apple_s_output(people: str, tool: Tool) -> None:
    ran = tool("niutil", "-read", "-t", "--dialect", "apple", people, "/users/ann")
    assert ran.lines()[:2] == ["name: ann", "passwd: ab3Qw5Yz1xKfM"]
    (line, *_) = tool("niutil", "-list", "-t", "--dialect", "apple", people, "/users").lines()
    number, _, rest = line.partition("\t")
    assert number.isdigit()
    assert rest == " root"


def test_single_properties_and_values(people: str, tool: Tool) -> None:
    assert tool("niutil", "-readprop", "-t", people, "/users/ann", "uid").out == "101\n"
    assert tool("niutil", "-readval", "-t", people, "/users/ann", "shell", "0").out == "/bin/csh\n"
    missing = tool("niutil", "-readprop", "-t", people, "/users/ann", "nope")
    assert (missing.code, missing.out) == (106, "")
    assert missing.err == f"niutil: can't readprop {people}:/users/ann: nope: No such property\n"
    beyond = tool("niutil", "-readval", "-t", people, "/users/ann", "shell", "9")
    assert (beyond.code, "No such name" in beyond.err) == (107, True)
    assert tool("niutil", "-readval", "-t", people, "/users/ann", "shell", "-1").code == 1


def test_a_directory_by_number(people: str, tool: Tool) -> None:
    number = tool("niutil", "-list", "-t", people, "/users").lines()[1].split()[0]
    by_number = tool("niutil", "-read", "-t", people, number)
    assert by_number.out == tool("niutil", "-read", "-t", people, "/users/ann").out
    assert tool("niutil", "-read", "-t", people, "/users/uid=101").out == by_number.out


def test_json(people: str, tool: Tool) -> None:
    read = json.loads(tool("niutil", "-read", "-t", "--json", people, "/users/ann").out)
    assert read["properties"][0] == {"name": "name", "values": ["ann"]}
    listed = json.loads(tool("niutil", "-list", "-t", "--json", people, "/users", "uid").out)
    assert [entry["uid"] for entry in listed] == [["0"], ["101"], ["102"]]
    assert json.loads(tool("niutil", "-readprop", "-t", "--json", people, "/users/ann", "uid").out) == ["101"]
    assert (
        json.loads(tool("niutil", "-readval", "-t", "--json", people, "/users/ann", "uid", "0").out) == "101"
    )
    statistics = json.loads(tool("niutil", "-statistics", "-t", "--json", people).out)
    assert list(statistics) == ["checksum"]
    assert json.loads(tool("niutil", "-rparent", "-t", "--json", people).out) is None
    assert json.loads(tool("niutil", "-domainname", "-t", "--json", people).out) == "/"


def test_the_domain_itself(people: str, tool: Tool) -> None:
    assert tool("niutil", "-statistics", "-t", people).out.startswith("checksum: ")
    assert tool("niutil", "-stat", "-t", people).code == 0
    assert tool("niutil", "-rparent", "-t", people).out == "root domain: no parent\n"
    assert tool("niutil", "-domainname", "-t", people).out == "/\n"
    assert tool("niutil", "-resync", "-t", people).code == 0


def test_the_parent_by_name_and_by_number(host: Served, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTPORTS_PORTMAP", host.portmapper)
    assert tool("niutil", "-rparent", "-n", ".").out == "127.0.0.1/network\n"
    name = socket.gethostbyaddr("127.0.0.1")[0]
    assert tool("niutil", "-rparent", ".").out == f"{name}/network\n"
    parent = json.loads(tool("niutil", "-rparent", "--json", ".").out)
    assert parent == {"address": "127.0.0.1", "tag": "network"}
    assert tool("niutil", "-domainname", ".").out == "/srv\n"
    assert tool("niutil", "-read", "..", "/users/ann").lines()[0] == "name: ann "
    assert tool("niutil", "-read", "/", "/users/ann").code == 0
    assert tool("niutil", "-read", "/srv", "/users/me").code == 0


def values(tool: Tool, domain: str, key: str) -> list[str]:
    listed: list[str] = json.loads(
        tool("niutil", "-readprop", "-t", "--json", domain, "/users/ann", key).out or "[]"
    )
    return listed


def test_changing_properties(people: str, tool: Tool) -> None:
    def run(*argv: str) -> int:
        operation, *rest = argv
        return tool("niutil", f"-{operation}", "-t", people, "/users/ann", *rest).code

    assert run("createprop", "note", "a", "b") == 0
    assert values(tool, people, "note") == ["a", "b"]
    assert run("createprop", "note", "c") == 0, "an existing one is overwritten"
    assert run("appendprop", "note", "d", "c") == 0
    assert values(tool, people, "note") == ["c", "d", "c"]
    assert run("mergeprop", "note", "d", "e") == 0
    assert values(tool, people, "note") == ["c", "d", "e"]
    assert run("insertval", "note", "first", "0") == 0
    assert run("insertval", "note", "last", "99") == 0
    assert values(tool, people, "note") == ["first", "c", "d", "e", "last"]
    assert run("destroyval", "note", "c", "e") == 0
    assert values(tool, people, "note") == ["first", "d", "last"]
    assert run("destroyval", "note", "nope") == 107
    assert run("renameprop", "note", "remark") == 0
    assert run("renameprop", "note", "remark") == 106
    assert run("createprop", "flag") == 0
    assert run("destroyprop", "remark", "flag") == 0
    assert run("destroyprop", "remark") == 106
    assert run("destroyval", "remark", "x") == 106
    assert run("appendprop", "new", "x") == 0
    assert values(tool, people, "new") == ["x"]


def test_making_and_destroying_directories(people: str, tool: Tool) -> None:
    assert tool("niutil", "-create", "-t", people, "/printers/color=red/lp").code == 0
    assert tool("niutil", "-create", "-t", people, "/printers").code == 0, "success without change"
    assert tool("niutil", "-read", "-t", people, "/printers/color=red").out == "color: red \n"
    assert tool("niutil", "-destroy", "-t", people, "/printers").code == 0
    gone = tool("niutil", "-read", "-t", people, "/printers")
    assert (gone.code, gone.err) == (
        105,
        f"niutil: can't read {people}:/printers: No such directory\n",
    )
    assert tool("niutil", "-destroy", "-t", people, "/").code == 108
    assert tool("niutil", "-list", "-t", people, "/users").out, "nothing was touched"


def test_bytes_survive(people: str, tool: Tool) -> None:
    odd = "\udcff h\u00e9 \t"
    assert tool("niutil", "-createprop", "-t", people, "/users/ann", "odd", odd).code == 0
    assert tool("niutil", "-readprop", "-t", people, "/users/ann", "odd").out == odd + "\n"


def test_a_password_comes_from_the_environment(
    host: Served, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("-readprop", "-u", "ann", host.network, "/users/ann", "uid")
    monkeypatch.setenv("NETINFO_PASSWORD", "pencil")
    assert tool("niutil", *command).out == "101\n"
    monkeypatch.delenv("NETINFO_PASSWORD")
    monkeypatch.setattr("getpass.getpass", lambda prompt: "pencil" if prompt == "Password for ann: " else "?")
    assert tool("niutil", *command).out == "101\n"
    monkeypatch.setattr("getpass.getpass", lambda prompt: (_ for _ in ()).throw(EOFError))
    unasked = tool("niutil", *command)
    assert (unasked.code, "set NETINFO_PASSWORD" in unasked.err) == (1, True)
    assert tool("niutil", "-readprop", "-P", "secret", host.network, "/users/ann", "uid").out == "101\n"
    nobody = tool("niutil", "-readprop", "-u", "zed", "-P", "x", host.network, "/users/ann", "uid")
    assert (nobody.code, "No such user" in nobody.err) == (121, True)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["list"],
        ["-nonsense", ".", "/"],
        ["-list"],
        ["-list", ".", "/", "name", "more"],
        ["-createprop", ".", "/users"],
        ["-read", "-x", ".", "/"],
        ["-read", "-T"],
        ["-read", "-T", "soon", ".", "/"],
        ["-read", "--dialect", "sun", ".", "/"],
        ["-insertval", ".", "/", "k", "v"],
    ],
)
def test_wrong_usage_is_explained(tool: Tool, argv: list[str]) -> None:
    ran = tool("niutil", *argv)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("niutil: ")
    assert "usage: niutil -OPERATION" in ran.err


@pytest.mark.parametrize(
    ("server", "code"),
    [("nonsense", 217), ("/network", 218), ("127.0.0.1/", 219), ("no-such-host.invalid/network", 221)],
)
def test_bad_servers_have_the_original_s_exit_codes(tool: Tool, server: str, code: int) -> None:
    ran = tool("niutil", "-read", "-t", server, "/")
    assert ran.code == code
    assert ran.err.startswith("niutil: ")


def test_servers_that_are_not_there(host: Served, tool: Tool) -> None:
    ran = tool("niutil", "-read", "-T", "2", "127.0.0.1:1", "/")
    assert (ran.code, "can't connect to domain 127.0.0.1:1" in ran.err) == (200, True)
    unknown = tool("niutil", "-read", "-t", host.by_tag("nope"), "/")
    assert (unknown.code, "No such tag" in unknown.err) == (200, True)


def test_who_asks_at_the_historic_port_is_told_how_to_ask_a_lab(tool: Tool) -> None:
    advice = "GHOSTPORTS_PORTMAP=127.0.0.1:10111"
    here = loopback()
    for server in (f"{here}/network", f"{here}:111/network"):
        ran = tool("niutil", "-list", "-T", "2", "-t", server, "/")
        assert (ran.code, advice in ran.err) == (200, True)
    for server in (f"{here}:1/network", f"{here}:111"):
        ran = tool("niutil", "-list", "-T", "2", "-t", server, "/")
        assert (ran.code, advice in ran.err) == (200, False)


def test_a_server_that_stops_answering_is_no_missing_connection(tool: Tool) -> None:
    with HalfServer() as server:
        ran = tool("niutil", "-read", "-T", "0.3", server.where, "/")
    assert (ran.code, "SELF was not answered within 0.3 seconds" in ran.err) == (199, True)


def test_odd_operands(host: Served, tool: Tool) -> None:
    beyond = tool("niutil", "-read", host.network, "4294967296")
    assert (beyond.code, "ID is invalid" in beyond.err) == (101, True), "and not the root"
    assert tool("niutil", "-read", host.network, "9" * 5000).code == 101
    shown = tool("niutil", "-read", host.network, "/\udce9\x1b[31m").err
    assert shown.endswith("/\\xe9\\x1b[31m: No such directory\n"), "nothing reaches the terminal raw"
    long = tool("niutil", "-createprop", host.network, "/users/ann", "note", "x" * 65536)
    assert (long.code, "longer than this field may be" in long.err) == (199, True)


def test_errors_say_what_can_be_done(host: Served, tool: Tool) -> None:
    unknown = tool("niutil", "-read", "-t", host.by_tag("nope"), "/")
    assert "nidomain -l HOST" in unknown.err
    full = tool("niutil", "-createprop", host.network, "/users/ann", "note", *["x"] * 4097)
    assert (full.code, "a limit of the server" in full.err) == (103, True)


def test_ctrl_c_ends_a_tool_quietly() -> None:
    with HalfServer() as server:
        code = "from netinfo.commands.niutil import main; main()"
        waiting = subprocess.Popen(
            [sys.executable, "-c", code, "-read", server.where, "/"], stderr=subprocess.PIPE, cwd=ROOT
        )
        assert server.reached.wait(20)
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=20)
    assert (waiting.returncode, said) == (130, b"")


def test_help_names_every_operation(tool: Tool) -> None:
    ran = tool("niutil", "--help")
    assert ran.code == 0
    for name in OPERATIONS:
        assert f"-{name} DOMAIN" in ran.out
    assert "Exit code" in ran.out
