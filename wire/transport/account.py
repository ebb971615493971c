"""Which account a server started as root becomes, and how it becomes that for good.

It does so before it reads anything that a peer sent; on Linux it keeps the one capability of opening reserved ports,
which new domains and updates of clones need later. The account must be able to read the program, parts of which are
loaded while it serves; where it may not, as in a folder below /root, the server says so and does not start.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from wire.transport.errors import ProgramError

DEFAULT_ACCOUNTS = ("anon", "nobody")
"""Whom a server becomes unless told otherwise; the first that exists."""

PROGRAM = (Path(__file__), Path(os.__file__), Path(sys.prefix), Path(sys.base_prefix))
"""What a program is read from: our packages, Python's library, and the folders of both environments."""


def account_named(name: str) -> pwd.struct_passwd:
    """The account, or with "" the first of `DEFAULT_ACCOUNTS` that exists. Raises ProgramError."""
    for candidate in (name,) if name else DEFAULT_ACCOUNTS:
        try:
            return pwd.getpwnam(candidate)
        except KeyError:
            continue
    raise ProgramError(f"There is no account {name or ' or '.join(DEFAULT_ACCOUNTS)} on this machine.")


def become(name: str, writable: Sequence[Path] = ()) -> None:
    """As root: give *writable* to the account, and be that account from now on. As anybody else: stay who one is.

    name: an account, or "" for the first of `DEFAULT_ACCOUNTS`; root stays root when told so by name.
    writable: directories, which are made where they are not there, and files; nothing else in the directories is given.
    Only on Linux reserved ports can still be opened afterwards. Raises ProgramError.
    """
    if os.geteuid() != 0:
        if name and name != pwd.getpwuid(os.geteuid()).pw_name:
            raise ProgramError(f"Only root can become {name}: leave --user out, or start as root.")
        return
    account = account_named(name)
    if account.pw_uid == 0:
        return
    hidden = hidden_from(account)
    if hidden is not None:
        raise ProgramError(
            f"Account {account.pw_name} may not read this program, for {hidden} is closed to it: install the program "
            "where all may read it, or name an account that may with --user (`--user root` stays root)."
        )
    for path in writable:
        _give(path, account)
    directories = [path for path in writable if path.is_dir()]
    keeps_ports = sys.platform.startswith("linux") and _keep_capabilities()
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if keeps_ports:
        _only_reserved_ports()
    for directory in directories:
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise ProgramError(
                f"{directory} cannot be reached by account {account.pw_name}: choose another directory, or --user."
            )


def hidden_from(account: pwd.struct_passwd) -> Path | None:
    """The first part of `PROGRAM`, or directory above one, that the account may not read; None if it may read all."""
    groups = set(os.getgrouplist(account.pw_name, account.pw_gid))
    for path in PROGRAM:
        for each in reversed(
            (path.absolute(), path.resolve(), *path.absolute().parents, *path.resolve().parents)
        ):
            status = each.stat()
            bits = status.st_mode >> (
                6 if status.st_uid == account.pw_uid else 3 if status.st_gid in groups else 0
            )
            if not bits & (1 if each.is_dir() else 4):
                return each
    return None


def _give(path: Path, account: pwd.struct_passwd) -> None:
    try:
        if not path.exists() and not path.is_symlink():
            path.mkdir(parents=True, mode=0o700)
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise ProgramError(f"{path} cannot be given to {account.pw_name}: {error.strerror}.") from error


def _keep_capabilities() -> bool:
    """Let the next change of user leave the capabilities alone. False where that is not possible."""
    try:
        import pyprctl
    except (ImportError, OSError):
        return False
    pyprctl.set_keepcaps(True)
    return True


def _only_reserved_ports() -> None:
    """Drop every capability but that of opening ports below 1024."""
    import pyprctl

    ports = {pyprctl.Cap.NET_BIND_SERVICE}
    pyprctl.CapState(effective=ports, permitted=ports, inheritable=set()).set_current()
    pyprctl.set_keepcaps(False)
