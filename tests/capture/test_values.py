"""wire.capture.values and filters: JSON without loss, and expressions over the same names."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import call, datagrams, messages, record, reply, talk
from tests.capture.test_sup import built, session
from wire.capture.conversations import dissect
from wire.capture.filters import FilterError, message_filter
from wire.capture.messages import Message
from wire.capture.values import NAMES, as_dict, fields, text_of
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Result
from wire.formats.sup import Goaway

CAPTURES = Path(__file__).parent.parent / "captures"
TALK = talk(
    ("client", record(call("LOOKUP", LookupArgs(NiId(0, 5), b"name", b"caf\xc3\xa9 \\ \xff"), 1))),
    ("server", record(reply("LOOKUP", Result(NiStatus.NI_OK, LookupBody((7, 8), NiId(0, 5))), 1))),
    ("client", record(call("ROOT", None, 2))),
    ("server", record(reply("ROOT", Result(NiStatus.NI_STALE, None), 2))),
)


@given(st.binary())
def test_text_loses_nothing(data: bytes) -> None:
    text = text_of(data)
    back = codecs.escape_decode(text.encode())[0]
    assert back == data


def test_a_message_as_json() -> None:
    ask, answer = (as_dict(message) for message in messages(TALK)[:2])
    assert json.loads(json.dumps(ask)) == {
        "number": 1,
        "conversation": 1,
        "time": 0.4,
        "frame": 4,
        "transport": "tcp",
        "source": "10.0.0.1:700",
        "destination": "10.0.0.2:877",
        "service": None,
        "protocol": "netinfo",
        "kind": "call",
        "name": "LOOKUP",
        "status": None,
        "latency": None,
        "size": 76,
        "xid": 1,
        "credential": {"flavor": "AUTH_NONE", "body": ""},
        "value": {"id": {"object": 0, "instance": 5}, "key": "name", "value": "café \\\\ \\xff"},
        "notes": [],
        "damage": None,
    }
    assert answer["value"] == {
        "status": "NI_OK",
        "body": {"ids": [7, 8], "self_id": {"object": 0, "instance": 5}},
    }
    assert (answer["status"], answer["latency"], answer["call"]) == ("NI_OK", 0.1, 1)


def test_sup_and_notices_as_json() -> None:
    found = [as_dict(message) for message in messages(talk(*session(packed=True)))]
    (recv,) = (one for one in found if one["data_size"] is not None)
    assert recv["value"]["name"] == "d/f"
    assert recv["unpacked"] == 60
    lost = [*session()[:5], ("client", b"\x99" * 8)]
    assert as_dict(messages(talk(*lost))[-1])["text"].endswith("is not the type of a message")


def test_the_field_tree_as_json() -> None:
    made = as_dict(messages(TALK)[0], explain=True)
    assert bytes.fromhex(made["hex"])[:4] == b"\x80\0\0\x48"
    names = [field["name"] for field in made["fields"]["fields"]]
    assert names == ["record mark", "xid", "type", "body", "arguments"]
    xid = made["fields"]["fields"][1]
    assert (xid["start"], xid["end"], xid["meaning"]) == (4, 8, "0x00000001")
    assert xid["doc"].startswith("transaction number")


def test_damage_in_the_field_tree() -> None:
    (message,) = messages(datagrams(("client", call("LOOKUP", LookupArgs(NiId(0, 5), b"k", b"v"))[:-3])))
    from wire.capture.explanation import explanation

    tree = explanation(message)
    assert tree is not None
    assert "the bytes end inside this field" in json.dumps(fields(tree))


def test_every_recording_as_json() -> None:
    for path in sorted(CAPTURES.glob("*/*.pcap")):
        with path.open("rb") as recording:
            for message in dissect(recording):
                assert json.loads(json.dumps(as_dict(message, explain=True)))["number"] == message.number


# ---------------------------------------------------------------------------------------------------------- filters


def chosen(expression: str, found: list[Message] | None = None) -> list[int]:
    matches = message_filter(expression)
    return [message.number for message in (messages(TALK) if found is None else found) if matches(message)]


@pytest.mark.parametrize(
    ("expression", "numbers"),
    [
        ('procedure == "LOOKUP"', [1, 2]),
        ('procedure == "ROOT" and status != "NI_OK"', [4]),
        ('status != "NI_OK"', [4]),
        ("status == null", [1, 3]),
        ("status != null", [2, 4]),
        ('not (status == "NI_OK")', [4]),
        ('procedure == "LOOKUP" or type == "RECV"', [1, 2]),
        ('type == "RECV" or procedure == "LOOKUP"', [1, 2]),
        ('type == "RECV" and procedure == "LOOKUP"', []),
        ("latency > 0.01 and latency < 1", [2, 4]),
        ("xid == 2", [3, 4]),
        ("directory == 0", [1, 2]),
        ('key == "name" and value =~ "caf"', [1]),
        ('"OOK" in procedure', [1, 2]),
        ('source == "10.0.0.1:700"', [1, 3]),
        ("failed", [4]),
        ("damaged", []),
        ("not damaged and number <= 2", [1, 2]),
        ('text =~~ "NI_STALE"', [4]),
        ('uid == 0 or kind == "call"', [1, 3]),
        ("true", [1, 2, 3, 4]),
    ],
)
def test_filters(expression: str, numbers: list[int]) -> None:
    assert chosen(expression) == numbers


def test_filters_over_sup() -> None:
    found = messages(talk(*session()[:4], ("server", built(Goaway(b"Can't chdir to /x")))))
    assert chosen('collection == "demo"', found) == [4]
    assert chosen('reason =~~ "chdir"', found) == [5]
    assert chosen('type == "SIGNON"', found) == [2]


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("proc == 1", "there is no 'proc' to ask about; there are: number,"),
        ("procedure ==", "is not a filter: syntax error"),
        ("status > 1", "is not a filter: data type mismatch"),
        ('procedure =~ "["', "is not a filter"),
        ("", "is not a filter"),
        ("__import__('os')", "there is no '__import__'"),
        ("number.__class__", "is not a filter"),
    ],
)
def test_what_is_no_filter(expression: str, sentence: str) -> None:
    with pytest.raises(FilterError) as told:
        message_filter(expression)
    assert sentence in str(told.value)


def test_every_name_has_a_value_of_its_type_or_none() -> None:
    kinds: dict[type, tuple[type, ...]] = {float: (float, int), str: (str,), bool: (bool,)}
    seen = set()
    with (CAPTURES / "netinfo" / "next-binding.pcap").open("rb") as recording:
        found = [*dissect(recording), *messages(talk(*session()))]
    for message in found:
        for name, known in NAMES.items():
            value = known.get(message)
            assert value is None or isinstance(value, kinds[known.type])
            if value is not None:
                seen.add(name)
    assert set(NAMES) - seen == {"service"}


@given(st.text(max_size=30))
def test_hostile_filters_end_in_words(expression: str) -> None:
    try:
        chosen(expression)
    except FilterError as error:
        assert str(error)  # noqa: PT017
