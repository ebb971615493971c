"""Every hex example of the protocol reference: bytes, value, the same bytes; and no byte unexplained.

The examples are taken out of docs/protocol as they stand there: by their first words, up to the end of their block.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from wire.codec import codec
from wire.explain import explain
from wire.formats import netinfo, nibind, portmap, rpc, sup, xdr
from wire.formats.blocks import END
from wire.formats.record import WireType, of
from wire.formats.sup import SupParams

PROTOCOL = Path(__file__).parent.parent.parent / "docs" / "protocol"
SUP_SESSION = SupParams()
HEADER = of(rpc.Message)
VARIABLES = {  # what stands in angle brackets in an example
    "when": "32dc006b",
    "hostbase": "feffffff",
    "dev": "00fe0000",
    "ino": "6ec22000",
    "pid": "a10e0000",
    "scantime": "34dc006b",
    "mtime": "32dc006b",
    "garbage to 256": "a5a5a5a5",
    "38 bytes: path of the supfile": b"/home/anon/supfiles/reverse-supfile.01".hex(),
}


def example(spec: str, first: str, lines: int = 1) -> bytes:
    """The bytes of the example that begins with *first* and takes so many lines of *spec*."""
    text = (PROTOCOL / f"{spec}.md").read_text(encoding="utf-8")
    assert first in text, f"{spec}.md has no example {first}"
    block = "\n".join(text[text.index(first) :].splitlines()[:lines])
    block = block.split("`")[0].split("->")[0].split("...")[0]
    block = re.sub(r"\([^)\"]*\)", " ", block)
    block = re.sub(r"<([^>]+)>", lambda found: VARIABLES[found[1]], block)
    block = re.sub(r'"([^"]*)"', lambda found: found[1].replace("\\n", "\n").encode().hex(), block)
    return bytes.fromhex(re.sub(r"\s", "", block))


def argument(program: rpc.Program, name: str) -> WireType:
    return program.by_name[name].argument


def result(program: rpc.Program, name: str) -> WireType:
    return program.by_name[name].result


NETINFO, NIBIND, PORTMAP = netinfo.NETINFO, nibind.NIBIND, portmap.PORTMAP

ONC_RPC: list[tuple[str, int, list[WireType], Any]] = [
    ("44444444 00000001 00000001", 1, [HEADER], None),
    ("11111111 00000000 00000002 0bed48a1", 2, [HEADER, argument(NIBIND, "GETREGISTER")], b"network"),
    (
        "11111111 00000001 00000000 00000000 00000000 00000000 00000000 0000036d",
        1,
        [HEADER, result(NIBIND, "GETREGISTER")],
        netinfo.Result(netinfo.NiStatus.NI_OK, nibind.AddrInfo(877, 878)),
    ),
    (
        "11111111 00000001 00000000 00000000 00000000 00000000 00000013",
        1,
        [HEADER, result(NIBIND, "GETREGISTER")],
        netinfo.Result(netinfo.NiStatus.NI_NOTAG, None),
    ),
    (
        "22222222 00000000 00000002",
        2,
        [HEADER, argument(NETINFO, "LOOKUP")],
        netinfo.LookupArgs(netinfo.NiId(0, 0), b"name", b"machines"),
    ),
    (
        "22222222 00000001 00000000",
        2,
        [HEADER, result(NETINFO, "LOOKUP")],
        netinfo.Result(netinfo.NiStatus.NI_OK, netinfo.LookupBody((1,), netinfo.NiId(0, 15))),
    ),
    (
        "00000079 00000016 00000001 00000004 6e616d65",
        1,
        [argument(NETINFO, "CREATE")],
        netinfo.CreateArgs(
            netinfo.NiId(121, 22), (netinfo.Property(b"name", (b"lp",)),), netinfo.NI_INDEX_NULL, None
        ),
    ),
    (
        "00000000 00000089 00000001",
        1,
        [result(NETINFO, "CREATE")],
        netinfo.Result(
            netinfo.NiStatus.NI_OK, netinfo.CreateBody(netinfo.NiId(137, 1), netinfo.NiId(121, 23))
        ),
    ),
    (
        "00000000 00000002 00000002 00000001 00000001 00000007 2e2f6c6f",
        2,
        [result(NETINFO, "LIST")],
        netinfo.Result(
            netinfo.NiStatus.NI_OK,
            netinfo.ListBody((netinfo.Entry(2, (b"./local",)), netinfo.Entry(9, None)), netinfo.NiId(1, 5)),
        ),
    ),
    (
        "00000001 00000008 63686563",
        1,
        [result(NETINFO, "STATISTICS")],
        (netinfo.Property(b"checksum", (b"42693",)),),
    ),
    (
        "00000001 00000018 5fd8a3c0",
        1,
        [of(rpc.Auth)],
        rpc.Auth(rpc.AuthFlavor.AUTH_SYS, rpc.AuthUnix(0x5FD8A3C0, b"\x91\x9a\x87\x8b", 0, 0, ())),
    ),
    ("33333333 00000000 00000002 000186a0", 3, [HEADER, argument(PORTMAP, "CALLIT")], None),
    ("33333333 00000001", 1, [HEADER, result(PORTMAP, "CALLIT")], portmap.CallitResult(1015, b"")),
    (
        "00000005 6c6f6361 6c000000 c02aac05",
        1,
        [argument(NETINFO, "BIND")],
        netinfo.Binding(b"local", 0xC02AAC05),
    ),
    (
        "00000000 00000007 6e657477 6f726b00 c02aac01",
        1,
        [result(NETINFO, "RPARENT")],
        netinfo.Result(netinfo.NiStatus.NI_OK, netinfo.Binding(b"network", 0xC02AAC01)),
    ),
    ("00000000 0000000a 00000003\n", 10, [result(NETINFO, "READALL")], None),
]

SUP: list[tuple[str, int, type[Any]]] = [
    ("65000000 04000000 08000000 04000000 1a000000", 1, sup.Signon),
    ("66000000 04000000 08000000 04000000 0d000000", 1, sup.SignonAck),
    ("67000000  04000000 00000000", 3, sup.Setup),
    ("67000000 04000000 01000000", 1, sup.Setup),
    ("68000000 04000000 e3030000", 1, sup.SetupAck),
    ("73000000 04000000 d1030000", 1, sup.Done),
    ('6b000000 18000000 "Hello', 1, sup.Crypt),
    ("6c000000 ffffffff", 1, sup.CryptOk),
    ("69000000 feffffff", 1, sup.Login),
    ("6a000000 04000000 dd030000", 1, sup.LogAck),
    ("6d000000 feffffff ffffffff", 1, sup.Refuse),
    ("76000000 04000000 00000000", 1, sup.Compress),
    ("71 00 00 00 ff ff ff ff", 1, sup.Send),
    ("72000000 feffffff ffffffff", 1, sup.Recv),
    ("73000000 04000000 d3030000", 1, sup.Done),
    ("75000000 04000000 02000000", 1, sup.Xpatch),
    ("65000000 0400000008000000", 1, sup.Signon),
    ("67000000 0400000000000000", 1, sup.Setup),
    ("6b000000 1800000048656c6c", 1, sup.Crypt),
    ("6f000000 feffffff ffffffff", 1, sup.Need),
    ("76000000 0400000000000000", 1, sup.Compress),
    ("71000000 ffffffff", 1, sup.Send),
    ("73000000 04000000d3030000", 1, sup.Done),
    ("66000000 0400000008000000", 1, sup.SignonAck),
    ("68000000 04000000e7030000", 1, sup.SetupAck),
    ("6a000000 04000000dd030000", 1, sup.LogAck),
    ("6e000000 feffffff 04000000<scantime>", 1, sup.List),
    ("70000000 feffffff ffffffff", 1, sup.Deny),
]


def explained(kind: WireType, data: bytes, start: int, params: SupParams | None = None) -> int:
    """Check that every byte from *start* on belongs to a field; the position after the last."""
    tree = explain(kind, data, params, start)
    covered = [byte for leaf in tree.leaves() for byte in range(leaf.start, leaf.end)]
    assert tree.damage is None
    assert covered == list(range(start, tree.end))
    return tree.end


@pytest.mark.parametrize(("first", "lines", "kinds", "value"), ONC_RPC, ids=[row[0][:26] for row in ONC_RPC])
def test_onc_rpc(first: str, lines: int, kinds: list[WireType], value: Any) -> None:
    data = example("NETINFO", first, lines)
    position, built = 0, b""
    for kind in kinds:
        parsed, end = codec(kind).parse(data, position)
        assert explained(kind, data, position) == end
        built += codec(kind).build(parsed)
        position = end
    assert built == data
    if value is not None:
        assert parsed == value


@pytest.mark.parametrize(("first", "lines", "cls"), SUP, ids=[row[0][:26] for row in SUP])
def test_sup(first: str, lines: int, cls: type[Any]) -> None:
    data = example("SUP", first, lines)
    value = codec(cls, SUP_SESSION).parse_exact(data)
    assert codec(cls, SUP_SESSION).build(value) == data
    assert explained(of(cls), data, 0, SUP_SESSION) == len(data)


def test_a_file_with_its_data() -> None:
    data = example("SUP", '72000000 0d000000 "data/hard.txt"', 2)
    recv, end = codec(sup.Recv, SUP_SESSION).parse(data)
    assert recv.links == (b"data/hello.txt",)
    assert recv.size == 6
    assert data[end:] == b"hello\n" + codec(END, SUP_SESSION).build(END.number)
    assert codec(sup.Recv, SUP_SESSION).build(recv) == data[:end]


def test_a_list_begins_as_shown() -> None:
    data = example("SUP", '6e000000 04000000 "data"')
    entry, _ = codec(sup.ListEntry, SUP_SESSION).parse(data, 4)
    assert entry == sup.ListEntry(b"data", 0o40755, sup.EntryFlag.NEW, 0x6B00DC32)


def test_the_probe() -> None:
    assert example("SUP", "04030201\n") == sup.PROBE_LITTLE
    assert codec(sup.Probe).parse_exact(sup.PROBE_LITTLE) == sup.Probe(sup.PROBE_LITTLE)


def test_the_directory_of_a_next_database() -> None:
    data = example("NETINFO", "00000001 00000005 00000001 00000004 6e616d65", 2)
    assert codec(netinfo.NiId).parse(data)[0] == netinfo.NiId(1, 5)
    properties, end = codec(netinfo.PROPLIST).parse(data, 8)
    assert properties == (netinfo.Property(b"name", (b"machines",)),)
    assert codec(xdr.U32).parse(data, end)[0] == 0
