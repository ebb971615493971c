"""Databases of the real servers: read to exactly what they said of themselves, written so that they read the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from netinfo import nidb
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.nidb import NidbError
from netinfo.nidb.apple import pack, unpack
from netinfo.rawformat import Branch, plant
from netinfo.replication import snapshot
from netinfo.tree import Tree
from wire.codec import codec
from wire.formats.netinfo import NI_INDEX_NULL, NiId, Object, Property

RECORDED = Path(__file__).parent.parent / "captures" / "nidb"
WRITERS = {"next": nidb.write_next, "apple": nidb.write_apple}
BOTH = pytest.mark.parametrize("name", ["next", "apple"])


def shown(value: bytes) -> str:
    text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in value)
    return f'"{text}"'


def told(tree: Tree) -> str:
    """A domain as the recordings' .txt files show READALL's reply."""
    objects = []
    for each in snapshot(tree):
        props = " ".join(f"{shown(p.name)}=[{','.join(map(shown, p.values))}]" for p in each.properties)
        children = " ".join(map(str, each.children))
        objects.append(f"({each.id.object}.{each.id.instance} p={each.parent} {{{props}}} [{children}])")
    return f"NI_OK checksum={tree.checksum} highestid={tree.highest_id} [{' '.join(objects)}]\n"


def copy_of(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED / f"{name}.nidb", tmp_path / "copy.nidb"))


@BOTH
def test_real_database_is_read_as_its_server_told_it(name: str) -> None:
    found = nidb.read(RECORDED / f"{name}.nidb")
    assert found.generation.name == name
    assert found.notes == ()
    assert told(found.tree) == (RECORDED / f"{name}.txt").read_text()
    assert f'"checksum"=["{found.tree.checksum}"]' in (RECORDED / f"{name}.checksum").read_text()


@BOTH
def test_real_database_is_written_back_the_same(name: str, tmp_path: Path) -> None:
    tree = nidb.read(RECORDED / f"{name}.nidb").tree
    WRITERS[name](tree, tmp_path / "out.nidb")
    again = nidb.read(tmp_path / "out.nidb")
    assert again.notes == ()
    assert told(again.tree) == told(tree)
    assert [d.version for d in again.tree.walk()] == [d.version for d in tree.walk()]
    assert (tmp_path / "out.nidb").stat().st_mode & 0o777 == 0o700


def test_next_files_are_byte_for_byte_the_originals(tmp_path: Path) -> None:
    nidb.write_next(nidb.read(RECORDED / "next.nidb").tree, tmp_path / "out.nidb")
    ours = {file.name: file.read_bytes() for file in (tmp_path / "out.nidb").iterdir()}
    assert ours == {file.name: file.read_bytes() for file in (RECORDED / "next.nidb").iterdir()}


def test_apple_records_are_byte_for_byte_the_originals() -> None:
    count = 0
    for file in (RECORDED / "apple.nidb").glob("Store.*"):
        size, data = int(file.suffix[1:]), file.read_bytes()
        for start in range(0, len(data), size):
            slot = data[start : start + size]
            if any(slot):
                packed = pack(*unpack(slot))
                assert packed.ljust(size, b"\0") == slot
                count += 1
    assert count == 12


@BOTH
def test_database_crosses_over_to_the_other_generation(name: str, tmp_path: Path) -> None:
    tree = nidb.read(RECORDED / f"{name}.nidb").tree
    other = "apple" if name == "next" else "next"
    WRITERS[other](tree, tmp_path / "out.nidb")
    again = nidb.read(tmp_path / "out.nidb").tree
    assert [d.to_object() for d in again.walk()] == [d.to_object() for d in tree.walk()]


@BOTH
@pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
def test_odd_content_survives(name: str, generation: Generation, tmp_path: Path) -> None:
    odd = (
        Property(b"_first", (b"", b"\xff\xfe")),
        Property(b"", ()),
        Property(b"_", (b'"\\',)),
        Property(b"plain", (b"x" * 300,)),
        Property(b"_last", ()),
        Property(b"plain", ()),
    )
    tree = plant(Branch(odd, (Branch(odd, (Branch(),)), Branch((Property(b"_only", (b"1",)),)))), generation)
    tree.create(tree.directories[0], odd, 0)
    tree.destroy(tree.directories[3])
    WRITERS[name](tree, tmp_path / "out.nidb")
    again = nidb.read(tmp_path / "out.nidb")
    assert again.notes == ()
    assert [d.to_object() for d in again.tree.walk()] == [d.to_object() for d in tree.walk()]
    if name == "next":
        assert again.tree.totals.slots == tree.totals.slots
        assert list(again.tree.vacancies()) == list(tree.vacancies())


def test_garbage_after_a_record_is_not_read(tmp_path: Path) -> None:
    path = copy_of("next", tmp_path)
    data = bytearray((path / "collection").read_bytes())
    tree = nidb.read(path).tree
    length = {number: len(codec(Object).build(tree.directories[number].to_object())) for number in (1, 11)}
    data[256 + length[1] : 512] = b"\xa5" * (256 - length[1])
    (path / "collection").write_bytes(data[: 11 * 256 + length[11]])  # the last slot may be short
    assert told(nidb.read(path).tree) == (RECORDED / "next.txt").read_text()


def test_later_collection_with_longer_slots(tmp_path: Path) -> None:
    path = copy_of("next", tmp_path)
    data = (path / "collection").read_bytes()
    wide = b"".join(data[start : start + 256] + bytes(256) for start in range(0, len(data), 256))
    (path / "collection").unlink()
    (path / "Collection").write_bytes(wide)
    assert told(nidb.read(path).tree) == (RECORDED / "next.txt").read_text()


def test_committed_transaction_is_replayed(tmp_path: Path) -> None:
    path = copy_of("next", tmp_path)
    tree = nidb.read(path).tree
    tree.write(tree.directories[10], (Property(b"name", (b"lp",)),))
    (path / "transaction_10").write_bytes(codec(Object).build(tree.directories[10].to_object()))
    (path / "temporary_3").write_bytes(b"half a rec")
    (path / "checksum").unlink()
    found = nidb.read(path)
    assert told(found.tree) == told(tree)
    assert found.notes == ("transaction_10 had not reached its slot; the server was killed",)


def rewrite(path: Path, number: int, record: bytes) -> None:
    data = bytearray((path / "collection").read_bytes())
    data[number * 256 : number * 256 + 256] = record.ljust(256, b"\0")
    (path / "collection").write_bytes(data)


def slot(number: int, parent: int, *children: int, instance: int = 1) -> bytes:
    return codec(Object).build(Object(NiId(number, instance), (), parent, children))


def test_damaged_slot_costs_only_itself(tmp_path: Path) -> None:
    path = copy_of("next", tmp_path)
    rewrite(path, 8, b"\0\0\0\x08\0\0\0\1\xff\xff\xff\xff")
    rewrite(path, 9, slot(7, 4))
    found = nidb.read(path)
    assert 8 not in found.tree.directories
    assert 9 not in found.tree.directories
    assert [n for n in found.notes if n.startswith("slot")] == [
        "slot 8 cannot be read (properties, byte 8: longer than this field may be)",
        "slot 9 holds a directory that calls itself 7",
    ]
    assert "directory 4 listed a child 8 that does not exist" in found.notes
    assert "the noted checksum is 136, the directories give 117" in found.notes


def test_child_that_two_directories_list_stays_with_its_parent(tmp_path: Path) -> None:
    path = copy_of("next", tmp_path)
    rewrite(path, 1, slot(1, 0, 2, 6))
    found = nidb.read(path)
    assert list(found.tree.directories[1].children) == [2]
    assert list(found.tree.directories[3].children) == [6, 7]
    assert "directory 1 listed directory 6, which belongs elsewhere" in found.notes


def test_orphans_are_brought_back_and_loops_left_out(tmp_path: Path) -> None:
    path = copy_of("next", tmp_path)
    rewrite(path, 3, slot(3, 0, 7, instance=3))
    rewrite(path, 8, slot(8, 9, 9))
    rewrite(path, 9, slot(9, 8, 8))
    rewrite(path, 11, slot(11, 77))
    found = nidb.read(path)
    assert list(found.tree.directories[3].children) == [7, 6]
    assert "directory 6 was missing in the list of its parent, 3" in found.notes
    assert found.tree.directories[11].parent == 4  # its own parent is gone: it stays where it is listed
    for loop in (8, 9):
        assert f"directory {loop} cannot be reached from the root and was left out" in found.notes
    tree = found.tree
    assert tree.create(tree.directories[0], (), NI_INDEX_NULL)[0].id == NiId(8, 2)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NidbError, match="is not a directory"):
        nidb.read(tmp_path / "nothing")
    with pytest.raises(NidbError, match="neither `collection`"):
        nidb.read(tmp_path)
    (tmp_path / "collection").write_bytes(b"")
    with pytest.raises(NidbError, match="no root directory"):
        nidb.read(tmp_path)
    deep = plant(Branch())
    with (tmp_path / "collection").open("wb") as collection:
        for number in range(200):
            collection.write(slot(number, max(number - 1, 0), number + 1).ljust(256, b"\0"))
        collection.write(slot(200, 199))
    with pytest.raises(NidbError, match="beyond repair: directory 129 is deeper than 128 levels"):
        nidb.read(tmp_path)
    with pytest.raises(NidbError, match="exists already"):
        nidb.write_next(deep, tmp_path)
    with pytest.raises(NidbError, match="cannot be made"):
        nidb.write_apple(deep, tmp_path / "no" / "where")


# --- Apple ------------------------------------------------------------------------------------------------------


def test_apple_logs_complete_what_was_interrupted(tmp_path: Path) -> None:
    path = copy_of("apple", tmp_path)
    for gone in ("Index", "Clean"):
        (path / gone).unlink()
    (path / "Create").write_bytes(pack(Object(NiId(12, 0), (Property(b"name", (b"new",)),), 3, ()), 28))
    (path / "Delete").write_bytes((9).to_bytes(4, "little"))
    (path / "Temp").write_bytes(b"half")
    found = nidb.read(path)
    assert list(found.tree.directories[3].children) == [6, 7, 12]
    assert 9 not in found.tree.directories
    assert set(found.notes) == {
        "a change was being saved (file Create); it was completed",
        "directory 9 was being removed (file Delete); it was completed",
        "directory 12 was missing in the list of its parent, 3",
        "directory 4 listed a child 9 that does not exist",
    }
    assert found.tree.totals.version == 28


def test_apple_later_of_two_versions_is_kept(tmp_path: Path) -> None:
    path = copy_of("apple", tmp_path)
    newer = pack(Object(NiId(8, 1), (Property(b"name", (b"newer",)),), 4, ()), 99)
    older = pack(Object(NiId(9, 9), (Property(b"name", (b"older",)),), 4, ()), 1)
    with (path / "Store.96").open("ab") as store:
        store.write(newer.ljust(96, b"\0") + older.ljust(96, b"\0"))
    found = nidb.read(path)
    assert found.tree.directories[8].properties[0].values == (b"newer",)
    assert found.tree.directories[9].instance == 0
    assert len([note for note in found.notes if "a second time" in note]) == 2


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (b"\0\0\0\7\0\0\0\4abcd", "it is of type 7, not 256"),
        (b"\0\0\1\0\0\0\1\0" + bytes(40), "it ends within its bytes 8 to 264"),
        (b"\0\0\1\0\0\0\0\x14" + bytes(16) + b"\xff\xff\xff\xff", "it ends within"),
        (b"\0\0\1\0\0\0\0\x20" + bytes(20) + b"\0\0\0\1\0\0\0\3\0\0\0\0", "of type 3, not 6"),
        (
            b"\0\0\1\0\0\0\0\x25" + bytes(20) + b"\0\0\0\1\0\0\0\6\0\0\0\1\0\xff\xff\xff\xff",
            "claims 4294967295 values",
        ),
    ],
)
def test_apple_damaged_slot_is_named(tmp_path: Path, record: bytes, sentence: str) -> None:
    path = copy_of("apple", tmp_path)
    (path / "Store.64").write_bytes(bytes(64) + record.ljust(64, b"\0"))
    found = nidb.read(path)
    assert len(found.notes) == 1
    assert found.notes[0].startswith("Store.64 slot 1 cannot be read (")
    assert sentence in found.notes[0]
    assert told(found.tree) == (RECORDED / "apple.txt").read_text()


def test_apple_order_that_is_none_is_damage(tmp_path: Path) -> None:
    path = copy_of("apple", tmp_path)
    data = (path / "Store.224").read_bytes()
    (path / "Store.224").write_bytes(data.replace(b"\0\0\0\4\0\0\0\2", b"\0\0\0\4\0\0\0\1"))
    assert "Store.224 slot 0 cannot be read (the order of its properties is not one)" in nidb.read(path).notes


def test_apple_value_longer_than_the_protocol_carries_is_damage(tmp_path: Path) -> None:
    tree = plant(
        Branch((), (Branch((Property(b"x", (b"v" * 65_536,)),)), Branch((Property(b"y", ()),)))), APPLE
    )
    nidb.write_apple(tree, tmp_path / "long.nidb")
    found = nidb.read(tmp_path / "long.nidb")
    assert sorted(found.tree.directories) == [0, 2]
    assert any("a name or value has 65536 bytes" in note for note in found.notes)


def test_apple_unknown_version_is_refused(tmp_path: Path) -> None:
    path = copy_of("apple", tmp_path)
    (path / "Config").write_bytes(b"\0\0\0\2")
    with pytest.raises(NidbError, match="version that is not known"):
        nidb.read(path)


def test_apple_cannot_hold_a_property_of_its_own(tmp_path: Path) -> None:
    tree = plant(Branch((Property(b"_ni_attribute_order", (b"0",)),)))
    with pytest.raises(NidbError, match="which Apple's server uses itself"):
        nidb.write_apple(tree, tmp_path / "out.nidb")
    assert not (tmp_path / "out.nidb").exists()
