"""The directory a lab keeps its state in: made with samples at first start, kept between starts, remade on request.

    lab.json           what this directory is, and for which address its samples were made
    netinfo/           the domains' databases
    collections/demo   the sample collection, as the file server offers it
    client/            where the commands that the lab prints put a client's copy of it
    supfile            what those commands read

It comes into being in one step: everything is made beside it and moved into place. A directory without `lab.json` is
never touched, and one that another lab uses is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import IO

import attrs
import cattrs
import platformdirs

from emulators import samples

MARKER = "lab.json"
LOCK = "lock"
FORMAT = 1
DEFAULT_NAME = "default"
SYSTEM_STATE = Path("/var/lib/ghostports")
"""For labs started as root, which become an account that cannot look into root's own folders."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class StateError(Exception):
    """A directory that cannot hold a lab's state; the sentence says why and what to do."""


@attrs.frozen(kw_only=True)
class Marker:
    """The content of `lab.json`."""

    format: int
    address: str
    """The address for which the samples were made."""


@attrs.frozen
class State:
    """A lab's directory, in use by this process until `close`."""

    directory: Path
    address: str
    """The address for which the samples were made: a parent domain is reached at no other (NETINFO 4.5)."""
    is_new: bool
    _lock: IO[bytes]

    @property
    def databases(self) -> Path:
        return self.directory / "netinfo"

    @property
    def collections(self) -> Path:
        return self.directory / "collections"

    @property
    def client(self) -> Path:
        return self.directory / "client"

    @property
    def supfile(self) -> Path:
        return self.directory / "supfile"

    def write_supfile(self, host: str) -> None:
        """Say in the supfile that the sample collection comes from *host* into `client` (SUP 7.1)."""
        lines = (
            "# For the commands that `ghostports lab` prints: one collection, its host, and where it goes.",
            f"{samples.COLLECTION} host={host} base={self.client} delete old",
        )
        self.supfile.write_bytes(os.fsencode("\n".join(lines) + "\n"))

    def close(self) -> None:
        """Let another lab have the directory."""
        self._lock.close()


def directory_of(name: str) -> Path:
    """Where the lab called *name* lives unless `--state` says so. Raises StateError for what is no name."""
    if not _NAME.fullmatch(name):
        raise StateError(
            f"{name!r} cannot be a lab's name: use letters, digits, '-', '_' and '.', up to 64 of them."
        )
    if os.geteuid() == 0 and "XDG_STATE_HOME" not in os.environ:
        return SYSTEM_STATE / name
    home = platformdirs.user_state_path("ghostports", appauthor=False)
    if " " in str(home):  # macOS; but a supfile cannot name a directory with a blank in it (SUP 7.1)
        home = Path.home() / ".ghostports"
    return home / name


def open_state(directory: Path, address: str, *, fresh: bool) -> State:
    """Take the directory into use; make it, for a server reached at *address*, if it is not there.

    fresh: destroy what is there before. Raises StateError.
    """
    directory = directory.absolute()
    if any(sign.isspace() for sign in str(directory)):
        raise StateError(
            f"A supfile cannot name a directory with a blank in it, such as {directory}: choose another with --state."
        )
    try:
        is_new = not directory.exists() or not any(directory.iterdir())
        if fresh and not is_new:
            _remove(directory)
            is_new = True
        if is_new:
            _make(directory, address)
        lock = _lock(directory)
        try:
            return State(directory, _read(directory).address, is_new, lock)
        except BaseException:
            lock.close()
            raise
    except OSError as error:
        raise StateError(
            f"{directory} cannot be used: {error.strerror}. Choose another directory with --state."
        ) from error


def _read(directory: Path) -> Marker:
    path = directory / MARKER
    try:
        marker = cattrs.Converter(forbid_extra_keys=True).structure(json.loads(path.read_bytes()), Marker)
    except (ValueError, AttributeError, cattrs.BaseValidationError):
        raise StateError(f"{path} is damaged: begin anew with --fresh, or choose another --state.") from None
    if marker.format != FORMAT:
        raise StateError(
            f"{path} has format {marker.format}; this program knows format {FORMAT}. "
            "Begin anew with --fresh, or choose another --state."
        )
    return marker


def _lock(directory: Path) -> IO[bytes]:
    if not (directory / MARKER).exists():
        raise StateError(
            f"{directory} holds something else than a lab: choose another directory with --state."
        )
    lock = (directory / LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StateError(
            f"Another lab is using {directory}: stop it, or give this one a name of its own (`ghostports lab NAME`)."
        ) from None
    return lock


def _make(directory: Path, address: str) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        beside.chmod(0o755)
        for name in ("netinfo", "collections", "client"):
            (beside / name).mkdir()
        (beside / "netinfo").chmod(0o700)
        samples.plant(beside / "collections" / samples.COLLECTION)
        marker = Marker(format=FORMAT, address=address)
        (beside / MARKER).write_text(json.dumps(attrs.asdict(marker)) + "\n")
        beside.rename(directory)
    except OSError:
        if not (directory / MARKER).exists():  # else another lab was faster
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _remove(directory: Path) -> None:
    """Destroy a lab's directory, and no other's. Its name is free before anything is deleted."""
    lock = _lock(directory)
    try:
        away = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        os.rename(directory, away)
        shutil.rmtree(away)
    finally:
        lock.close()
