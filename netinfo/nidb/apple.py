"""Apple's database: files `Store.<size>` of equal slots, properties in a form of their own (NETINFO 6.2)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from netinfo.nidb.files import Found, NidbError, make
from netinfo.tree import ROOT, Tree
from wire.formats.netinfo import NiId, Object, Property

RECORD_TYPE, STRING_TYPE, NUMBER_TYPE = 256, 6, 3
LONGEST = 0xFFFF
"""Bytes of a name or value, and items of a list, that the protocol can carry (NETINFO 1.2)."""
UNIT = 32
"""Slots are a multiple of this many bytes."""
ORDER = b"ni_attribute_order"
"""The meta-attribute that says where each attribute stood among the properties."""
HEADER = struct.Struct(">II")
"""Of a slot and of a datum: type, length."""
WORDS = struct.Struct(">I")


class DamagedRecord(ValueError):
    """A slot whose content is not a record."""


def stores(path: Path) -> Iterator[tuple[int, Path]]:
    """(slot size, file) of every Store file."""
    for file in sorted(path.glob("Store.*")):
        match = re.fullmatch(r"Store\.([1-9]\d{0,9})", file.name)
        if match and int(match[1]) % UNIT == 0:
            yield int(match[1]), file


def read_apple(path: Path, notes: list[str]) -> Found:
    """The Store files, then what the logs of an interrupted change say (NETINFO 6.2). `Index` is not needed."""
    config = path / "Config"
    if config.is_file() and config.read_bytes() not in (b"", WORDS.pack(1)):
        raise NidbError(f"{config} says that the database has a version that is not known")
    records: dict[int, tuple[Object, int]] = {}
    for size, file in stores(path):
        data = file.read_bytes()
        for slot in range(0, len(data), size):
            take_slot(data[slot : slot + size], f"{file.name} slot {slot // size}", records, notes)
    take_logs(path, records, notes)
    clean = path / "Clean"
    checksums: tuple[int, ...] = ()
    if clean.is_file() and clean.stat().st_size == 4:
        noted = clean.read_bytes()
        checksums = (int.from_bytes(noted, "little"), int.from_bytes(noted, "big"))
    return Found(
        {number: each for number, (each, _) in records.items()},
        {number: version for number, (_, version) in records.items()},
        (),
        checksums,
    )


def take_slot(slot: bytes, where: str, records: dict[int, tuple[Object, int]], notes: list[str]) -> None:
    """Add the record in a slot; of two with one number the later version is kept."""
    try:
        if not any(slot[: HEADER.size]):
            return
        found, version = unpack(slot)
    except DamagedRecord as error:
        notes.append(f"{where} cannot be read ({error})")
        return
    number = found.id.object
    if number in records:
        notes.append(f"{where} holds directory {number} a second time; the later version was kept")
        if records[number][1] >= version:
            return
    records[number] = found, version


def take_logs(path: Path, records: dict[int, tuple[Object, int]], notes: list[str]) -> None:
    created, deleted = path / "Create", path / "Delete"
    if created.is_file():
        notes.append("a change was being saved (file Create); it was completed")
        try:
            found, version = unpack(created.read_bytes())
            records[found.id.object] = found, version
        except DamagedRecord as error:
            notes.append(f"file Create cannot be read ({error})")
    if deleted.is_file() and deleted.stat().st_size == 4:
        # In the byte order of a host that is not known: only one of the two readings is a directory's number.
        noted = deleted.read_bytes()
        for number in dict.fromkeys((int.from_bytes(noted, "little"), int.from_bytes(noted, "big"))):
            if number in records and not records[number][0].children and number != ROOT:
                notes.append(f"directory {number} was being removed (file Delete); it was completed")
                del records[number]
                break


def c_value(datum: bytes) -> bytes:
    """What a C string in a datum says. Raises DamagedRecord if it is longer than the protocol carries."""
    value = datum.split(b"\0")[0]
    if len(value) > LONGEST:
        raise DamagedRecord(f"a name or value has {len(value)} bytes")
    return value


class Cursor:
    """Takes words and data out of a record."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def word(self) -> int:
        return int(WORDS.unpack(self.take(WORDS.size))[0])

    def words(self, count: int) -> tuple[int, ...]:
        return tuple(number for (number,) in WORDS.iter_unpack(self.take(WORDS.size * count)))

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise DamagedRecord(f"it ends within its bytes {self.position} to {end}")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def datum(self, expected: int) -> bytes:
        kind, length = HEADER.unpack(self.take(HEADER.size))
        if kind != expected:
            raise DamagedRecord(f"a datum before byte {self.position} is of type {kind}, not {expected}")
        return self.take(length)

    def string(self) -> bytes:
        return c_value(self.datum(STRING_TYPE))

    def count(self, what: str, of: str) -> int:
        """How many follow; refused where that many cannot be there, or not be sent."""
        number = self.word()
        if number > LONGEST or number * HEADER.size > len(self.data):
            raise DamagedRecord(f"{what} claims {number} {of}")
        return number

    def attributes(self) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
        """Keys and their values; the order's numbers as the words they are."""
        for _ in range(self.count("a record", "attributes")):
            key, count = self.string(), self.count("an attribute", "values")
            kind = NUMBER_TYPE if key == ORDER else STRING_TYPE
            values = tuple(self.datum(kind) for _ in range(count))
            yield key, values if kind == NUMBER_TYPE else tuple(map(c_value, values))


