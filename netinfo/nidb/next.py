"""NeXT's database: slots of `collection`, and `extension_<k>` for each directory longer than one (NETINFO 6.1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netinfo.nidb.files import Found, make
from netinfo.tree import Tree, Vacancy
from wire.codec import codec
from wire.formats.errors import FormatError
from wire.formats.netinfo import NiId, Object

FREE = 0xFFFFFFFF
"""The object number of a slot that holds no directory."""
SLOTS = {"collection": 256, "Collection": 512}
"""Name of the file -> bytes in a slot; the second is a later variant."""
NOTHING = Object(NiId(FREE, 0), (), 0, ())
RECORD = codec(Object)


def collection_of(path: Path) -> Path | None:
    return next((path / name for name in SLOTS if (path / name).is_file()), None)


def read_next(path: Path, notes: list[str]) -> Found:
    """A committed `transaction_<k>` wins over `extension_<k>`, which wins over slot k (NETINFO 6.1)."""
    collection = collection_of(path)
    assert collection is not None
    size = SLOTS[collection.name]
    data = collection.read_bytes()
    whole = {k: data[start : start + size] for k, start in enumerate(range(0, len(data), size))}
    for kind in ("extension", "transaction"):
        for k, file in numbered(path, kind):
            whole[k] = file.read_bytes()
            if kind == "transaction":
                notes.append(f"{file.name} had not reached its slot; the server was killed")
    objects: dict[int, Object] = {}
    vacancies = []
    for k, record in sorted(whole.items()):
        try:
            found, _ = RECORD.parse(record)
        except FormatError as error:
            notes.append(f"slot {k} cannot be read ({error})")
            continue
        if found.id.object == FREE:
            vacancies.append(Vacancy(k, found.id.instance))
        elif found.id.object != k:
            notes.append(f"slot {k} holds a directory that calls itself {found.id.object}")
        else:
            objects[k] = found
    noted = path / "checksum"
    checksums: tuple[int, ...] = ()
    if noted.is_file() and noted.stat().st_size == 4:
        checksums = (int.from_bytes(noted.read_bytes(), "big"),)
    return Found(objects, {}, tuple(vacancies), checksums)


def numbered(path: Path, kind: str) -> Iterator[tuple[int, Path]]:
    for file in sorted(path.glob(f"{kind}_*")):
        number = file.name[len(kind) + 1 :]
        if number.isdigit() and int(number) < FREE:
            yield int(number), file


def write_next(tree: Tree, path: Path) -> None:
    """Write a domain as NeXT's server leaves it when it is shut down. Raises NidbError if *path* exists."""
    make(path)
    size = SLOTS["collection"]
    vacant = {vacancy.number: vacancy.instance for vacancy in tree.vacancies()}
    with (path / "collection").open("wb") as collection:
        for number in range(tree.totals.slots):
            here = tree.get(number)
            record = b"" if here is None else RECORD.build(here.to_object())
            if len(record) > size:
                (path / f"extension_{number}").write_bytes(record)
            if here is None or len(record) > size:
                record = RECORD.build(free_slot(vacant.get(number, 0)))
            collection.write(record.ljust(size, b"\0"))
    (path / "checksum").write_bytes(tree.checksum.to_bytes(4, "big"))


def free_slot(instance: int) -> Object:
    """What stands in a slot without a directory, or whose directory is in an extension."""
    return Object(NiId(FREE, instance), NOTHING.properties, NOTHING.parent, NOTHING.children)
