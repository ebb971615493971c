"""Real rpcinfo and rpcbind: our portmapper asked by the one, our binder registered with the other (NETINFO
4.3, 4.4)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.netinfo.served import process
from tests.peers import NetworkNamespace, peer, wait_until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.interop


@contextlib.contextmanager
def server(namespace: NetworkNamespace, command: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of our servers, in the namespace, at historic ports."""
    code = f"from netinfo.commands.servers import {command}; {command}()"
    environment = {name: value for name, value in os.environ.items() if name != "GHOSTPORTS_PORTMAP"}
    running = namespace.popen(
        [sys.executable, "-c", code, "--user", "root", *argv],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield running
    finally:
        running.terminate()
        running.communicate(timeout=30)


eventually = partial(wait_until, pause=0.3)
"""For what takes programs to find out: asking costs more than what is waited for."""


def tool(namespace: NetworkNamespace, name: str, *argv: str) -> subprocess.CompletedProcess[bytes]:
    code = f"from netinfo.commands.{name} import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "GHOSTPORTS_PORTMAP"}
    return namespace.run([sys.executable, "-c", code, *argv], cwd=ROOT, check=False, env=environment)


@pytest.mark.root
def test_rpcinfo_reads_our_portmapper_at_port_111(namespace: NetworkNamespace, tmp_path: Path) -> None:
    rpcinfo = peer("rpcinfo")
    with server(namespace, "portmap", "--port", "111"):
        namespace.wait_for_port(111)
        with server(namespace, "nibindd", "--port", "766", "--state", str(tmp_path)):
            eventually(lambda: b"200100001" in namespace.run([rpcinfo, "-p", "127.0.0.1"]).stdout, "nibindd")
            table = namespace.run([rpcinfo, "-p", "127.0.0.1"]).stdout.decode()
            assert [line.split()[:4] for line in table.splitlines()[1:]] == [
                ["100000", "2", "tcp", "111"],
                ["100000", "2", "udp", "111"],
                ["200100001", "1", "tcp", "766"],
                ["200100001", "1", "udp", "766"],
            ]
            for transport in ("udp", "tcp"):
                for program, version in (("100000", "2"), ("200100001", "1")):
                    ran = namespace.run([rpcinfo, "-T", transport, "127.0.0.1", program, version])
                    assert ran.stdout.decode().startswith(f"program {program} version {version} ready")
            refused = namespace.run([rpcinfo, "-T", "udp", "127.0.0.1", "100003", "2"], check=False)
            assert refused.returncode == 1
            # `rpcinfo -d` sends UNSET over the network's own loopback; the table is then without the binder.
            assert tool(namespace, "nidomain", "-l").returncode == 0
        eventually(lambda: b"200100001" not in namespace.run([rpcinfo, "-p", "127.0.0.1"]).stdout, "UNSET")


def test_rpcinfo_a_reaches_high_ports_without_root(tmp_path: Path) -> None:
    rpcinfo = peer("rpcinfo")
    with process(tmp_path) as host:
        port = int(host.portmapper.rpartition(":")[2])
        universal = f"127.0.0.1.{port >> 8}.{port & 255}"
        for transport in ("udp", "tcp"):
            ran = subprocess.run(
                [rpcinfo, "-a", universal, "-T", transport, "100000", "2"],
                capture_output=True,
                timeout=60,
                check=True,
            )
            assert ran.stdout == b"program 100000 version 2 ready and waiting\n"
        database = int(host.network.rpartition(":")[2])
        universal = f"127.0.0.1.{database >> 8}.{database & 255}"
        ran = subprocess.run(
            [rpcinfo, "-a", universal, "-T", "udp", "200100000", "2"],
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert b"ready and waiting" in ran.stdout


@pytest.mark.root
def test_our_binder_lives_with_a_real_rpcbind(namespace: NetworkNamespace, tmp_path: Path) -> None:
    rpcinfo = peer("rpcinfo")
    rpcbind = namespace.popen(
        [peer("rpcbind"), "-f", "-r"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        namespace.wait_for_port(111)
        with server(namespace, "nibindd", "--port", "766", "--state", str(tmp_path)):
            eventually(lambda: b"200100001" in namespace.run([rpcinfo, "-p", "127.0.0.1"]).stdout, "nibindd")
            for transport in ("udp", "tcp"):
                ran = namespace.run([rpcinfo, "-T", transport, "127.0.0.1", "200100001", "1"])
                assert b"ready and waiting" in ran.stdout
            assert tool(namespace, "nidomain", "-m", "network").returncode == 0
            assert tool(namespace, "nidomain", "-m", "local").returncode == 0
            eventually(
                lambda: tool(namespace, "niutil", "-stat", "-t", "127.0.0.1/network").returncode == 0,
                "network",
            )
            eventually(lambda: tool(namespace, "niutil", "-stat", ".").returncode == 0, "local")
            # local finds its parent: rpcbind passes BIND on to our binder, which asks `network`.
            make_family(namespace)
            parent = tool(namespace, "niutil", "-rparent", "-n", ".")
            assert parent.stdout == b"127.0.0.1/network\n", parent
            assert tool(namespace, "niutil", "-list", "/", "/machines").stdout.count(b"\n") == 2
        eventually(lambda: b"200100001" not in namespace.run([rpcinfo, "-p", "127.0.0.1"]).stdout, "UNSET")
    finally:
        rpcbind.terminate()
        rpcbind.wait(timeout=30)


def make_family(namespace: NetworkNamespace) -> None:
    """Enter the parent into `local`, and the child into `network`."""
    for argv in (
        ("-create", ".", "/machines/parent"),
        ("-createprop", ".", "/machines/parent", "ip_address", "127.0.0.1"),
        ("-createprop", ".", "/machines/parent", "serves", "../network"),
        ("-create", "-t", "127.0.0.1/network", "/machines/ws1"),
        ("-createprop", "-t", "127.0.0.1/network", "/machines/ws1", "ip_address", "127.0.0.1"),
        ("-createprop", "-t", "127.0.0.1/network", "/machines/ws1", "serves", "ws1/local"),
        # BIND looks at the first machine of an address alone (NETINFO 2.6), which is the server itself.
        ("-destroyprop", "-t", "127.0.0.1/network", "/machines/ip_address=127.0.0.1", "ip_address"),
    ):
        ran = tool(namespace, "niutil", *argv)
        assert ran.returncode == 0, ran.stderr
