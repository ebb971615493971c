"""The explanation covers every byte once, says what it means, and names damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import A_FEW_EACH, FORMATS, damaged, formats, values
from wire.codec import Damage, codec
from wire.explain import Node, explain
from wire.formats import netinfo, rpc, sup
from wire.formats.sup import SupParams

EVERY_FORMAT = pytest.mark.parametrize("name", FORMATS)


def covered(node: Node) -> list[int]:
    return [byte for leaf in node.leaves() for byte in range(leaf.start, leaf.end)]


@EVERY_FORMAT
@A_FEW_EACH
@given(data=st.data())
def test_every_byte_is_explained_once(name: str, data: st.DataObject) -> None:
    kind, params = data.draw(formats(name))
    value = data.draw(values(kind, params))
    raw = codec(kind, params).build(value)
    tree = explain(kind, b"before" + raw, params, start=6)
    assert tree.value == value
    assert covered(tree) == list(range(6, 6 + len(raw)))
    assert all(node.meaning for node in tree.walk())


@EVERY_FORMAT
@A_FEW_EACH
@given(data=st.data())
def test_damage_is_explained_up_to_where_it_begins(name: str, data: st.DataObject) -> None:
    kind, params = data.draw(formats(name))
    raw = data.draw(damaged(kind, params))
    tree = explain(kind, raw, params)
    assert covered(tree) == list(range(len(covered(tree))))
    if tree.damage is not None:
        assert "damaged" in tree.meaning
        assert not tree.damage.path or any(node.damage for node in tree.walk() if node is not tree)


def meanings(tree: Node) -> dict[str, str]:
    return {node.name: node.meaning for node in tree.walk()}


def test_meanings() -> None:
    credential = rpc.Auth(rpc.AuthFlavor.AUTH_SYS, rpc.AuthUnix(0, b"\x91\x9a\x87\x8b", 0, 0, ()))
    call = rpc.Message(0x2A, rpc.MsgType.CALL, rpc.Call(2, 200100000, 2, 10, credential, rpc.AUTH_NONE))
    said = meanings(explain(rpc.Message, codec(rpc.Message).build(call)))
    assert said["xid"] == "0x0000002a"
    assert said["program"] == "200100000 (netinfo)"
    assert said["machine"] == '"\\x91\\x9a\\x87\\x8b" (inverted: "next")'
    assert said["flavor"] == "AUTH_NONE (0)"

    binding = netinfo.Binding(b"network", 0xC02AAC01)
    assert (
        meanings(explain(netinfo.Binding, codec(netinfo.Binding).build(binding)))["address"] == "192.42.172.1"
    )

    recv = sup.Recv(b"a", 0o100644, sup.EntryFlag.NEW | sup.EntryFlag.NEEDED, b"root", b"", 0, (), (), 5)
    said = meanings(explain(sup.Recv, codec(sup.Recv, SupParams()).build(recv), SupParams()))
    assert said["mode"] == "0o100644"
    assert said["flags"] == "0x8001 (NEW NEEDED)"
    assert said["mtime"] == "0 (1970-01-01 00:00:00 UTC)"
    assert said["size"] == "5 bytes follow"
    assert said["links"] == "empty"


def test_docs_come_with_the_fields() -> None:
    tree = explain(netinfo.NiId, bytes(8))
    assert "ni_id" in tree.doc
    assert tree.children[0].doc == "the directory's number; the root is 0"


def test_truncation_is_named_where_it_is() -> None:
    tree = explain(netinfo.LookupArgs, codec(netinfo.LookupArgs).build(
        netinfo.LookupArgs(netinfo.NiId(0, 0), b"name", b"machines"))[:18])  # fmt: skip
    assert tree.damage is not None
    assert (tree.damage.kind, tree.damage.path) == (Damage.TRUNCATED, "value")
    assert [child.name for child in tree.children] == ["id", "key", "value"]
