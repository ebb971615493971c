"""netinfod, nibindd and portmap as programs: options, registration, errors, and how they end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from netinfo import client
from netinfo.client.blocking import BlockingNetwork
from netinfo.commands.servers import default_state, netinfod, nibindd, portmap
from tests.netinfo.tools import Tool
from tests.peers import free_port, user_options

ROOT = Path(__file__).parents[2]


class Program:
    """A server in a process of its own, as whoever runs the tests."""

    def __init__(self, log: Path, command: str, *argv: str, portmapper: str = "127.0.0.1:1") -> None:
        self.log = log
        name = command.partition(" ")[0]
        code = f"from netinfo.commands.servers import {name}; {name}()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *user_options(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log.open("wb"),
            cwd=ROOT,
            env={**os.environ, "GHOSTPORTS_PORTMAP": portmapper},
        )

    def says(self, pattern: str) -> str:
        """Wait for a line of the log; what the pattern's group matched."""
        for _ in range(600):
            found = re.search(pattern, self.log.read_text())
            if found:
                return found[found.re.groups]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} is not in the log:\n{self.log.read_text()}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def program(log: Path, command: str, *argv: str, portmapper: str = "127.0.0.1:1") -> Iterator[Program]:
    running = Program(log, command, *argv, portmapper=portmapper)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def test_netinfod_serves_a_new_domain_and_keeps_it(tmp_path: Path) -> None:
    state, raw = tmp_path / "state", tmp_path / "begin.raw"
    raw.write_text('{ "master" = ( "srv/network" ); CHILDREN = ( { "name" = ( "users" ); } ) }')
    command = ("--state", str(state), "--port", "0", "--superuser", "same-user")
    with program(tmp_path / "log", "netinfod", *command, "--load", str(raw)) as first:
        with client.open(first.says(r"served at (\S+)")) as domain:
            assert list(domain) == ["users"]
            domain.create("/users/ann", uid="7")
        assert "not known to a binder" in first.says(r"(not known to a binder)")
        assert first.end() == 0
    with program(tmp_path / "log", "netinfod", *command) as second:
        with client.open(second.says(r"served at (\S+)")) as domain:
            assert domain["/users/ann"]["uid"] == ("7",)
        assert second.end(signal.SIGINT) == 0
    with program(tmp_path / "log", "netinfod", *command, "--load", str(raw)) as third:
        assert third.process.wait(30) == 1
        assert "exists already" in third.log.read_text()


