"""Whom a server becomes that root started: an account that can read the program, or it does not start."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import NetworkNamespace, require_account
from wire.transport import account
from wire.transport.errors import ProgramError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is where all may read it."""
    monkeypatch.setattr(account, "PROGRAM", (Path("/usr/bin/env"), Path("/etc/passwd")))


def open_to_all(path: Path) -> None:
    """Let other accounts into the folders of this session that hold `path`."""
    for parent in (path, *path.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 1:
            parent.chmod(0o755)


# --- what may be read -------------------------------------------------------------------------------------------


def test_a_closed_directory_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "closed" / "open"
    folder.mkdir(parents=True)
    program = folder / "program.py"
    program.write_text("")
    program.chmod(0o644)
    (tmp_path / "closed").chmod(0o700)
    monkeypatch.setattr(account, "PROGRAM", (program,))
    assert account.hidden_from(pwd.getpwuid(os.geteuid())) is None
    found = account.hidden_from(pwd.getpwnam("nobody"))
    assert found is not None
    assert found == tmp_path / "closed" or found in (tmp_path / "closed").parents


def test_a_file_that_may_not_be_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    monkeypatch.setattr(account, "PROGRAM", (secret,))
    assert account.hidden_from(pwd.getpwnam("nobody")) is not None


@pytest.mark.usefixtures("readable")
def test_what_all_may_read() -> None:
    assert account.hidden_from(pwd.getpwnam("nobody")) is None


# --- which account ----------------------------------------------------------------------------------------------


def test_the_account_a_server_becomes_is_named() -> None:
    assert account.account_named("").pw_name in ("anon", "nobody")
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert account.account_named(own).pw_uid == os.geteuid()
    with pytest.raises(ProgramError, match=r"There is no account no-such-account"):
        account.account_named("no-such-account")


def test_without_any_account_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_here(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody_here)
    with pytest.raises(ProgramError, match="no account anon or nobody"):
        account.account_named("")


def test_an_ordinary_user_becomes_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    account.become("")
    account.become("nobody")
    with pytest.raises(ProgramError, match="Only root can become ann"):
        account.become("ann")


def test_root_that_was_told_to_stay_root_stays_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "setuid", lambda uid: pytest.fail("changed its account"))
    account.become("root")


def test_an_account_that_cannot_read_the_program_is_not_become(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "setuid", lambda uid: pytest.fail("changed its account"))
    monkeypatch.setattr(account, "PROGRAM", (tmp_path,))
    tmp_path.chmod(0o700)
    with pytest.raises(ProgramError, match=r"Account nobody may not read this program.*--user root"):
        account.become("nobody", [tmp_path / "state"])
    assert not (tmp_path / "state").exists()


# --- becoming it, in processes of its own -----------------------------------------------------------------------

READABLE = """
from pathlib import Path
from wire.transport import account
account.PROGRAM = ()  # wherever this Python lies: what these servers need is loaded when they become the account,
"".encode("idna")  # and so is this
"""

DROPPED = f"""{READABLE}
import os, socket, sys
account.become(sys.argv[1], [Path(sys.argv[2]), Path(sys.argv[2], "old")])
with socket.socket() as low:
    low.bind(("127.0.0.1", 877))
Path(sys.argv[2], "mine").write_text("x")
try:
    os.setuid(0)
except PermissionError:
    print(os.getuid(), os.getgid(), "no way back")
try:
    Path("/etc/shadow").read_text()
except PermissionError:
    print("no secrets")
"""


@pytest.mark.root
def test_root_becomes_an_account_that_can_still_open_reserved_ports(
    namespace: NetworkNamespace, tmp_path: Path
) -> None:
    wanted = require_account("nobody")
    open_to_all(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    (state / "old").write_text("there before")
    (tmp_path / "others").write_text("not the server's")
    (state / "others").hardlink_to(tmp_path / "others")
    ran = namespace.run([sys.executable, "-c", DROPPED, "nobody", str(state)], cwd=ROOT)
    assert ran.stdout.decode().splitlines() == [
        f"{wanted.pw_uid} {wanted.pw_gid} no way back",
        "no secrets",
    ]
    assert {(state / name).stat().st_uid for name in (".", "old", "mine")} == {wanted.pw_uid}
    assert (state / "others").stat().st_uid == 0


@pytest.mark.root
def test_a_directory_out_of_reach_is_named(tmp_path: Path) -> None:
    require_account("nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    code = f"""{READABLE}
try:
    account.become("nobody", [Path({str(closed / "state")!r})])
except account.ProgramError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert b"cannot be reached by account nobody" in ran.stdout


@pytest.mark.root
def test_a_domain_server_started_by_root_serves_as_anybody(
    namespace: NetworkNamespace, tmp_path: Path
) -> None:
    wanted = account.account_named("")
    open_to_all(tmp_path)
    state = tmp_path / "state"
    code = f"{READABLE}\nfrom netinfo.commands.servers import netinfod; netinfod()"
    running = namespace.popen(
        [sys.executable, "-c", code, "--port", "877", "--state", str(state), "--no-register"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    try:
        namespace.wait_for_port(877)
        (server_process,) = namespace.processes()
        status = Path(f"/proc/{server_process}/status").read_text()
        assert f"Uid:\t{wanted.pw_uid}\t{wanted.pw_uid}" in status
        assert "CapEff:\t0000000000000400" in status, "opening reserved ports, and nothing else"
        code = "from netinfo.commands.niutil import main; main()"
        ran = namespace.run(
            [sys.executable, "-c", code, "-create", "127.0.0.1:877", "/users/ann"], cwd=ROOT, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert (state / "network.db").stat().st_uid == wanted.pw_uid
    finally:
        running.terminate()
        running.wait(timeout=30)
