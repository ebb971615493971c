"""What both kinds of database have in common before they are a tree."""

from __future__ import annotations

from pathlib import Path

import attrs

from netinfo.tree import Vacancy
from wire.formats.netinfo import Object


class NidbError(ValueError):
    """What is there is no database of either kind, or cannot be written as one; the sentence names the file."""


@attrs.frozen
class Found:
    """Directories as the files hold them, before they are a tree. *checksum* is what the server noted, if it did."""

    objects: dict[int, Object]
    versions: dict[int, int]
    vacancies: tuple[Vacancy, ...]
    checksums: tuple[int, ...]
    """Any of these is right (Apple's note is in the byte order of a host that is not known)."""


def make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        raise NidbError(f"{path} exists already; remove it or choose another name") from None
    except OSError as error:
        raise NidbError(f"{path} cannot be made: {error.strerror}") from None
