"""wire.capture.wireshark: the real tshark with our plugin sees what we see, field for field."""

from __future__ import annotations

import os
import random
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import attrs
import pytest
from click.testing import CliRunner

from emulators.lessons.catalogue import LESSONS
from tests.capture.frames import call, ether, ip4, pcap_file, record, reply, segment, talk, udp_packet
from tests.capture.test_sup import built, session
from wire.capture.commands import wireshark as command
from wire.capture.conversations import dissect
from wire.capture.explanation import explanation
from wire.capture.messages import Message, RpcMessage, SupMessage
from wire.capture.packets import Segment
from wire.capture.values import NAMES
from wire.capture.wireshark import RESERVED, Names, bare_name, leaf_of, plugin, rpc_names, sup_names
from wire.explain import Node
from wire.formats import record as formats
from wire.formats import xdr
from wire.formats.netinfo import NETINFO, NiId, NiStatus, Result
from wire.formats.nibind import NIBIND
from wire.formats.record import View
from wire.formats.sup import List, ListEntry

CAPTURES = Path(__file__).parent.parent / "captures"
ALL = [*sorted(CAPTURES.glob("*/*.pcap")), *(lesson.capture for lesson in LESSONS)]
PROTOCOLS = ("netinfo", "nibind", "sup")
GENERATED = ("mark", "call", "latency", "directory", "data", "probe")
"""Fields of Wireshark's that are no fields of messages."""
Way = tuple[str, str]
Shark = Callable[..., str]


@pytest.fixture
def shark(tmp_path: Path, tshark: Shark) -> Shark:
    """tshark with the plugin."""
    plugins = tmp_path / "wireshark" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "ghostports.lua").write_text(plugin(), encoding="utf-8")
    return tshark


# --------------------------------------------------------------------------------------------- what tshark sees


