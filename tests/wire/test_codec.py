"""The generated functions agree with interpreted Construct: on every value, and on every damage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import A_FEW_EACH, FORMATS, damaged, formats, values
from wire.codec import Codec, Damage, FormatError, codec
from wire.formats import blocks, netinfo, rpc, sup, xdr
from wire.formats.record import WireType
from wire.formats.sup import SupParams

EVERY_FORMAT = pytest.mark.parametrize("name", FORMATS)


def outcome(read: Any, data: bytes) -> Any:
    """A value, or the kind and the field of the damage."""
    try:
        return "value", read(data)
    except FormatError as error:
        return "damage", error.kind, error.path


def generated(made: Codec[Any], data: bytes) -> Any:
    return made.parse(data)[0]


@EVERY_FORMAT
@A_FEW_EACH
@given(data=st.data())
def test_values_go_to_bytes_and_back(name: str, data: st.DataObject) -> None:
    kind, params = data.draw(formats(name))
    made = codec(kind, params)
    value = data.draw(values(kind, params))
    raw = made.build(value)
    assert raw == made.interpret_build(value)
    assert made.parse(raw) == (value, len(raw))
    assert made.interpret(raw) == value
    assert made.parse(b"????" + raw + b"more", 4) == (value, 4 + len(raw))


@EVERY_FORMAT
@A_FEW_EACH
@given(data=st.data())
def test_damage_is_named_alike(name: str, data: st.DataObject) -> None:
    kind, params = data.draw(formats(name))
    made = codec(kind, params)
    raw = data.draw(damaged(kind, params))
    assert outcome(lambda raw: generated(made, raw), raw) == outcome(made.interpret, raw)


@EVERY_FORMAT
@A_FEW_EACH
@given(data=st.data())
def test_streams_take_any_pieces(name: str, data: st.DataObject) -> None:
    kind, params = data.draw(formats(name))
    made = codec(kind, params)
    raw = made.build(data.draw(values(kind, params))) + b"next"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    stream = made.stream()
    while pieces and not stream.feed(pieces.pop(0)):
        pass
    assert stream.rest + b"".join(pieces) == b"next"
    assert stream.value == made.parse(raw)[0]


@EVERY_FORMAT
@A_FEW_EACH
@given(data=st.data())
def test_streams_name_damage_alike(name: str, data: st.DataObject) -> None:
    kind, params = data.draw(formats(name))
    made = codec(kind, params)
    raw = data.draw(damaged(kind, params))
    cut = data.draw(st.integers(0, len(raw)))

    def read(raw: bytes) -> Any:
        stream = made.stream()
        if not stream.feed(raw[:cut]) and not stream.feed(raw[cut:]):
            raise FormatError(Damage.TRUNCATED, "", 0)
        return stream.value

    expected = outcome(made.interpret, raw)
    if expected[:2] == (
        "damage",
        Damage.TRUNCATED,
    ):  # a stream waits for the rest, and need not know for which field
        expected = ("damage", Damage.TRUNCATED, "")
    assert outcome(read, raw) == expected


def test_a_stream_counts_from_the_beginning_of_the_message() -> None:
    entries = tuple(sup.ListEntry(b"name%03d" % number, 0o100644, 1, 5) for number in range(100))
    raw = bytearray(codec(sup.List, SupParams()).build(sup.List(entries, 9)))
    place = raw.index(b"name060") + 7
    raw[place] = 9  # the count of its mode

    def read(*pieces: bytearray) -> None:
        stream = codec(sup.List, SupParams()).stream()
        for piece in pieces:
            stream.feed(bytes(piece))

    for cut in (0, 100, 1000, 2000):
        with pytest.raises(FormatError) as caught:
            read(raw[:cut], raw[cut : cut + 50], raw[cut + 50 :])
        error = caught.value
        assert (error.kind, error.path, error.offset) == (Damage.COUNT, "entries[60].mode", place)


DIRECTORIES = tuple(netinfo.Object(netinfo.NiId(number, 1), (), 0, (number,)) for number in range(20_000))


@pytest.mark.parametrize(
    ("made", "value", "element"),
    [
        (codec(sup.Refuse, SupParams()), sup.Refuse((b"name",) * 20_000), 8),
        (
            codec(netinfo.NETINFO.by_name["READALL"].result),
            netinfo.Result(netinfo.NiStatus.NI_OK, netinfo.ReadallBody(1, 2, DIRECTORIES)),
            28,
        ),
    ],
    ids=["REFUSE", "READALL"],
)
def test_a_long_list_is_not_kept_as_bytes(made: Codec[Any], value: Any, element: int) -> None:
    raw, stream = made.build(value), made.stream()
    longest = 0
    for at in range(0, len(raw), 1000):
        stream.feed(raw[at : at + 1000])
        longest = max(longest, len(stream.rest))
    assert longest < element
    assert stream.value == value


@pytest.mark.parametrize(
    ("kind", "raw", "damage", "path"),
    [
        (xdr.Array(xdr.U32, 1000), "000003e9", Damage.LIMIT, ""),
        (xdr.Array(xdr.U32, 2**31), "7fffffff 00000001", Damage.TRUNCATED, ""),
        (xdr.Opaque(4), "00000005 0000000000000000", Damage.LIMIT, ""),
        (xdr.Opaque(8), "00000005 0000000000", Damage.TRUNCATED, ""),
        (xdr.BOOL, "00000002", Damage.BOOL, ""),
        (xdr.OptionalOf(xdr.U32), "00000007 00000000", Damage.BOOL, ""),
        (xdr.LinkedList(xdr.U32, 1), "00000001 00000005 00000001 00000006 00000000", Damage.LIMIT, ""),
        (xdr.of(rpc.Message), "00000001 00000002", Damage.UNION, "body"),
        (xdr.of(rpc.Auth), "00000001 00000018 00000000 00000000 00000000 00000000 00000000 00000000",
         Damage.TRAILING, "body"),
        (xdr.of(netinfo.WriteArgs), "00000000 00000001 00000001 00000001 61000000 00000001 ffffffff",
         Damage.LIMIT, "properties[0].values[0]"),
    ],
)  # fmt: skip
def test_xdr_damage(kind: WireType, raw: str, damage: Damage, path: str) -> None:
    data = bytes.fromhex(raw.replace(" ", ""))
    expected = ("damage", damage, path)
    assert outcome(codec(kind).parse, data) == expected
    assert outcome(codec(kind).interpret, data) == expected


@pytest.mark.parametrize(
    ("cls", "raw", "damage", "path"),
    [
        (sup.Send, "70000000 ffffffff", Damage.CONST, "type"),
        (sup.Send, "71000000 fffffffe", Damage.CONST, "end"),
        (sup.SetupAck, "68000000 05000000 e7030000 ffffffff", Damage.COUNT, "code"),
        (sup.Ncoll, "03000000 feffffff ffffffff", Damage.COUNT, "collection"),
        (sup.Refuse, "6d000000 fdffffff ffffffff", Damage.COUNT, "names[0]"),
        (sup.Refuse, "6d000000 01400000 ffffffff", Damage.LIMIT, "names[0]"),
        (sup.Xpatch, "75000000 04000000 ffffffff ffffffff", Damage.COUNT, "arguments"),
        (sup.Recv, "72000000 01000000 61 04000000 a4810000 04000000 00000000 feffffff feffffff"
                   "04000000 00000000 feffffff feffffff 00000080", Damage.COUNT, "size"),
    ],
)  # fmt: skip
def test_sup_damage(cls: type[Any], raw: str, damage: Damage, path: str) -> None:
    data = bytes.fromhex(raw.replace(" ", ""))
    expected = ("damage", damage, path)
    made = codec(cls, SupParams())
    assert outcome(made.parse, data) == expected
    assert outcome(made.interpret, data) == expected


@pytest.mark.parametrize(
    ("kind", "value", "damage", "path"),
    [
        (xdr.of(netinfo.LookupArgs), netinfo.LookupArgs(netinfo.NiId(0, -1), b"", b""), Damage.VALUE, "id.instance"),
        (xdr.of(netinfo.LookupArgs), netinfo.LookupArgs(netinfo.NiId(0, 0), None, b""), Damage.VALUE, "key"),  # type: ignore[arg-type]
        (xdr.of(netinfo.Binding), netinfo.Binding(b"x" * 65536, 0), Damage.LIMIT, "tag"),
        (xdr.of(netinfo.Binding), netinfo.NiId(0, 0), Damage.VALUE, ""),
        (xdr.of(rpc.Auth), rpc.Auth(rpc.AuthFlavor.AUTH_NONE, None), Damage.VALUE, "body"),  # type: ignore[arg-type]
        (netinfo.NETINFO.by_name["ROOT"].result, netinfo.Result(netinfo.NiStatus.NI_OK, None), Damage.VALUE, "body"),
        (netinfo.NETINFO.by_name["ROOT"].result, netinfo.Result(netinfo.NiStatus.NI_PERM, 1), Damage.VALUE, "body"),
        (xdr.BOOL, 1, Damage.VALUE, ""),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(kind: WireType, value: Any, damage: Damage, path: str) -> None:
    with pytest.raises(FormatError) as caught:
        codec(kind).build(value)
    assert (caught.value.kind, caught.value.path) == (damage, path)


def test_bytes_left_over() -> None:
    with pytest.raises(FormatError) as caught:
        codec(xdr.U32).parse_exact(bytes(5))
    assert (caught.value.kind, caught.value.offset) == (Damage.TRAILING, 4)


def test_an_announced_version_makes_no_new_functions() -> None:
    assert codec(sup.Setup, SupParams(version=12_345)) is codec(sup.Setup, SupParams(version=8))


def test_links_of_a_file_are_bounded() -> None:
    assert blocks.LINK_LIMIT < 2**16
