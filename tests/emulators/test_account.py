"""Whom a lab of root becomes: an account that can read the program, or nobody else."""

import os
import pwd
from pathlib import Path

import pytest

from emulators import account
from wire.transport.foreground import ProgramError


def somebody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def test_a_closed_directory_above_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "open"
    folder.mkdir(parents=True)
    program = folder / "program.py"
    program.write_text("")
    program.chmod(0o644)
    (tmp_path / "closed").chmod(0o700)
    assert account.unreadable(pwd.getpwuid(os.geteuid()), [program]) is None
    found = account.unreadable(somebody(), [program])
    assert found is not None
    assert found == tmp_path / "closed" or found in (tmp_path / "closed").parents


def test_a_file_that_may_not_be_read_is_found(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    assert account.unreadable(somebody(), [secret]) is not None


def test_what_all_may_read(tmp_path: Path) -> None:
    assert account.unreadable(somebody(), [Path("/usr/bin/env"), Path("/etc/passwd")]) is None


def test_an_ordinary_user_becomes_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert account.choose("") == account.Choice("")
    assert account.choose("ann") == account.Choice("ann")


def test_root_does_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert account.choose("ann") == account.Choice("ann")


def test_root_becomes_an_account_that_can_read_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "PROGRAM", (Path("/usr/bin/env"),))
    assert account.choose("").account in ("anon", "nobody")
    assert account.choose("").note == ""


def test_root_stays_root_where_no_other_can_read_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(account, "PROGRAM", (tmp_path,))
    chosen = account.choose("")
    assert chosen.account == "root"
    assert "--user" in chosen.note


def test_without_any_account_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_here(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", nobody_here)
    with pytest.raises(ProgramError, match="no account"):
        account.choose("")