def test_sigint_locks_apple_s_server(tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (
        "--state",
        str(tmp_path / "state"),
        "--port",
        "0",
        "--superuser",
        "same-user",
        "--sigint-locks",
    )
    with program(tmp_path / "log", "netinfod", *command, "--generation", "apple") as running:
        where = running.says(r"served at (\S+)")
        running.process.send_signal(signal.SIGINT)
        running.says(r"(network: locked)")
        refused = tool("niutil", "-create", where, "/users")
        assert (refused.code, "Master server is busy" in refused.err) == (122, True)
        assert "write_locked: Yes (due to SIGINT)" in tool("niutil", "-statistics", where).out

        async def unlock(network: BlockingNetwork, seconds: float) -> None:
            assert seconds == 5.0
            running.process.send_signal(signal.SIGINT)
            running.says(r"(network: unlocked)")

        monkeypatch.setattr(BlockingNetwork, "sleep", unlock)
        assert tool("niutil", "-create", "-R", where, "/users").code == 0, "it has waited and tried again"
        assert running.end() == 0
    wrong = CliRunner().invoke(netinfod, [*command, "--generation", "next"])
    assert (wrong.exit_code, "for --generation apple" in wrong.output) == (2, True)


def test_a_killed_server_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    command = ("--state", str(tmp_path / "state"), "--port", "0", "--superuser", "same-user")
    with program(tmp_path / "log", "netinfod", *command) as first:
        with client.open(first.says(r"served at (\S+)")) as domain:
            for number in range(20):
                domain.create(f"/users/u{number}")
            checksum = domain.statistics["checksum"]
        first.end(signal.SIGKILL)
    with program(tmp_path / "log", "netinfod", *command) as second:
        with client.open(second.says(r"served at (\S+)")) as domain:
            assert domain.statistics["checksum"] == checksum
        second.end()


def test_a_new_domain_begins_as_netinfod_m_made_it(tmp_path: Path) -> None:
    command = ("--state", str(tmp_path), "--port", "0", "--tag", "sales", "--hostname", "hq", "--root")
    with program(tmp_path / "log", "netinfod", *command) as running:
        with client.open(running.says(r"served at (\S+)")) as domain:
            assert domain.root["master"] == ("hq/sales",)
            assert dict(domain["/machines/hq"]) == {
                "name": ("hq",),
                "ip_address": ("127.0.0.1",),
                "serves": ("./sales",),
            }
        running.end()


@contextlib.contextmanager
def whole_host(tmp_path: Path) -> Iterator[tuple[str, Program, Program]]:
    """A portmapper and a binder, as two programs."""
    port = str(free_port())
    place = f"127.0.0.1:{port}"
    with program(tmp_path / "portmap.log", "portmap", "--port", port) as portmapper:
        portmapper.says(r"portmapper served at (\S+)")
        arguments = ("--port", "0", "--state", str(tmp_path / "state"), "--superuser", "same-user")
        with program(tmp_path / "nibindd.log", "nibindd", *arguments, portmapper=place) as binder:
            binder.says(r"binder served at (\S+)")
            yield place, portmapper, binder


def test_programs_find_each_other(tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    with whole_host(tmp_path) as (place, _, binder):
        for _ in range(100):
            if tool("nidomain", "-l", place).code == 0:
                break
            time.sleep(0.05)
        assert tool("nidomain", "-m", "network", place).code == 0
        binder.says(r"domain network .*served at (\S+)")
        command = (
            "--state",
            str(tmp_path / "other"),
            "--tag",
            "other",
            "--port",
            "0",
            "--superuser",
            "same-user",
        )
        with program(tmp_path / "other.log", "netinfod", *command, portmapper=place) as other:
            other.says(r"served at (\S+)")
            for _ in range(100):
                listed = tool("nidomain", "-l", place).out
                if "tag=other" in listed:
                    break
                time.sleep(0.05)
            assert "tag=network" in listed
            assert "tag=other" in listed
            assert tool("niutil", "-list", "-t", f"{place}/other", "/").out
            other.end()
        assert "tag=other" not in tool("nidomain", "-l", place).out
        assert binder.end() == 0
        assert tool("nidomain", "-l", place).code == 200


def test_a_recording_holds_what_was_said(tmp_path: Path, tool: Tool) -> None:
    recording, theirs = tmp_path / "server.pcapng", tmp_path / "client.pcapng"
    command = ("--state", str(tmp_path / "state"), "--port", "0", "--pcap", str(recording))
    with program(tmp_path / "log", "netinfod", *command) as running:
        place = running.says(r"served at (\S+)")
        assert tool("niutil", "-list", "--pcap", str(theirs), place, "/").code == 0
        running.end()
    for path in (recording, theirs):
        assert b"machines" in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    assert tool("niutil", "-list", "--pcap", "/dev/null/x", place, "/").code == 1


@pytest.mark.parametrize(("options", "shown"), [((), True), (("--redact",), False)])
def test_passwords_in_recordings(
    tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], shown: bool
) -> None:
    """What travels is the password's complement (NETINFO 3.3)."""
    raw, recording = tmp_path / "begin.raw", tmp_path / "client.pcapng"
    root = '{ "name" = ( "root" ); "uid" = ( "0" ); "passwd" = ( "NXLbV78JSkljA" ); }'
    raw.write_text(f'{{ CHILDREN = ( {{ "name" = ( "users" ); CHILDREN = ( {root} ); }} ) }}')
    monkeypatch.setenv("NETINFO_PASSWORD", "secret")
    command = ("--state", str(tmp_path / "state"), "--port", "0", "--load", str(raw))
    with program(tmp_path / "log", "netinfod", *command) as running:
        place = running.says(r"served at (\S+)")
        listed = tool("niutil", "-list", "-p", "--pcap", str(recording), *options, place, "/")
        assert listed.code == 0
        running.end()
    assert (bytes(255 - byte for byte in b"secret") in recording.read_bytes()) is shown


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--tag", "../x"], "a tag is 1 to 64"),
        (["--generation", "sun"], "'sun' is not one of"),
        (["--load", "/dev/null/missing"], "does not exist"),
        (["--port", "70000"], "70000"),
    ],
)
def test_wrong_usage_of_netinfod(argv: list[str], sentence: str) -> None:
    ran = CliRunner().invoke(netinfod, argv)
    assert ran.exit_code == 2
    assert sentence in ran.output


def test_a_bad_environment_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTPORTS_PORTMAP", "nonsense")
    ran = CliRunner().invoke(portmap, [])
    assert (ran.exit_code, "write HOST:PORT" in ran.output) == (2, True)


@pytest.mark.parametrize(
    ("name", "argv", "sentence"),
    [
        ("netinfod", ["--master", "nonsense"], "--master: 'nonsense' is not HOST/TAG"),
        ("netinfod", ["--master", "127.0.0.1:877"], "write HOST/TAG"),
        ("netinfod", ["--master", "no-such-host.invalid/network"], "no-such-host.invalid"),
        ("netinfod", ["--listen", "192.0.2.1"], "this machine has no such address"),
        ("nibindd", ["--port", "0", "--state", "/dev/null"], "/dev/null"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    tmp_path: Path, name: str, argv: list[str], sentence: str
) -> None:
    state = [] if "--state" in argv else ["--state", str(tmp_path / "state")]
    with program(tmp_path / "log", name, *argv, *state) as running:
        assert running.process.wait(30) == 1
        assert sentence in running.log.read_text()
        assert "Traceback" not in running.log.read_text()


def test_help_and_defaults() -> None:
    for command in (netinfod, nibindd, portmap):
        ran = CliRunner().invoke(command, ["--help"])
        assert ran.exit_code == 0
        assert "--pcap" in ran.output
    assert default_state().name == "netinfo"