def unpack(slot: bytes) -> tuple[Object, int]:
    """(directory, store version) of a slot. Raises DamagedRecord."""
    outer = Cursor(slot)
    kind, length = HEADER.unpack(outer.take(HEADER.size))
    if kind != RECORD_TYPE:
        raise DamagedRecord(f"it is of type {kind}, not {RECORD_TYPE}")
    cursor = Cursor(outer.take(length))
    number, serial, version, parent = cursor.words(4)
    children = cursor.words(cursor.word())
    ordinary = [Property(key, values) for key, values in cursor.attributes()]
    order: tuple[int, ...] = ()
    meta = []
    for key, values in cursor.attributes():
        if key == ORDER:
            order = tuple(int.from_bytes(value, "big") for value in values)
        else:
            meta.append(Property(b"_" + key, values))
    properties = [*ordinary, *meta]
    if order:
        if sorted(order) != list(range(len(properties))):
            raise DamagedRecord("the order of its properties is not one")
        properties = [
            prop for _, prop in sorted(zip(order, properties, strict=True), key=lambda pair: pair[0])
        ]
    return Object(NiId(number, serial), tuple(properties), parent, children), version


def pack(each: Object, version: int) -> bytes:
    """A slot's header and payload, without its padding. Raises NidbError for what the format cannot hold."""
    if any(prop.name == b"_" + ORDER for prop in each.properties):
        raise NidbError(
            f"directory {each.id.object} has a property _{ORDER.decode()}, which Apple's server uses itself"
        )
    places = sorted(range(len(each.properties)), key=lambda place: each.properties[place].name[:1] == b"_")
    ordinary = [prop for prop in each.properties if prop.name[:1] != b"_"]
    meta = [Property(prop.name[1:], prop.values) for prop in each.properties if prop.name[:1] == b"_"]
    attributes = [pack_attribute(prop.name, map(string, prop.values)) for prop in ordinary]
    metas = [pack_attribute(prop.name, map(string, prop.values)) for prop in meta]
    if places != sorted(places):
        metas.append(pack_attribute(ORDER, (datum(NUMBER_TYPE, WORDS.pack(place)) for place in places)))
    payload = b"".join(
        (
            numbers(
                each.id.object, each.id.instance, version, each.parent, len(each.children), *each.children
            ),
            WORDS.pack(len(attributes)),
            *attributes,
            WORDS.pack(len(metas)),
            *metas,
        )
    )
    return HEADER.pack(RECORD_TYPE, len(payload)) + payload


def numbers(*words: int) -> bytes:
    return b"".join(map(WORDS.pack, words))


def datum(kind: int, data: bytes) -> bytes:
    return HEADER.pack(kind, len(data)) + data


def string(value: bytes) -> bytes:
    return datum(STRING_TYPE, value + b"\0")


def pack_attribute(key: bytes, values: Iterable[bytes]) -> bytes:
    packed: Sequence[bytes] = tuple(values)
    return b"".join((string(key), WORDS.pack(len(packed)), *packed))


def write_apple(tree: Tree, path: Path) -> None:
    """Write a domain as Apple's server would find it after a crash. Raises NidbError if *path* exists.

    `Index` and `Clean` are left out: the server then makes them itself, in the byte order of its own host, which
    nobody here can know.
    """
    packed = [(here.number, pack(here.to_object(), here.version)) for here in tree.directories.values()]
    make(path)
    (path / "Config").write_bytes(WORDS.pack(1))
    sizes: dict[int, list[bytes]] = {}
    for _, slot in sorted(packed):
        size = -(-len(slot) // UNIT) * UNIT
        sizes.setdefault(size, []).append(slot.ljust(size, b"\0"))
    for size, slots in sizes.items():
        (path / f"Store.{size}").write_bytes(b"".join(slots))
