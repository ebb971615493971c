"""`sup -m`: mail goes out through the system's `mail`, which here is a program of the test's own."""

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest

from sup.mailing import NotSent, send

Mailer = Callable[[int], Path]


@pytest.fixture
def mailer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mailer:
    """Makes a `mail` that ends with a status; what it was given is in the file that comes back."""

    def make(status: int) -> Path:
        program, mailed = tmp_path / "mail", tmp_path / "mailed"
        program.write_text(f'#!/bin/sh\necho "$@" > {mailed}\ncat >> {mailed}\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return mailed

    return make


def test_a_mail(mailer: Mailer) -> None:
    mailed = mailer(0)
    send("joe@example.invalid", "SUP Upgrade of demo", "one\ntwo \udcff")
    assert mailed.read_bytes() == b"-s SUP Upgrade of demo joe@example.invalid\none\ntwo \xff\n"


def test_without_an_address_it_goes_to_the_user(mailer: Mailer) -> None:
    mailed = mailer(0)
    send(None, "s", "t")
    assert mailed.read_text() == f"-s s {getpass.getuser()}\nt\n"


def test_an_address_is_no_option(mailer: Mailer) -> None:
    mailed = mailer(0)
    with pytest.raises(NotSent, match="-a is no mail address"):
        send("-a", "s", "t")
    assert not mailed.exists()


def test_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotSent, match=r"the program `mail` cannot be run \(No such file or directory\)"):
        send("joe", "s", "t")


def test_a_program_that_fails(mailer: Mailer) -> None:
    mailer(3)
    with pytest.raises(NotSent, match="can't mail to joe: `mail` ended with status 3"):
        send("joe", "s", "t")
