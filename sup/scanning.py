"""Making the scan files of a collection, as `supscan` does (SUP 6.8, 7.3)."""

from collections.abc import Sequence
from functools import partial

import attrs

from sup import scanfile
from sup.collection import Collection, CollectionError, before
from sup.releases import DEFAULT, Release
from sup.report import printable
from sup.walk import EVERYTHING


@attrs.frozen
class Made:
    """A scan file that was written."""

    file: bytes
    """Its name in `sup/<collection>/`."""
    names: int
    """How many names are in it."""
    unheld: tuple[bytes, ...]
    """Names that it cannot hold, because there is a newline in them."""


def make_scans(collection: Collection, now: float) -> list[Made]:
    """Walk every release of `collection` and write its scan file; `now` is the time in seconds.

    Each file's time of modification, which becomes the scan time, is the second before. Raises
    CollectionError, NoSuchRelease, OSError; scan files that were complete by then stay.
    """
    defined = collection.defined()
    _check(defined)
    made = []
    for release in defined:
        entries = collection.walk(collection.release_tree(release), EVERYTHING)
        unheld = collection.write(release.scan, partial(scanfile.write, entries.values()), before(now))
        made.append(Made(release.scan, len(entries) - len(unheld), tuple(unheld)))
    return made


def _check(defined: Sequence[Release]) -> None:
    """Raises CollectionError where different trees would have one scan file: the server would list the last for all."""
    trees: dict[bytes, Release] = {}
    if all(release.name != DEFAULT for release in defined):
        defined = (*defined, Release(DEFAULT))  # which there is even so
    for release in defined:
        first = trees.setdefault(release.scan, release)
        if (first.prefix, first.list) != (release.prefix, release.list):
            one, other, file = map(printable, (first.name, release.name, release.scan))
            raise CollectionError(
                f"Releases {one} and {other} would share the file {file}: give one of them scan= in releases"
            )
