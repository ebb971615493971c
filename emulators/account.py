"""Which account a lab that was started as root becomes.

A server started as root becomes another account before it reads what peers ask for. That account must be able to read
the program itself; where it is not, as in a clone below /root, a lab that was not told whom to become stays root and
says so.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterable
from pathlib import Path

import attrs

from wire.transport.foreground import account_named

PROGRAM = (Path(__file__), Path(os.__file__), Path(sys.prefix), Path(sys.base_prefix))
"""What the program is read from."""


@attrs.frozen
class Choice:
    """An account for `foreground.run_server`, and what a person should know about it (empty: nothing)."""

    account: str
    note: str = ""


def choose(user: str) -> Choice:
    """Whom a lab becomes that was told to become *user* ("": not told). Raises ProgramError."""
    if user or os.geteuid() != 0:
        return Choice(user)
    account = account_named("")
    hidden = unreadable(account, PROGRAM)
    if hidden is None:
        return Choice(account.pw_name)
    return Choice(
        "root",
        f"The lab stays root, because account {account.pw_name} may not read the program below {hidden}. "
        "Better: move it to a place that all may read, or name an account that may with --user.",
    )


def unreadable(account: pwd.struct_passwd, paths: Iterable[Path]) -> Path | None:
    """The first of *paths*, or of the directories above them, that the account may not enter; None if there is none."""
    groups = set(os.getgrouplist(account.pw_name, account.pw_gid))
    for path in paths:
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
