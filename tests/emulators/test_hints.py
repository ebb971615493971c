"""Commands as they are typed here: the program meant is found, ours or the real one of the same name."""

import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from emulators import hints, lab
from emulators.config import LabConfig, NetInfoConfig
from wire.transport.tap import Address


def executable(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def two_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A virtual environment with our `sup` and `niutil`, and a system with the real `sup` and `rpcinfo`."""
    ours, theirs = tmp_path / "venv/bin", tmp_path / "usr/bin"
    for name in ("sup", "niutil"):
        executable(ours / name, b"#!/usr/bin/python3\n")
    for name in ("sup", "rpcinfo"):
        executable(theirs / name, b"\x7fELF")
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setattr(hints, "SYSTEM_FOLDERS", ())
    return ours, theirs


def test_our_program_by_name_where_the_shell_finds_it(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = two_kinds
    monkeypatch.setenv("PATH", f"{ours}:{theirs}")
    assert hints.own_program("sup") == "sup"
    assert hints.own_program("niutil") == "niutil"


def test_our_program_by_path_where_a_virtual_environment_is_active_that_another_terminal_lacks(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = two_kinds
    monkeypatch.setenv("PATH", f"{ours}:{theirs}")
    monkeypatch.setenv("VIRTUAL_ENV", str(ours.parent))
    assert hints.own_program("sup") == str(ours / "sup")


def test_our_program_by_path_where_the_shell_finds_another(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, theirs = two_kinds
    monkeypatch.setenv("PATH", str(theirs))
    assert hints.own_program("sup") == str(ours / "sup")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hints.own_program("sup") == "~/venv/bin/sup"


def test_our_program_that_is_not_installed_at_all(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(two_kinds[1]))
    assert hints.own_program("nidump") == "nidump"


def test_the_real_program_is_never_a_script(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = two_kinds
    monkeypatch.setenv("PATH", f"{ours}:{theirs}")
    assert hints.real_program("sup") == str(theirs / "sup")
    assert hints.real_program("rpcinfo") == "rpcinfo"


def test_the_real_sup_by_path_also_where_nothing_hides_it_yet(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, theirs = two_kinds
    monkeypatch.setenv("PATH", str(theirs))
    assert hints.real_program("sup") == str(theirs / "sup")


def test_the_administrators_folders_are_looked_into(
    two_kinds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = two_kinds
    monkeypatch.setenv("PATH", str(ours))
    assert hints.real_program("rpcinfo") is None
    monkeypatch.setattr(hints, "SYSTEM_FOLDERS", (str(theirs),))
    assert hints.real_program("rpcinfo") == str(theirs / "rpcinfo")


def test_a_path_with_blanks_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "my tools/rpcinfo", b"\x7fELF")
    monkeypatch.setattr(hints, "SYSTEM_FOLDERS", (str(tmp_path / "my tools"),))
    monkeypatch.setenv("PATH", os.devnull)
    assert hints.real_program("rpcinfo") == f"'{tmp_path}/my tools/rpcinfo'"


def test_a_command_may_lack_more_than_its_program() -> None:
    assert hints._lacks("sup", "/usr/bin/sup") == ""
    assert hints._lacks("sup", None) == "needs the Debian package sup"
    assert (
        hints._lacks("sup", None, "port 1127 is taken") == "needs the Debian package sup; port 1127 is taken"
    )


@pytest.mark.parametrize(
    ("rule", "table", "uid", "superusers", "password"),
    [
        ("same-user", True, 0, ("root",), False),
        ("same-user", True, 54321, ("54321", "root"), False),  # an account without a name, as in a container
        ("same-user", False, 54321, (), True),
        ("reserved-port", True, 0, ("root",), False),
        ("reserved-port", True, 54321, ("root",), True),
    ],
)
def test_who_writes_without_a_password_and_how_others_do(
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    table: bool,
    uid: int,
    superusers: tuple[str, ...],
    password: bool,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(lab, "SOCKETS", (Path(os.devnull if table else "/nonexistent"),))
    running: Any = lab.Lab(None, LabConfig(netinfo=NetInfoConfig(superuser=rule)), cast(Any, None))
    assert running.superusers == superusers
    command = hints.change(running, "/users/ann office 42").command
    assert ("NETINFO_PASSWORD=secret" in command) is password
    assert ("-u root" in command) is password


def test_universal_address() -> None:
    assert hints.universal(Address("127.0.0.1", 10111)) == "127.0.0.1.39.127"