def seen(
    shark: Shark, path: Path
) -> tuple[dict[Way, list[tuple[str, str]]], dict[Way, dict[str, list[str]]]]:
    """From tshark's XML, for each direction of each conversation: the fields with their bytes, in order; and what it
    worked out (`generated`), by field.
    """
    fields: dict[Way, list[tuple[str, str]]] = defaultdict(list)
    generated: dict[Way, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    told = shark("-r", path, "-T", "pdml")
    assert complaints(told) == []
    for packet in Tree.fromstring(told).iter("packet"):
        flat = {one.get("name"): one.get("show", "") for one in packet.iter("field")}
        if "ip.src" not in flat:
            continue
        port = "tcp" if "tcp.srcport" in flat else "udp"
        ends = [f"{flat[f'ip.{end}']}:{flat.get(f'{port}.{end}port')}" for end in ("src", "dst")]
        way = (ends[0], ends[1])
        for proto in packet.iter("proto"):
            if proto.get("name") not in PROTOCOLS:
                continue
            for one in proto.iter("field"):
                name, value = one.get("name", ""), one.get("value")
                if name.partition(".")[0] not in PROTOCOLS:
                    continue
                if name.split(".")[-1] in GENERATED or name == "sup.type":
                    generated[way][name].append(one.get("show", ""))
                elif value is not None or one.get("show") == "":
                    fields[way].append((name, value or ""))
    return fields, generated


# ------------------------------------------------------------------------------------------------- what we see


def leaves(node: Node, names: Names, raw: bytes, owner: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a tree with their bytes, by the names that Wireshark has for them."""
    inside = type(node.value).__name__
    for child in node.children:
        if child.field is None or child.field.anonymous:
            yield from leaves(child, names, raw, owner)
            continue
        name = names.get(inside, child.field.name or "")
        if name is None:
            yield from leaves(child, names, raw, inside)
        else:
            yield from bytes_of(child, name, names, raw)


def bytes_of(node: Node, name: str, names: Names, raw: bytes) -> Iterator[tuple[str, str]]:
    if node.value is None or (isinstance(node.kind, xdr.OptionalOf) and node.value is None):
        return
    if type(node.value).__name__ in ("AuthUnix", "Accepted", "Rejected", "Mismatch"):
        yield from leaves(node, names, raw)
        return
    items = [child for child in node.children if child.name.startswith("[")]
    for item in items:
        yield from bytes_of(item, name, names, raw)
    if items or isinstance(node.value, tuple):
        return
    place = next((child for child in node.children if child.name in ("bytes", "number")), None)
    if place is None and node.value == b"":
        yield name, ""
        return
    place = place or node
    yield name, raw[place.start : place.end].hex()


def expected(message: Message) -> Iterator[tuple[str, str]]:
    """What tshark has to show of a message."""
    if isinstance(message, RpcMessage):  # as one record, whatever fragments it came in
        message = attrs.evolve(message, raw=message.record, marks=())
    tree = explanation(message)
    assert tree is not None
    if isinstance(message, SupMessage):
        if message.type != "PROBE":
            yield from leaves(tree, sup_names(), message.raw)
        return
    assert isinstance(message, RpcMessage)
    assert message.program is not None
    own, header = rpc_names(message.program)
    for child in tree.children:
        if child.name not in ("arguments", "results") and not child.name.startswith("record mark"):
            single = Node("", tree.kind, None, child.start, child.end, message.header, [child])
            yield from leaves(single, header, message.raw)
    for child in tree.children:
        if child.name in ("arguments", "results"):
            fmt = message.format
            assert fmt is not None
            leaf = None if isinstance(fmt, formats.Record) else leaf_of(fmt, View.PLAIN)
            if leaf is not None:
                bare = f"{message.protocol}.{bare_name(fmt, message.kind == 'call')}"
                yield from bytes_of(child, bare, own, message.raw)
            else:
                yield from leaves(child, own, message.raw)


def ours(path: Path) -> tuple[dict[Way, list[tuple[str, str]]], dict[Way, dict[str, list[str]]]]:
    fields: dict[Way, list[tuple[str, str]]] = defaultdict(list)
    generated: dict[Way, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    with path.open("rb") as file:
        for message in dissect(file):
            if message.protocol not in PROTOCOLS or message.kind == "notice":
                continue
            way = (message.source, message.destination)
            fields[way] += expected(message)
            directory = NAMES["directory"].get(message)
            if directory is not None:
                generated[way]["netinfo.directory"].append(str(directory))
            if isinstance(message, SupMessage) and message.type != "PROBE":
                generated[way]["sup.type"].append(str(int(type(message.content).TYPE)))
            if isinstance(message, RpcMessage) and message.call is not None:
                generated[way][f"{message.protocol}.call"].append(str(message.call.frame))
    return fields, generated


@pytest.mark.interop
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_field_for_field(shark: Shark, path: Path) -> None:
    theirs, theirs_generated = seen(shark, path)
    mine, mine_generated = ours(path)
    assert set(theirs) == set(mine)
    for way in mine:
        assert theirs[way] == mine[way]
        for name in ("netinfo.directory", "netinfo.call", "nibind.call", "sup.type"):
            assert theirs_generated[way].get(name, []) == mine_generated[way].get(name, []), name


def complaints(told: str) -> list[str]:
    """What tshark could say against the plugin: an error in it, or a packet that it calls malformed."""
    found = [line.strip() for line in told.splitlines() if "Lua" in line or "alformed" in line]
    return [
        line for line in found if "Wireshark Lua fake item" not in line
    ]  # how its XML marks what Lua made


VARIED = ["netinfo/next-binding", "netinfo/apple-calls", "sup/s13-compress", "sup/s18-refusals"]


@pytest.mark.interop
@pytest.mark.parametrize("name", VARIED)
def test_nothing_is_malformed_when_packets_are_seen_a_second_time(shark: Shark, name: str) -> None:
    assert complaints(shark("-r", CAPTURES / f"{name}.pcap", "-V", "-2")) == []


@pytest.mark.interop
@pytest.mark.parametrize("name", VARIED)
def test_truncated_captures(shark: Shark, tmp_path: Path, name: str) -> None:
    whole = (CAPTURES / f"{name}.pcap").read_bytes()
    path = tmp_path / "some.pcap"
    for snap in (70, 90, 110):
        path.write_bytes(snapped(whole, snap))
        assert complaints(shark("-r", path, "-V", "-2")) == []
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        subprocess.CalledProcessError
    ) as cut:  # it ends with 2 at the cut, after the packets before
        shark("-r", path, "-V", "-2")
    assert "NetInfo" in cut.value.stdout or "Software Upgrade Protocol" in cut.value.stdout
    assert not [line for line in complaints(cut.value.stdout) if "Lua" in line]


def snapped(pcap: bytes, size: int) -> bytes:
    """A pcap file with its packets cut to *size* bytes, as a recorder with that snap length would have stored it."""
    made, position = pcap[:24], 24
    while position < len(pcap):
        head, length = (
            pcap[position : position + 16],
            int.from_bytes(pcap[position + 8 : position + 12], "little"),
        )
        kept = min(length, size)
        made += (
            head[:8] + kept.to_bytes(4, "little") + head[12:16] + pcap[position + 16 : position + 16 + kept]
        )
        position += 16 + length
    return made


@pytest.mark.interop
@pytest.mark.parametrize("seed", range(6))
def test_fuzzed_captures(shark: Shark, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    packets = []
    calls = record(call("ROOT", None, 1)) + record(call("SELF", NiId(1, 2), 2), 7)
    answers = record(reply("ROOT", Result(NiStatus.NI_OK, NiId(0, 1)), 1))
    streams = [
        [("client", calls), ("server", answers), ("client", calls)],
        session(packed=bool(seed % 2)),
        session(),
    ]
    for port, pieces in enumerate(streams, 700):
        damaged = [(who, fuzzed(data, chance)) for who, data in pieces]
        packets += [as_frame(one) for one in talk(*(piece for piece in damaged if piece[1]), port=port)]
    packets += [
        ether(ip4(udp_packet(fuzzed(call("SELF", NiId(1, 2), number), chance)))) for number in range(20)
    ]
    packets += [
        ether(ip4(udp_packet(fuzzed(reply("ROOT", Result(NiStatus.NI_OK, NiId(0, 1))), chance), 877, 700)))
    ]
    path = tmp_path / "fuzzed.pcap"
    path.write_bytes(pcap_file(*packets).getvalue())
    assert complaints(shark("-r", path, "-V", "-2")) == []


def fuzzed(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.randint(0, 3)):
        if made:
            made[chance.randrange(len(made))] = chance.choice(
                (0, 1, 4, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
    if chance.random() < 0.2:
        del made[chance.randint(0, len(made)) :]
    return bytes(made)


def as_frame(one: Segment) -> bytes:
    from dpkt import tcp

    inner = tcp.TCP(
        sport=one.source_port,
        dport=one.destination_port,
        seq=one.sequence,
        ack=one.acknowledged,
        flags=one.flags,
        data=one.payload,
    )
    return ether(ip4(inner, one.source, one.destination))


# ------------------------------------------------------------------------------------------- filters, Info column


def counted(shark: Shark, path: Path, *filters: str) -> list[int]:
    """How many packets each display filter lets through."""
    told = shark("-r", path, "-q", "-z", ",".join(["io,stat,0", *filters]))
    (row,) = (line for line in told.splitlines() if "<>" in line)
    frames_and_bytes = [int(number) for number in row.split("|")[2:] if number.strip()]
    return frames_and_bytes[::2]


@pytest.mark.interop
def test_filters(shark: Shark) -> None:
    wanted = {
        'netinfo.procedure == "LOOKUP"': 42,
        "netinfo.status == 1": 16,
        'netinfo.status == "NI_BADID"': 16,
        "netinfo.directory == 99999": 16,
        'netinfo.key == "name" && netinfo.rpc.type == 0': 16,
    }
    assert counted(shark, CAPTURES / "netinfo" / "next-calls.pcap", *wanted) == list(wanted.values())
    wanted = {
        'sup.type == "SEND"': 17,
        'sup.collection == "demo"': 1,
        'sup.name == "data/fifo"': 2,
        "sup.mode & 04000": 2,
    }
    assert counted(shark, CAPTURES / "sup" / "s01-fresh.pcap", *wanted) == list(wanted.values())


@pytest.mark.interop
def test_the_info_column(shark: Shark) -> None:
    told = shark("-r", CAPTURES / "netinfo" / "next-binding.pcap", "-Y", "netinfo || nibind", "-T", "fields", "-e",
                 "_ws.col.Protocol", "-e", "_ws.col.Info")  # fmt: skip
    assert 'NetInfo\tLOOKUP call id=0.4 key="name" value="machines"' in told
    assert "nibind\tGETREGISTER reply status=NI_OK udp_port=726 tcp_port=726" in told
    told = shark("-r", CAPTURES / "sup" / "s01-fresh.pcap", "-Y", "sup", "-T", "fields", "-e", "_ws.col.Info")
    assert 'SETUP xpatch=0 collection="demo" lasttime=0' in told


@pytest.mark.interop
def test_records_in_fragments_and_segments_of_any_size(shark: Shark, tmp_path: Path) -> None:
    stream = (
        record(call("ROOT", None, 1), 1)
        + record(call("SELF", NiId(1, 2), 2), 7)
        + record(call("PING", None, 3))
    )
    # a first packet long enough to be known by, the others as short as they like
    pieces = [
        ("client", stream[:100]),
        *(("client", stream[at : at + 11]) for at in range(100, len(stream), 11)),
    ]
    path = tmp_path / "fragments.pcap"
    path.write_bytes(pcap_file(*(as_frame(one) for one in talk(*pieces))).getvalue())
    assert counted(shark, path, "netinfo.procedure") == [3]
    theirs, _ = seen(shark, path)
    mine, _ = ours(path)
    assert theirs == mine


@pytest.mark.interop
def test_a_list_of_many_names_is_read_in_time(shark: Shark, tmp_path: Path) -> None:
    """A list is not read anew at each of its segments: four times the names take about four times as long."""

    def spent(names: int) -> float:
        entries = tuple(ListEntry(b"name/%d" % number, 0o100644, 1, 5) for number in range(names))
        whole, said = built(List(entries, 9)), session()
        pieces = [("server", whole[at : at + 1400]) for at in range(0, len(whole), 1400)]
        frames = [as_frame(one) for one in talk(*said[:10], *pieces, *said[11:])]
        path.write_bytes(pcap_file(*frames).getvalue())
        before = os.times().children_user
        assert counted(shark, path, 'sup.type == "LIST"', f'sup.name == "name/{names - 1}"') == [1, 1]
        return os.times().children_user - before

    path = tmp_path / "list.pcap"
    assert spent(2000) < 4 * spent(500) + 0.5
    assert seen(shark, path)[0] == ours(path)[0]


@pytest.mark.interop
def test_ports_that_belong_to_others(shark: Shark, tmp_path: Path) -> None:
    """639 is MSDP's in Wireshark: NetInfo's calls there are NetInfo's, and MSDP's messages stay MSDP's."""
    assert 639 in RESERVED
    keepalive = b"\4\0\3"
    packets = [as_frame(one._replace(destination_port=639)) for one in (segment(record(call("PING")), 1),)]
    packets += [as_frame(segment(keepalive, 1, port=701)._replace(destination_port=639))]
    path = tmp_path / "ports.pcap"
    path.write_bytes(pcap_file(*packets).getvalue())
    assert counted(shark, path, "netinfo", "msdp") == [1, 1]


# ------------------------------------------------------------------------------------------------- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command.wireshark, list(arguments))


def test_printing() -> None:
    ran = run("--print")
    assert ran.exit_code == 0
    assert 'Proto("netinfo", "NetInfo")' in ran.output


def test_installing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("WIRESHARK_PLUGIN_DIR", raising=False)
    ran = run("--install")
    assert ran.exit_code == 0
    installed = list(tmp_path.rglob("ghostports.lua"))
    assert len(installed) == 1
    assert str(installed[0]) in ran.output
    assert installed[0].read_text() == plugin()


def test_installing_without_tshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("--install").exit_code == 0
    assert (tmp_path / ".local/lib/wireshark/plugins/ghostports.lua").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    ran = run("--install")
    assert (ran.exit_code, "cannot be written" in ran.output) == (1, True)


def test_wrong_usage() -> None:
    assert run().exit_code == 2
    assert run("--install", "--print").exit_code == 2


def test_every_field_of_every_message_has_a_name() -> None:
    for names in (*rpc_names(NETINFO), *rpc_names(NIBIND), sup_names()):
        assert names.leaves
        for abbreviation in names.leaves:
            assert abbreviation == abbreviation.lower()
    assert rpc_names(NETINFO)[0].get("LookupArgs", "key") == "netinfo.key"
    assert rpc_names(NETINFO)[1].get("Call", "procedure") == "netinfo.procedure"
    assert sup_names().get("Setup", "collection") == "sup.collection"
