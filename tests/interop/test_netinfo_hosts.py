"""Two hosts with a network of their own between them: a child that finds its parent by broadcast, a clone
that follows its master, and what happens when either is killed (NETINFO 4, 5)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.peers import NetworkNamespace, wait_until

ROOT = Path(__file__).parents[2]
SRV, WS1 = "10.77.0.1", "10.77.0.2"

pytestmark = [pytest.mark.interop, pytest.mark.root]

NETWORK = f"""{{ "master" = ( "srv/network" ); CHILDREN = (
  {{ "name" = ( "machines" ); CHILDREN = (
    {{ "name" = ( "srv" ); "ip_address" = ( "{SRV}" ); "serves" = ( "./network", "srv/local" ); }},
    {{ "name" = ( "ws1" ); "ip_address" = ( "{WS1}" ); "serves" = ( "ws1/local" ); }} ) }},
  {{ "name" = ( "users" ); CHILDREN = ( {{ "name" = ( "ann" ); "uid" = ( "101" ); }} ) }} ) }}"""
LOCAL = """{ "master" = ( "localhost/local" ); CHILDREN = (
  { "name" = ( "machines" ); CHILDREN = (
    { "name" = ( "localhost" ); "ip_address" = ( "127.0.0.1" ); "serves" = ( "./local" ); },
    { "name" = ( "broadcasthost" ); "ip_address" = ( "255.255.255.255" ); "serves" = ( "../network" ); } ) } )
    }"""


eventually = partial(wait_until, pause=0.3)
"""For what takes programs to find out: asking costs more than what is waited for."""


class Machine:
    """A host: a namespace with an address, our portmapper at port 111 and our nibindd."""

    def __init__(self, namespace: NetworkNamespace, state: Path, name: str) -> None:
        self.namespace = namespace
        self.state = state
        self.name = name
        self.log = state / "nibindd.log"
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        state.mkdir()

    def start(self, command: str, port: int, *argv: str) -> None:
        code = f"from netinfo.commands.servers import {command}; {command}()"
        environment = {name: value for name, value in os.environ.items() if name != "GHOSTPORTS_PORTMAP"}
        with (self.state / f"{command}.log").open("ab") as log:
            self._programs[command] = self.namespace.popen(
                [
                    sys.executable,
                    "-c",
                    code,
                    "--user",
                    "root",
                    "--listen",
                    "0.0.0.0",
                    "--port",
                    str(port),
                    *argv,
                ],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        eventually(lambda: self.namespace.is_listening(port), f"{command} of {self.name}")

    def start_portmapper(self) -> None:
        self.start("portmap", 111)

    def start_binder(self) -> None:
        self.start("nibindd", 766, "--state", str(self.state / "databases"), "--hostname", self.name)

    def kill(self, command: str = "nibindd") -> None:
        """As a loss of power would end it."""
        running = self._programs.pop(command)
        running.kill()
        running.wait(timeout=30)

    def stop(self) -> None:
        for running in self._programs.values():
            running.terminate()
        for running in self._programs.values():
            running.wait(timeout=30)

    def tool(self, name: str, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "GHOSTPORTS_PORTMAP"}
        code = f"from netinfo.commands.{name} import main; main()"
        command = self.namespace.command([sys.executable, "-c", code, *argv], ROOT)
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment
        )

    def do(self, name: str, *argv: str, stdin: str = "") -> str:
        """Run a tool that must succeed; what it printed."""
        ran = self.tool(name, *argv, stdin=stdin)
        assert ran.returncode == 0, f"{name} {argv}: {ran.stderr}"
        return ran.stdout

    def make(self, tag: str, raw: str) -> None:
        """Make a domain and fill it."""
        self.do("nidomain", "-m", tag)
        eventually(lambda: self.tool("niutil", "-stat", "-t", f"127.0.0.1/{tag}").returncode == 0, tag)
        self.do("niload", "-r", "/", "-t", f"127.0.0.1/{tag}", stdin=raw)

    def checksum(self, server: str) -> str:
        ran = self.tool("niutil", "-stat", "--json", "-t", server)
        return json.loads(ran.stdout)["checksum"][0] if ran.returncode == 0 else ran.stderr


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """`srv` with domain `network`, and `ws1` with domain `local`."""
    with NetworkNamespace() as one, NetworkNamespace() as two, contextlib.ExitStack() as stack:
        one.connect(two, f"{SRV}/24", f"{WS1}/24")
        made = Machine(one, tmp_path / "srv", "srv"), Machine(two, tmp_path / "ws1", "ws1")
        for machine in made:
            stack.callback(machine.stop)
            machine.start_portmapper()
            machine.start_binder()
        made[0].make("network", NETWORK)
        made[1].make("local", LOCAL)
        yield made


def test_a_child_finds_its_parent_by_broadcast(machines: tuple[Machine, Machine]) -> None:
    _, ws1 = machines
    assert ws1.do("niutil", "-rparent", "-n", ".") == f"{SRV}/network\n"
    assert ws1.do("niutil", "-read", "/", "/users/ann").startswith("name: ann")
    assert ws1.do("niutil", "-domainname", ".") == "/ws1\n"
    assert ws1.do("nifind", "/users/ann").startswith("/users/ann found in /, id = ")
    assert ws1.do("nidump", "-r", "/users", "..").count('"ann"') == 1
    # A stranger's tag is not served: ws1 would not find a parent under another name.
    ws1.do("niutil", "-createprop", ".", "/machines/broadcasthost", "serves", "../other")
    # The parent in memory is still there and still known to its binder, so that nobody is left without one.
    assert ws1.do("niutil", "-rparent", "-n", ".") == f"{SRV}/network\n"
    ws1.kill()
    ws1.start_binder()
    orphan = ws1.tool("niutil", "-rparent", "-n", ".")
    assert (orphan.returncode, "No response from remote parent" in orphan.stderr) == (112, True)


def test_a_parent_that_was_killed_is_found_again(machines: tuple[Machine, Machine]) -> None:
    srv, ws1 = machines
    assert ws1.do("niutil", "-rparent", "-n", ".") == f"{SRV}/network\n"
    srv.do("niutil", "-create", "-t", "127.0.0.1/network", "/users/ben")
    before = srv.checksum("127.0.0.1/network")
    srv.kill()
    gone = ws1.tool("niutil", "-rparent", "-T", "10", "-n", ".")
    assert gone.returncode == 112, gone.stdout
    srv.start_binder()
    eventually(lambda: ws1.tool("niutil", "-rparent", "-n", ".").stdout == f"{SRV}/network\n", "the parent")
    assert srv.checksum("127.0.0.1/network") == before, "nothing acknowledged is lost"
    assert ws1.do("niutil", "-read", "..", "/users/ben") == "name: ben \n"
    ws1.kill()
    ws1.start_binder()
    assert ws1.do("niutil", "-read", "..", "/users/ben") == "name: ben \n"


def test_a_clone_follows_its_master_through_deaths_of_both(machines: tuple[Machine, Machine]) -> None:
    srv, ws1 = machines
    master, copy = f"{SRV}/network", f"{WS1}/network"

    def agree() -> bool:
        return srv.checksum(master) == srv.checksum(copy)

    srv.do("niutil", "-appendprop", "-t", master, "/machines/ws1", "serves", "./network")
    srv.do("niutil", "-resync", "-t", master)
    ws1.do("nidomain", "-c", "network", master)
    eventually(agree, "the first transfer")
    transfers = ws1.log.read_text().count("transferred from its master")
    assert transfers >= 1
    srv.do("niutil", "-resync", "-t", master)
    passwd = "".join(f"u{number}:*:{number}:20:U {number}:/h:/s\n" for number in range(200, 240))
    srv.do("niload", "-t", "passwd", master, stdin=passwd)
    srv.do("niutil", "-createprop", "-t", master, "/users/ann", "note", "x")
    srv.do("niutil", "-destroy", "-t", master, "/users/u239")
    eventually(agree, "the updates")
    # Updates come one by one from the master's reserved ports; a transfer would also have made them agree.
    assert ws1.log.read_text().count("transferred from its master") <= transfers + 1
    assert ws1.do("niutil", "-readprop", "-t", copy, "/users/ann", "note") == "x\n"
    refused = ws1.tool("niutil", "-createprop", "-t", copy, "/users/ann", "note", "y")
    assert (refused.returncode, "No writes allowed" in refused.stderr) == (113, True)

    ws1.kill()
    srv.do("niutil", "-createprop", "-t", master, "/users/ann", "note", "while it was away")
    ws1.start_binder()
    eventually(agree, "a clone that was away")
    assert ws1.do("niutil", "-readprop", "-t", copy, "/users/ann", "note") == "while it was away\n"

    srv.kill()
    # Reads go on: the child binds to the clone on its own host, which serves it just as well.
    eventually(
        lambda: ws1.tool("niutil", "-readprop", "..", "/users/ann", "note").returncode == 0,
        "the clone as parent",
    )
    srv.start_binder()
    srv.do("niutil", "-createprop", "-t", master, "/users/ann", "note", "back")
    eventually(agree, "a master that was away")
    assert ws1.do("niutil", "-readprop", "-t", copy, "/users/ann", "note") == "back\n"


def test_only_the_superuser_of_the_host_itself_may_change_anything(machines: tuple[Machine, Machine]) -> None:
    _, ws1 = machines
    master = f"{SRV}/network"
    stranger = ws1.tool("niutil", "-createprop", "-t", master, "/users/ann", "note", "x")
    assert (stranger.returncode, "Permission denied" in stranger.stderr) == (104, True)
    for operation in ("-m", "-d", "-u"):
        refused = ws1.tool("nidomain", operation, "network", SRV)
        assert (refused.returncode, "Permission denied" in refused.stderr) == (104, True)
    hidden = ws1.tool("niutil", "-createprop", "-t", "-P", "x", master, "/users/ann", "note", "x")
    assert hidden.returncode in (120, 121), "no such user, or a wrong password"
