"""Trees of files that meet every rule of SUP, and the comparison of two of them."""

import hashlib
import os
import stat
from pathlib import Path

import attrs


@attrs.frozen
class Seen:
    """What a client can make of one name: everything but the number of its inode."""

    mode: int
    mtime: int | None
    """None for a symbolic link, whose time no client sets (SUP 4.5)."""
    content: bytes
    """The digest of a file's bytes, or a link's target."""
    same_as: tuple[bytes, ...]
    """All names of its inode."""


def snapshot(top: Path, without: tuple[bytes, ...] = (b"sup",)) -> dict[bytes, Seen]:
    """Everything below `top`, by name, but for the directories `without`."""
    found: dict[bytes, os.stat_result] = {}
    root = os.fsencode(top)
    for place, directories, files in os.walk(root):
        if place == root:
            directories[:] = [name for name in directories if name not in without]
        for name in (*directories, *files):
            path = os.path.join(place, name)
            found[os.path.relpath(path, root)] = os.lstat(path)
    groups: dict[tuple[int, int], list[bytes]] = {}
    for name, status in found.items():
        groups.setdefault((status.st_dev, status.st_ino), []).append(name)
    return {name: _seen(root, name, status, groups) for name, status in sorted(found.items())}


def _seen(
    root: bytes, name: bytes, status: os.stat_result, groups: dict[tuple[int, int], list[bytes]]
) -> Seen:
    path = os.path.join(root, name)
    content = b""
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    together = tuple(sorted(groups[status.st_dev, status.st_ino])) if stat.S_ISREG(status.st_mode) else ()
    mtime = None if stat.S_ISLNK(status.st_mode) else int(status.st_mtime)
    return Seen(status.st_mode, mtime, content, together)


def without_times(tree: dict[bytes, Seen], *directories: bytes) -> dict[bytes, Seen]:
    """A snapshot without the times of directories in which the client made or removed something (SUP 4.6)."""
    return {name: attrs.evolve(seen, mtime=0) if name in directories else seen for name, seen in tree.items()}


def write(
    top: Path, name: str | bytes, content: bytes = b"", mode: int = 0o644, mtime: int = 1_700_000_000
) -> None:
    """A file with all that matters of it, in directories that are made if need be."""
    path = os.path.join(os.fsencode(top), os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.utime(path, (mtime, mtime))


ODD_NAMES = (
    b"blank in it",
    b"#hash",
    b"new\nline",
    b"\xff\xfe",
    b"n" * 200,
    b"%s",
    b"back\\slash",
    b"-f",
    b"'\"",
)


def odd_tree(top: Path, small: int = 2000, large: int = 64 << 20) -> None:
    """A collection `demo` with odd names, empty files, set-id bits, a large file, many small ones, links of both kinds.

    Everything is below `data`; quoted symbolic links are in `data/links`.
    """
    for number, odd in enumerate(ODD_NAMES):
        write(top, b"data/odd/" + odd, odd * 3, mtime=1_600_000_000 + number)
        write(top, b"data/odd dir\n\xff/" + odd + b"/" + odd)
    write(top, "data/empty")
    write(top, "data/setuid", b"#!/bin/sh\n", 0o4755)
    write(top, "data/setgid", b"#!/bin/sh\n", 0o2711)
    write(top, "data/private", b"secret", 0o600)
    write(top, "data/before 1970", b"old", mtime=-100_000)
    (top / "data/sticky").mkdir(mode=0o755)
    (top / "data/sticky").chmod(0o1777)
    (top / "data/group").mkdir()
    (top / "data/group").chmod(0o2775)
    (top / "data/hollow/deep/er").mkdir(parents=True)
    write(top, "data/large", os.urandom(1 << 20) * (large >> 20))
    for number in range(small):
        write(
            top,
            f"data/many/{number // 100}/{number}",
            b"%d\n" % number * (number % 400),
            mtime=1_650_000_000 + number,
        )
    write(top, "data/hard/one", b"linked")
    os.link(top / "data/hard/one", top / "data/hard/two")
    (top / "data/elsewhere").mkdir()
    os.link(top / "data/hard/one", top / "data/elsewhere/three")
    (top / "data/links").mkdir()
    for name, target in (
        ("to file", "../empty"),
        ("to dir", "../many"),
        ("dangling", "no/where"),
        ("absolute", "/etc"),
    ):
        (top / "data/links" / name).symlink_to(target)
    collection(top, "upgrade data\nrsymlink data/links\n")
    for place, directories, _ in os.walk(os.fsencode(top / "data"), topdown=False):
        for directory in directories:
            path = os.path.join(place, directory)
            if not os.path.islink(path):
                os.utime(path, (1_640_000_000, 1_640_000_000))
    os.utime(top / "data", (1_640_000_000, 1_640_000_000))


def collection(top: Path, text: str, name: str = "demo") -> None:
    """Make `top` the base of collection `name`, whose list file is `text`."""
    (top / "sup" / name).mkdir(parents=True, exist_ok=True)
    (top / "sup" / name / "list").write_text(text)


def let_all_in(path: Path) -> None:
    """Let every account reach what is below `path`, which pytest makes for its own alone."""
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
