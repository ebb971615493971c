"""The helpers of tests/peers.py: what they find, what they refuse, and that they leave nothing behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import peers
from tests.peers import (
    PROGRAMS,
    DebianSup,
    DebianSupfilesrv,
    Missing,
    NetworkNamespace,
    free_port,
    has_banner,
    loopback,
    peer,
    require_account,
    search_path,
    wait_until,
)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return str(path)


def test_search_path_leaves_virtual_environments_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "pyvenv.cfg").touch()
    plain = tmp_path / "plain"
    plain.mkdir()
    own = Path(sys.prefix) / "bin"
    monkeypatch.setenv("PATH", f"{own}:{other / 'bin'}:{plain}")
    found = search_path()
    assert plain in found
    assert own not in found
    assert other / "bin" not in found


def test_a_script_that_talks_like_sup_is_not_sup(tmp_path: Path) -> None:
    ours = script(tmp_path / "sup", "SUP: Need either -s or supfile")
    assert not has_banner(PROGRAMS["sup"], ours)


def test_banner_of_what_a_program_prints(tmp_path: Path) -> None:
    assert has_banner(PROGRAMS["rsync"], script(tmp_path / "yes", "rsync  version 3.2.7"))
    assert not has_banner(PROGRAMS["rsync"], script(tmp_path / "no", "something else"))


def test_a_missing_peer_skips_and_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find", lambda name: None)
    with pytest.raises(Missing, match="Debian package rpcsvc-proto"):
        peer("rpcgen")


def test_an_unknown_peer_is_a_mistake_of_the_test() -> None:
    with pytest.raises(KeyError):
        peer("no-such-program")


def test_a_missing_account_skips() -> None:
    with pytest.raises(Missing, match="useradd -r no-such-account"):
        require_account("no-such-account")


def test_free_port_is_free_for_udp_and_tcp() -> None:
    port = free_port()
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", port))
        udp.bind(("127.0.0.1", port))


def test_loopback_addresses_differ() -> None:
    addresses = {loopback() for _ in range(100)}
    assert len(addresses) == 100
    assert all(re.fullmatch(r"127(\.[1-9]\d*){3}", address) for address in addresses)


def test_wait_until_says_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match="a thing that never comes"):
        wait_until(lambda: False, "a thing that never comes", seconds=0.05)


@pytest.mark.interop
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_each_real_program_is_found(name: str) -> None:
    assert os.access(peer(name), os.X_OK)


@pytest.mark.interop
@pytest.mark.root
def test_a_namespace_is_a_network_of_its_own(namespace: NetworkNamespace) -> None:
    with socket.socket() as outside:
        outside.bind(("127.0.0.1", 0))
        outside.listen()
        port = outside.getsockname()[1]
        assert not namespace.is_listening(port)
        with namespace.inside(), socket.socket() as inside:
            inside.bind(("127.0.0.1", port))
            inside.listen()
            assert namespace.is_listening(port)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass  # this thread is back in its own network


@pytest.mark.interop
@pytest.mark.root
def test_a_namespace_ends_its_processes_and_itself() -> None:
    with NetworkNamespace() as namespace:
        holder = namespace.pid
        child = namespace.popen(["sh", "-c", "sleep 1000 & sleep 1000"])
        wait_until(lambda: len(namespace.processes()) == 3, "the shell and both sleepers")
        inside = namespace.processes()
    child.wait(timeout=5)
    assert not Path(f"/proc/{holder}").exists()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inside), "the sleepers to end")


@pytest.mark.interop
@pytest.mark.root
def test_two_namespaces_on_a_cable() -> None:
    with NetworkNamespace() as one, NetworkNamespace() as two:
        one.connect(two, "10.9.0.1/24", "10.9.0.2/24")
        with two.inside():
            server = socket.create_server(("10.9.0.2", 871))
        with server, one.inside(), socket.create_connection(("10.9.0.2", 871), timeout=5) as client:
            assert client.getsockname()[0] == "10.9.0.1"


@pytest.mark.interop
@pytest.mark.root
def test_a_namespace_runs_a_command_where_it_is_told(namespace: NetworkNamespace, tmp_path: Path) -> None:
    assert namespace.run(["pwd"], cwd=tmp_path).stdout.decode().strip() == str(tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        namespace.run(["false"])


@pytest.mark.interop
@pytest.mark.root
@pytest.mark.parametrize("flags", [("-P",), ()])
def test_debians_sup_and_supfilesrv_talk(
    debian_supfilesrv: Callable[..., DebianSupfilesrv],
    debian_sup: DebianSup,
    tmp_path: Path,
    flags: tuple[str, ...],
) -> None:
    served, received = tmp_path / "served", tmp_path / "received"
    (served / "sup" / "sample").mkdir(parents=True)
    received.mkdir()
    (served / "sup" / "sample" / "list").write_text("upgrade hello\n")
    (served / "hello").write_text("hello, world\n")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)  # `anon` must reach what it serves
    supfile = tmp_path / "supfile"
    server = debian_supfilesrv(*flags)
    supfile.write_text(f"sample host={server.host} hostbase={served} base={received} delete old\n")
    if "-P" in flags:
        ran = debian_sup("-v", supfile, network=server.namespace)
    else:
        ran = server.namespace.run([peer("sup"), "-v", supfile])
    assert (received / "hello").read_text() == "hello, world\n", ran


@pytest.mark.interop
def test_tshark_reads_a_recording_with_a_profile_of_its_own(
    tshark: Callable[..., str], tmp_path: Path
) -> None:
    recording = Path(__file__).parent / "captures" / "netinfo" / "next-calls.pcap"
    lines = tshark("-r", recording, "-c", "3", "-T", "fields", "-e", "frame.number").split()
    assert lines == ["1", "2", "3"]
    assert str(tmp_path / "wireshark") in tshark("-G", "folders")
