"""Removing from the client what the collection no longer has (SUP 8.2), and nothing else.

Only names that an earlier upgrade brought are removed, never through a symbolic link, and a directory only
when nothing else is left in it: files of the user's own stay where they are.
"""

import errno
import re
import stat
from collections.abc import Container, Iterable

from sup.needs import Doomed
from sup.report import Report, printable
from sup.supfile import Collection
from sup.writable import Blocked, WritableTree, beneath

TEMPORARY = re.compile(rb"#([0-9]+)\.sup")
"""Names of temporary files, this client's and the original's, with the process's number (SUP 8.6)."""


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(mode) else "file"


def delete(
    tree: WritableTree, victims: Iterable[Doomed], collection: Collection, report: Report
) -> set[bytes]:
    """Removes `victims`, or says what it would do; the names that are still to be remembered in `last`.

    Deletes in delete mode alone; with -f it only tells, and without either it asks the user to (SUP 8.2).
    What cannot be removed is reported and stays remembered; the upgrade is none the worse for it.
    """
    remembered = set()
    for victim in victims:
        text = f"{_kind(victim.mode)} {printable(victim.name)}"
        if victim.refused:
            report.note(f"Would not delete {text}")
        elif collection.list_only:
            report.note(f"Would delete {text}")
        elif not collection.delete:
            report.note(f"Please delete {text}")
            remembered.add(victim.name)
        else:
            try:
                _remove(tree, victim)
                report.detail(f"Deleted {text}")
            except OSError as error:
                report.warning(f"Unable to delete {text} ({_reason(error)})")
                remembered.add(victim.name)
    return remembered


def _remove(tree: WritableTree, victim: Doomed) -> None:
    if stat.S_ISDIR(victim.mode):
        tree.remove_directory(victim.name)
    else:
        tree.unlink(victim.name)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        return "it holds files that no upgrade brought here"
    return error.strerror or str(error)


def clear_directory(tree: WritableTree, name: bytes, known: Container[bytes]) -> None:
    """Removes directory `name`, in the place of which the collection now has something else.

    Everything in it must be in `known`, the names that upgrades brought; directories that they only passed
    through may go as well. Otherwise raises Blocked, and removes nothing.
    """
    order = _contents(tree, name, known)
    for inside, is_directory in order:
        if is_directory:
            tree.remove_directory(inside)
        else:
            tree.unlink(inside)


def _contents(tree: WritableTree, top: bytes, known: Container[bytes]) -> list[tuple[bytes, bool]]:
    """All names at and below directory `top`, children before parents, and which of them are directories."""
    found: list[tuple[bytes, bool]] = []
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        found.append((directory, True))
        names = tree.names(directory)
        if not names and directory not in known and directory != top:
            raise _foreign(top, directory)
        for leaf in names:
            name = beneath(directory, leaf)
            status = tree.lstat(name)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                if tree.is_guarded(status):
                    raise _foreign(top, name)
                waiting.append(name)
            elif name in known or TEMPORARY.fullmatch(leaf):
                found.append((name, False))
            else:
                raise _foreign(top, name)
    return sorted(found, reverse=True)


def _foreign(top: bytes, name: bytes) -> Blocked:
    return Blocked(top, f"it holds {printable(name)}, which no upgrade brought here")
