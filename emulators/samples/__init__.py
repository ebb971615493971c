"""What a new lab's file server offers: the collection `demo`, a small tree with every kind of file that SUP knows.

The package holds plain files; modes, times and links, which a wheel does not keep, are added when the sample is made.
"""

from __future__ import annotations

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

COLLECTION = "demo"
EXECUTABLE = ("bin/hello",)
EMPTY = ("etc/empty",)
SYMBOLIC_LINKS = {"doc/latest": "ports.txt"}
HARD_LINKS = {"etc/ports": "doc/ports.txt"}
TIME = 770_000_000
"""When the files of the sample were last changed: 27 May 1994 in Greenwich, when both protocols were in daily use."""


def plant(base: Path) -> None:
    """Make the sample collection in the new directory *base*, its control files included (SUP 6)."""
    _copy(files(__name__).joinpath(COLLECTION), base)
    for name in EXECUTABLE:
        (base / name).chmod(0o755)
    for name in EMPTY:
        _copy_bytes(b"", base / name)
    for name, target in HARD_LINKS.items():
        (base / name).hardlink_to(base / target)
    for name, target in SYMBOLIC_LINKS.items():
        (base / name).symlink_to(target)
    for path in base.rglob("*"):
        if path.is_file() and not path.is_symlink() and base / "sup" not in path.parents:
            os.utime(path, (TIME, TIME))


def _copy(source: Traversable, target: Path) -> None:
    if source.is_dir():
        target.mkdir(mode=0o755)
        for each in source.iterdir():
            _copy(each, target / each.name)
    else:
        _copy_bytes(source.read_bytes(), target)


def _copy_bytes(content: bytes, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o644)
