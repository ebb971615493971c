"""wire.capture.text: one line a message, and the explanation; neither passes on what could steer a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import call, datagrams, messages, record, reply, talk
from tests.capture.test_sup import built, file, session
from wire.capture.brief import quoted
from wire.capture.conversations import dissect
from wire.capture.explanation import explanation
from wire.capture.text import detail, duration, explained, moment, summary
from wire.formats.netinfo import (
    NI_INDEX_NULL,
    CreateArgs,
    Entry,
    ListBody,
    LookupArgs,
    NiId,
    NiStatus,
    Property,
    Result,
)
from wire.formats.portmap import PORTMAP, Mapping
from wire.formats.sup import Goaway, Recv

CAPTURES = Path(__file__).parent.parent / "captures"


def lines(*pieces: tuple[str, bytes]) -> list[str]:
    return [summary(message, 0.0) for message in messages(talk(*pieces))]


def test_a_lookup() -> None:
    ask, answer = lines(
        ("client", record(call("LOOKUP", LookupArgs(NiId(0, 5), b"name", b"machines")))),
        ("server", record(reply("LOOKUP", Result(NiStatus.NI_NODIR, None)))),
    )
    way = f"{'10.0.0.1:700 → 10.0.0.2:877':41}"
    assert ask == f"    1   0.400000    1 {way} netinfo LOOKUP call        id=0.5 key=name value=machines"
    assert answer.endswith(" netinfo LOOKUP reply       NI_NODIR (100.0 ms)".replace("100.0 ms", "0.10 s"))


def test_arguments_and_results_in_short() -> None:
    made = CreateArgs(NiId(1, 2), (Property(b"name", (b"a b", b"")),), NI_INDEX_NULL, None)
    assert lines(("client", record(call("CREATE", made))))[0].endswith(
        "parent=1.2 properties=[name=['a b', '']] where=4294967295 target=none"
    )
    many = tuple(Entry(number, None) for number in range(9))
    answer = lines(
        ("client", record(call("LIST", _list_args()))),
        ("server", record(reply("LIST", Result(NiStatus.NI_OK, ListBody(many, NiId(1, 1)))))),
    )[1]
    assert "NI_OK entries=[0, 1, 2, 3, 4, 5, … 9 in all] self_id=1.1" in answer


def _list_args() -> object:
    from wire.formats.netinfo import ListArgs

    return ListArgs(NiId(0, 0), b"name")


def test_names_and_addresses_instead_of_numbers() -> None:
    (line,) = (
        summary(message, 0.0)
        for message in messages(
            datagrams(("client", call("GETPORT", Mapping(200100001, 1, 17, 0), 1, PORTMAP)))
        )
    )
    assert "program=200100001 (nibind) version=1 protocol=17 (UDP) port=0" in line


def test_a_sup_file() -> None:
    found = messages(talk(*session(packed=True)))
    line = next(summary(message, 0.0) for message in found if summary(message, 0.0).endswith("unpacked]"))
    assert "RECV" in line
    assert "mode=0o100644 flags=NEW user=root" in line


def test_file_data_and_the_end_mark_behind_it_are_one_field_each() -> None:
    message = next(found for found in messages(talk(*session())) if getattr(found, "data_size", None))
    tree = explanation(message)
    assert tree is not None
    assert [(node.name, len(node.children)) for node in tree.children[-2:]] == [("data", 0), ("end", 0)]
    assert list(explained(message))[-1].endswith(
        "ff ff ff ff                end  -1  — end mark of the message"
    )


def test_absent_fields_are_left_out() -> None:
    said = [*session()[:15], ("server", built(Recv(None, None, None, None, None, None, None, None, None)))]
    assert detail(messages(talk(*said))[-1]) == "name=NULL"


@given(st.binary(max_size=80))
def test_nothing_a_peer_sent_steers_the_terminal(data: bytes) -> None:
    name = data.replace(b"\0", b"") or b"x"
    said = [*session()[:15], ("server", built(file(name, None, 0o40755))), ("client", built(Goaway(name)))]
    for message in messages(talk(*said)):
        assert summary(message, 0.0).isprintable()
        assert all(line.isprintable() for line in explained(message))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"name", "name"),
        (b"10.0.0.1", "10.0.0.1"),
        (b"", "''"),
        (b"a b", "'a b'"),
        (b"\xff\x1b[31m", "'\\xff\\x1b[31m'"),
        (b"x" * 61, "x" * 60 + "… (61 bytes)"),
        (b"NULL", "NULL"),
    ],
)
def test_strings(data: bytes, text: str) -> None:
    assert quoted(data) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00001, "0.010 ms"), (0.0412, "41.2 ms"), (0.0999, "0.10 s"), (3.5, "3.50 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_moments() -> None:
    assert moment(1_000_000_000.25) == "2001-09-09 01:46:40.250000 UTC"


def test_an_explanation_beside_its_bytes() -> None:
    (message,) = messages(
        talk(("client", record(call("LOOKUP", LookupArgs(NiId(0, 5), b"name", b"machines!")))))
    )
    told = list(explained(message))
    assert any(line.startswith("    0  80 00 00 48") and "0x80000048" in line for line in told)
    assert any("key" in line and "property name" in line for line in told)
    assert any(line.split("  ", 2)[-1].strip().startswith("6d 61 63 68 69 6e 65 73") for line in told)
    assert "   72  21" in told
    assert any('bytes  "machines!"' in line for line in told)


def test_an_explanation_of_damage_names_it() -> None:
    ask = call("LOOKUP", LookupArgs(NiId(0, 5), b"name", b"machines"))
    (message,) = messages(datagrams(("client", ask[:-6])))
    told = "\n".join(explained(message))
    assert "damaged: the bytes end inside this field" in told
    assert 'key  "name"' in told
    assert summary(message, 0.0).endswith("[damaged: value, byte 56: the bytes end inside this field]")


def test_file_data_that_is_not_kept_is_told() -> None:
    data = bytes(100_000)
    said = [*session()[:15], ("server", built(file(b"big", data))), ("server", data), ("server", b"\xff" * 4)]
    (message,) = (one for one in messages(talk(*said)) if one.size > 100_000)
    assert list(explained(message))[-1] == "      … 34,464 bytes of file data are not kept"


def test_every_message_of_every_recording_has_its_line() -> None:
    for path in sorted(CAPTURES.glob("*/*.pcap")):
        with path.open("rb") as recording:
            for message in dissect(recording):
                assert summary(message, message.time).isprintable()
