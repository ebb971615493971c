"""`ghostports lab` as a person meets it: what it prints works as typed; its ends, its beginnings, its failures."""

import os
import pwd
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from emulators.cli import ghostports
from emulators.commands.lab import account_of_lab
from emulators.hints import PACKAGES, real_program
from emulators.state import MARKER
from tests.emulators.running import (
    READY,
    RunningLab,
    environment,
    failing_lab,
    lab_command,
    running_lab,
)
from tests.peers import NetworkNamespace, loopback, next_second, peer, user_options, wait_until
from wire.transport import account


def typed(command: str, timeout: float = 60.0, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A printed command, run as a shell runs it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        env=environment, cwd=home,
    )  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> object:
    with running_lab(loopback(), tmp_path_factory.mktemp("lab") / "state") as running:
        yield running


@attrs.frozen
class Past:
    """A lab that has ended: where it was, the state it left, and what it printed."""

    listen: str
    state: Path
    printed: str

    def copy(self, directory: Path) -> Path:
        """A state directory like the one it left, to go on with or to damage."""
        return Path(shutil.copytree(self.state, directory / "state", symlinks=True))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A lab that wrote what its table proposes, and was then ended."""
    listen, state = loopback(), tmp_path_factory.mktemp("past") / "state"
    with running_lab(listen, state) as lab:
        (command,) = [command for command in lab.commands().values() if "-createprop" in command]
        assert typed(command).returncode == 0
        assert lab.end() == 0
    return Past(listen, state, lab.printed)


# --- what is printed works ----------------------------------------------------------------------------------


def test_the_table_says_what_runs_where(lab: RunningLab) -> None:
    for service in ("portmapper", "nibindd", "domain local", "domain network", "supfilesrv"):
        assert lab.port(service) > 0
    assert lab.port("supfilesrv -P") == 1127
    for secret in ("secret", "pencil", "violin", "cube"):
        assert secret in lab.printed


def test_our_netinfo_commands_work_as_typed(lab: RunningLab) -> None:
    programs = ("niutil", "nidump", "nifind")
    commands = {
        says: command for says, command in lab.commands().items() if any(name in command for name in programs)
    }
    assert len(commands) >= 5
    for command in commands.values():
        ran = typed(command)
        assert ran.returncode == 0, (command, ran.stderr)
    found = typed(next(command for command in commands.values() if "nifind" in command)).stdout
    assert "not found in /srv" in found
    assert "found in /, id = 7" in found
    listed = typed(next(command for command in commands.values() if "-list" in command)).stdout
    assert {"root", "ann", "ben"} <= set(listed.split())
    read = typed(next(command for command in commands.values() if "-read" in command)).stdout
    assert "office: 42" in read  # which the last command has written


def test_our_sup_works_as_typed_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    with running_lab(loopback(), tmp_path / "state") as lab:
        (command,) = [command for command in lab.commands().values() if "--port" in command]
        next_second()
        first = typed(command)
        assert first.returncode == 0, first.stderr
        assert_is_the_sample(lab)
        assert "README" in first.stdout
        second = typed(command)
        assert second.returncode == 0, second.stderr
        assert "README" not in second.stdout


def assert_is_the_sample(lab: RunningLab) -> None:
    """The client's copy equals what the list file names."""
    ours, theirs = lab.state / "client", lab.state / "collections/demo"
    for name in ("README", "bin/hello", "doc/about.txt", "doc/ports.txt", "etc/empty"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        assert (ours / name).stat().st_mtime_ns // 10**9 == (theirs / name).stat().st_mtime_ns // 10**9
    assert (ours / "bin/hello").stat().st_mode & 0o777 == 0o755
    assert (ours / "doc/latest").readlink() == Path("ports.txt")
    assert (ours / "etc/ports").samefile(ours / "doc/ports.txt")
    assert (ours / "notes/with blanks in its name").exists()
    assert not (ours / "notes/draft.tmp").exists()


@pytest.mark.interop
def test_debians_sup_works_as_typed(tmp_path: Path) -> None:
    with running_lab(loopback(), tmp_path / "state") as lab:
        (command,) = [command for command in lab.commands().values() if " -P " in command]
        assert command.split()[0] == peer("sup")
        first = typed(command)
        assert "completed" in first.stdout, first.stdout
        assert_is_the_sample(lab)
        assert "Receiving" in first.stdout
        assert "Receiving" not in typed(command).stdout
        (lab.state / "collections/demo/README").write_text("changed")
        third = typed(command).stdout
        assert "Receiving file README" in third
        assert (lab.state / "client/README").read_text() == "changed"


@pytest.mark.interop
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_real_rpcinfo_works_as_typed(lab: RunningLab, transport: str) -> None:
    peer("rpcinfo")
    (command,) = [command for command in lab.commands().values() if f"-T {transport}" in command]
    ran = typed(command)
    assert "program 100000 version 2 ready and waiting" in ran.stdout, ran.stderr


def test_what_does_not_work_is_marked(lab: RunningLab) -> None:
    marked = [says for says in lab.commands() if says.endswith(")")]
    for name, package in PACKAGES.items():
        said = any(f"needs the Debian package {package}" in says for says in marked)
        assert said is (real_program(name) is None)
    assert any("needs --historic-ports" in says for says in marked)


@pytest.mark.interop
@pytest.mark.root
def test_historic_ports_in_a_network_of_its_own(tmp_path: Path, namespace: NetworkNamespace) -> None:
    command = lab_command("--historic-ports", "--state", tmp_path / "state", "--user", "root", "--no-console")
    process = namespace.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running = RunningLab(process, "127.0.0.1", tmp_path / "state")
    try:
        wait_until(lambda: "Ctrl-C" in running.printed or process.poll() is not None, "the lab")
        assert process.poll() is None, running.logged
        for port in (111, 766, 877, 1033):
            assert namespace.is_listening(port, "udp")
            assert namespace.is_listening(port, "tcp")
        for port in (871, 1127):
            assert namespace.is_listening(port, "tcp")
        listed = namespace.run([peer("rpcinfo"), "-p", "127.0.0.1"]).stdout.decode()
        assert "200100001" in listed
        assert "needs --historic-ports" not in running.printed
        assert running.end() == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.root
def test_started_as_root_it_becomes_another_account_where_that_can_read_the_program() -> None:
    """It serves as that account, whose the state then is, and root's commands are still the superuser's."""
    nobody = pwd.getpwnam("nobody")
    readable = account.hidden_from(nobody) is None
    options = ("--user", "nobody") if readable else ("--user", "")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        with running_lab(loopback(), Path(directory) / "state", *options) as lab:
            status = Path(f"/proc/{lab.process.pid}/status").read_text()
            (uids,) = [line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")]
            expected = nobody.pw_uid if readable else 0
            assert set(uids) == {str(expected)}
            assert (lab.state / "netinfo/network.db").stat().st_uid == expected
            assert ("The lab stays root" in lab.printed) is not readable
            (command,) = [command for command in lab.commands().values() if "-createprop" in command]
            ran = typed(command)
            assert ran.returncode == 0, ran.stderr


def test_root_stays_root_where_no_other_account_can_read_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "PROGRAM", (tmp_path,))
    tmp_path.chmod(0o700)
    chosen, note = account_of_lab("")
    assert chosen == "root"
    assert "--user" in note
    assert account_of_lab("ann") == ("ann", "")
    monkeypatch.setattr(account, "PROGRAM", (Path("/usr/bin/env"),))
    assert account_of_lab("") == (account.account_named("").pw_name, "")


# --- log ----------------------------------------------------------------------------------------------------


def test_each_request_is_one_readable_line(lab: RunningLab) -> None:
    before = len(lab.err)
    ran = typed(f"niutil -read {lab.listen}:{lab.port('domain network')} /users/nobody")
    assert ran.returncode != 0
    wait_until(lambda: "NI_NODIR" in "".join(lab.err[before:]), "the line of the last call")
    lines = [line for line in lab.err[before:] if "LOOKUP" in line]
    assert len(lines) == 2
    assert "netinfod network" in lines[-1]
    assert "value=nobody → NI_NODIR" in lines[-1]
    assert "tcp" in lines[-1]


def test_passwords_never_reach_the_log(lab: RunningLab) -> None:
    environment = {**os.environ, "NETINFO_PASSWORD": "pencil"}
    where = f"{lab.listen}:{lab.port('domain network')}"
    niutil = Path(sys.executable).parent / "niutil"
    ran = subprocess.run(
        [niutil, "-createprop", "-u", "ann", where, "/locations", "seen", "yes"], env=environment, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    wait_until(lambda: "seen" in lab.logged, "the line of the change")
    assert "pencil" not in lab.logged
    assert "".join(chr(255 - ord(letter)) for letter in "pencil") not in lab.logged


# --- what the lab can do besides ------------------------------------------------------------------------------


@pytest.mark.interop
def test_through_a_bad_network_everything_still_works(tmp_path: Path) -> None:
    """RPC over UDP is sent again, TCP is late, and what happened is in the log."""
    with running_lab(loopback(), tmp_path / "state", "--fault", "drop=0.2,delay=10ms,dup=0.2") as lab:
        (listing,) = [command for command in lab.commands().values() if "-list" in command]
        for _ in range(2):
            ran = typed(listing, timeout=120)
            assert ran.returncode == 0, ran.stderr
        (sup,) = [command for command in lab.commands().values() if " -P " in command]
        assert "completed" in typed(sup, timeout=120).stdout
        assert_is_the_sample(lab)
        assert "fault: " in lab.logged
        assert "misbehaves on purpose: drop=0.2,delay=10ms,dup=0.2" in lab.printed
        assert lab.end() == 0
        assert "Traceback" not in lab.logged


@pytest.mark.interop
def test_a_recording_is_one_that_wireshark_reads(tmp_path: Path, tshark: Callable[..., str]) -> None:
    recording = tmp_path / "lab.pcapng"
    with running_lab(loopback(), tmp_path / "state", "--pcap", recording) as lab:
        for command in lab.commands().values():
            if "niutil" in command or " -P " in command:
                typed(command)
        assert lab.end() == 0
    assert recording.stat().st_mode & 0o777 == 0o600
    packets = tshark("-r", recording)
    assert "GETPORT" in packets
    assert tshark("-r", recording, "-Y", "_ws.malformed || tcp.analysis.flags") == ""
    dissected = typed(f"ghostports dissect {shlex.quote(str(recording))}").stdout
    for said in ("LOOKUP", "GETREGISTER", "SETUP", "README"):
        assert said in dissected


def test_a_recording_that_cannot_be_written(tmp_path: Path) -> None:
    ran = failing_lab(
        "--pcap", tmp_path / "nowhere" / "x.pcapng", "--state", tmp_path / "state", "--port-base", "0"
    )
    assert ran.returncode == 1
    assert "x.pcapng cannot be written" in ran.stderr


def test_a_configuration_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "sup/more").mkdir(parents=True)
    (other / "sup/more/list").write_text("upgrade file\n")
    (other / "file").write_text("more\n")
    config = tmp_path / "lab.toml"
    config.write_text(
        f'sup_debug_port = false\nconsole = false\n[netinfo]\ngeneration = "apple"\n'
        f'[sup.collections.more]\nbase = "{other}"\n'
    )
    with running_lab(loopback(), tmp_path / "state", "--config", config, console=True) as lab:
        assert "supfilesrv -P" not in lab.printed
        assert "browser" not in lab.printed
        assert "sup -P" not in "".join(lab.commands().values())


def test_the_console_is_at_the_next_free_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_lab(loopback(), tmp_path / "state", "--console", str(port), console=True) as lab:
            (line,) = [line for line in lab.out if "browser: http://127.0.0.1:" in line]
            assert f":{port}/" not in line


# --- ends and beginnings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with running_lab(loopback(), tmp_path / "state") as lab:
        assert lab.end(number) == 0
        assert lab.printed.endswith("The lab has ended.\n")
        assert "Traceback" not in lab.logged
        with socket.create_server((lab.listen, lab.port("supfilesrv -P"))):
            pass


@pytest.mark.parametrize("lines", [0, 100])
def test_a_reader_that_goes_away_stops_nothing(past: Past, tmp_path: Path, lines: int) -> None:
    """As with `make lab | tee class.log`: the same Ctrl-C ends both."""
    command = lab_command(
        "--listen", past.listen, "--port-base", "0", "--state", past.copy(tmp_path), *user_options()
    )
    lab = subprocess.Popen(
        [*command, "--no-console"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert lab.stdout is not None
    assert lab.stderr is not None
    while lines and READY not in lab.stdout.readline():
        assert lab.poll() is None
    lab.stdout.close()
    while "domain network" not in lab.stderr.readline():
        assert lab.poll() is None
    lab.send_signal(signal.SIGINT)
    said = lab.stderr.read()
    lab.stderr.close()
    assert (lab.wait(timeout=30), "Traceback" in said, "critical" in said) == (0, False, False), said


def test_ctrl_c_with_connected_clients(tmp_path: Path) -> None:
    with running_lab(loopback(), tmp_path / "state") as lab:
        services = ("portmapper", "nibindd", "domain network", "supfilesrv")
        clients = [socket.create_connection((lab.listen, lab.port(service))) for service in services]
        clients[-1].sendall(b"\x04\x03\x02\x01")
        assert lab.end() == 0
        assert "Traceback" not in lab.logged
        for client in clients:
            client.close()


@pytest.mark.parametrize(("option", "there"), [((), True), (("--fresh",), False)])
def test_a_second_start_finds_what_was_written_and_fresh_does_not(
    past: Past, tmp_path: Path, option: tuple[str, ...], there: bool
) -> None:
    with running_lab(past.listen, past.copy(tmp_path), *option) as lab:
        ran = typed(f"niutil -read {lab.listen}:{lab.port('domain network')} /users/ann")
        assert ran.returncode == 0
        assert ("office: 42" in ran.stdout) is there


def test_kill_nine_loses_nothing_acknowledged(past: Past, tmp_path: Path) -> None:
    state = past.copy(tmp_path)
    with running_lab(past.listen, state) as lab:
        ran = typed(f"niutil -createprop {lab.listen}:{lab.port('domain network')} /users/ben office 43")
        assert ran.returncode == 0, ran.stderr
        lab.process.kill()
        lab.process.wait()
    with running_lab(past.listen, state) as lab:
        ran = typed(f"niutil -read {lab.listen}:{lab.port('domain network')} /users/ben")
        assert "office: 43" in ran.stdout


def test_another_address_than_the_samples_were_made_for_is_noted(past: Past, tmp_path: Path) -> None:
    assert "Note:" not in past.printed
    here = loopback()
    with running_lab(here, past.copy(tmp_path)) as lab:
        assert (
            f"Note: The samples were made for {past.listen}, and this lab is reached at {here}" in lab.printed
        )


def test_port_1127_taken_is_said_and_everything_else_runs(tmp_path: Path) -> None:
    listen = loopback()
    with socket.create_server((listen, 1127)), running_lab(listen, tmp_path / "state") as lab:
        assert "TCP port 1127" in lab.printed
        assert "supfilesrv -P" not in lab.printed
        assert any("port 1127 is taken" in says for says in lab.commands())
        assert lab.port("supfilesrv") > 0


# --- failures: a sentence that says what to do, and exit code 1 or 2 ----------------------------------------


def test_a_port_in_use(tmp_path: Path) -> None:
    listen = loopback()
    with socket.create_server((listen, 20766)):
        ran = failing_lab(
            "--listen", listen, "--port-base", "20000", "--state", tmp_path / "state", "--no-console"
        )
    assert ran.returncode == 1
    assert f"TCP port 20766 on {listen} is already in use" in ran.stderr
    assert "--port-base" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_same_state_twice(lab: RunningLab) -> None:
    ran = failing_lab("--state", lab.state, "--port-base", "0")
    assert ran.returncode == 1
    assert "Another lab is using" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.root
def test_a_privileged_port_without_privilege(tmp_path: Path, namespace: NetworkNamespace) -> None:
    """In a network of its own, where nobody has moved the bound of the reserved ports, without root's right to them."""
    import pyprctl

    process = namespace.popen(
        lab_command("--historic-ports", "--state", tmp_path / "state", "--no-console", *user_options()),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=lambda: pyprctl.capbset_drop(pyprctl.Cap.NET_BIND_SERVICE),
    )  # fmt: skip
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "port 111 on 127.0.0.1 is reserved" in said
    assert "start as root" in said
    assert "Without --historic-ports" in said
    assert "Traceback" not in said


def test_an_address_that_is_not_this_machines(tmp_path: Path) -> None:
    ran = failing_lab(
        "--listen", "192.0.2.1", "--port-base", "0", "--state", tmp_path / "state", "--no-console"
    )
    assert ran.returncode == 1
    assert "192.0.2.1" in ran.stderr
    assert "--listen" in ran.stderr


@pytest.mark.parametrize("damage", ["text", "page"])
def test_a_damaged_database_is_named(past: Past, tmp_path: Path, damage: str) -> None:
    state = past.copy(tmp_path)
    path = state / "netinfo/network.db"
    if damage == "text":
        path.write_text("This is no database, but a letter to Santa Claus.\n" * 100)
    else:
        with sqlite3.connect(path) as database:
            database.execute("UPDATE directory SET properties = '[]' WHERE number = 7")
        database.close()
    ran = failing_lab("--listen", past.listen, "--port-base", "0", "--state", state, "--no-console")
    assert ran.returncode == 1
    assert str(path) in ran.stderr
    assert "--fresh" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("name", "said"), [("supfile", "Is a directory"), ("netinfo", "File exists")])
def test_a_state_that_cannot_be_used_is_named(past: Past, tmp_path: Path, name: str, said: str) -> None:
    path = past.copy(tmp_path) / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("A file in place of a directory.")
    else:
        path.unlink()
        path.mkdir()
    ran = failing_lab("--listen", past.listen, "--port-base", "0", "--state", path.parent, "--no-console")
    assert ran.returncode == 1
    assert f"{path} cannot be used: {said}" in ran.stderr
    assert "--fresh" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_damaged_marker_is_named(past: Past, tmp_path: Path) -> None:
    state = past.copy(tmp_path)
    (state / MARKER).write_text("{")
    ran = failing_lab("--port-base", "0", "--state", state)
    assert ran.returncode == 1
    assert f"{MARKER} is damaged" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--historic-ports", "--port-base", "1"), "exclude each other"),
        (("--console", "1", "--no-console"), "exclude each other"),
        (("--listen", "here"), "listen: 'here' is not an IPv4 address"),
        (("--fault", "drop=2"), "drop is a number from 0"),
        (("--port-base", "65000"), "port_base"),
        (("--config", "/nonexistent.toml"), "nonexistent"),
        (("a/b",), "cannot be a lab's name"),
        (("one", "two"), "unexpected extra argument"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    ran = CliRunner().invoke(ghostports, ["lab", *arguments])
    assert ran.exit_code == 2, ran.stderr
    assert said in ran.stderr
