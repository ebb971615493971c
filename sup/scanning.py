"""Making the scan files of a collection, as `supscan` does (SUP 6.8, 7.3)."""

from functools import partial

import attrs

from sup import scanfile
from sup.collection import Collection, before
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
    made = []
    for release in collection.defined():
        entries = collection.walk(collection.release_tree(release), EVERYTHING)
        unheld = collection.write(release.scan, partial(scanfile.write, entries.values()), before(now))
        made.append(Made(release.scan, len(entries) - len(unheld), tuple(unheld)))
    return made
