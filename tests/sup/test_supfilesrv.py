"""The command `supfilesrv`: its options, what it refuses, and its processes."""

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sup.commands.supfilesrv import main, merged
from sup.config import ServerConfig
from sup.passwords import verify
from sup.workers import RESTART_AFTER
from tests.interop.programs import StartServer, starting_supfilesrv
from tests.interop.raw_client import RawClient
from tests.interop.trees import collection, write
from tests.peers import wait_until
from wire.formats.sup import PROBE_LITTLE, NameSignon, NameSignonAck, Ncoll, Nhost, SetupCode

NO_OPTIONS = {
    "max_clients": None, "listen": None, "port": None, "user": None, "workers": None, "bases": (), "historic": False,
    "name_server": False, "debug_ports": False, "family": None,
}  # fmt: skip


def run(*arguments: str, input: str = "") -> Result:  # noqa: A002
    return CliRunner().invoke(main, arguments, input=input)


def test_passwd_makes_a_line_for_the_configuration() -> None:
    ran = run("passwd", "joe", input="secret\n")
    assert ran.exit_code == 0
    line = re.fullmatch(r'"joe" = "(.*)"\n', ran.output)
    assert line is not None
    assert verify(b"secret", line[1])
    assert run("passwd", "joe", input="\n").exit_code == 2


def test_options_win_over_the_configuration() -> None:
    config = ServerConfig(bases=("/one",), port=9, listen="10.0.0.1", name_port=8)
    assert merged(config, NO_OPTIONS) == config
    changed = merged(config, NO_OPTIONS | {"bases": ("/two",), "max_clients": 0, "historic": True})
    assert (changed.bases, changed.max_clients, changed.historic) == (("/one", "/two"), 0, True)
    debug = merged(config, NO_OPTIONS | {"debug_ports": True, "family": 6})
    assert (debug.port, debug.name_port, debug.listen) == (1127, 1125, "::1")
    both = merged(config, NO_OPTIONS | {"debug_ports": True, "port": 5, "family": 6, "listen": "::"})
    assert (both.port, both.listen) == (5, "::")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = 'x'", "port: expected int"),
        ('[users]\njoe = "secret"', "users.joe: not a hash of `supfilesrv passwd`"),
        ('[users]\njoe = "abAwh7.RciMzE"', "users.joe: not a hash"),
    ],
)
def test_a_bad_configuration_is_wrong_usage(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    ran = run("--config", str(tmp_path / "c.toml"))
    assert ran.exit_code == 2
    assert message in ran.output
    assert "secret" not in ran.output


@pytest.mark.parametrize(
    "arguments",
    [("--no-such-option",), ("--port", "99999"), ("-C", "-1"), ("--workers", "0"), ("--workers", "2", "-d"),
     ("--workers", "2", "--pcap", "x"), ("--config", "/no/such/file"), ("argument",)],
)  # fmt: skip
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_help_names_every_option() -> None:
    ran = run("--help")
    assert ran.exit_code == 0
    for option in ("-d", "-l", "-N", "-P", "-q", "-S", "-C", "-4", "-6", "--config", "--listen", "--port", "--base",
                   "--user", "--workers", "--pcap"):  # fmt: skip
        assert re.search(rf"^  {option}\b", ran.output, re.MULTILINE), option


@pytest.fixture
def base(tmp_path: Path) -> Path:
    collection(tmp_path / "srv", "upgrade data\n")
    write(tmp_path, "srv/data/a", b"a")
    return tmp_path / "srv"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    with starting_supfilesrv(tmp_path) as start:
        yield start


def test_places_are_counted_over_all_workers(start: StartServer, base: Path) -> None:
    server = start("--base", str(base), "--workers", "3", "-C", "4")
    with contextlib.ExitStack() as stack:
        codes = []
        for _ in range(8):
            client = stack.enter_context(RawClient(server.host))
            client.signon()
            codes.append(client.setup(base).code)
        assert sorted(codes) == [SetupCode.BUSY] * 4 + [SetupCode.OK] * 4
    wait_until(lambda: grants(server.host, base), "places to be given back")


def test_places_of_a_worker_that_is_killed_are_given_back(start: StartServer, base: Path) -> None:
    server = start("--base", str(base), "--workers", "2", "-C", "2")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(RawClient(server.host))
            client.signon()
            assert client.setup(base).code == SetupCode.OK
        assert not grants(server.host, base)
        time.sleep(RESTART_AFTER + 0.1)
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
        wait_until(lambda: answers(server.host, base), "other workers, with free places")


def answers(host: str, base: Path) -> bool:
    try:
        return grants(host, base)
    except (OSError, EOFError):
        return False


def grants(host: str, base: Path) -> bool:
    with RawClient(host) as client:
        client.signon()
        return client.setup(base).code == SetupCode.OK


def test_one_connection(start: StartServer, base: Path) -> None:
    server = start("--base", str(base), "-d", "-l")
    with RawClient(server.host) as client:
        assert [entry.name for entry in client.list(base).entries] == [b"data", b"data/a"]
        with pytest.raises(ConnectionRefusedError):
            RawClient(server.host)
    assert server.process.wait(timeout=20) == 0
    assert server.logged(": connected")


def test_silence_and_the_trace(start: StartServer, base: Path, tmp_path: Path) -> None:
    quiet = start("--base", str(base), "-q", "-NNN")
    with RawClient(quiet.host) as client:
        client.list(base)
    wait_until(lambda: quiet.logged("given up"), "the log")
    assert quiet.logged("SCM Writing message 110")
    assert quiet.logged("SCM Writing string data/a")


def test_a_recording(start: StartServer, base: Path, tmp_path: Path) -> None:
    server = start("--base", str(base), "--pcap", str(tmp_path / "x.pcapng"))
    with RawClient(server.host) as client:
        client.list(base)
    wait_until(lambda: server.logged("given up"), "the log")
    server.stop()
    assert (tmp_path / "x.pcapng").stat().st_mode & 0o777 == 0o600
    assert b"data/a" in (tmp_path / "x.pcapng").read_bytes()


def test_the_name_server(start: StartServer, base: Path, tmp_path: Path) -> None:
    (tmp_path / "coll.host").write_text("demo one.example, two.example\n")
    (tmp_path / "c.toml").write_text(f'bases = ["{base}"]\nsupfiles = "{tmp_path}"\n')
    server = start("--config", str(tmp_path / "c.toml"), "--name-server")
    wait_until(lambda: server.logged("names of hosts"), "the name server")
    with RawClient(server.host, 1125) as client:
        client.write(PROBE_LITTLE)
        client.send(NameSignon(5, 1, b"x"), Ncoll(b"demo"), Ncoll(b"unknown"))
        client.receive(NameSignonAck)
        assert client.receive(Nhost).hosts == (b"one.example", b"two.example")
        assert client.receive(Nhost).hosts == ()
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended() == b""


def test_without_anything_to_serve_it_says_so(start: StartServer, base: Path) -> None:
    server = start()
    assert server.logged("nothing to serve")
    with RawClient(server.host) as client:
        client.signon()
        with pytest.raises(AssertionError, match="Can't chdir"):
            client.setup(base)
