"""Every message of every recording between the real programs: bytes, value, the same bytes; and no byte unexplained."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire.capture.conversations import dissect
from wire.capture.explanation import explanation
from wire.capture.messages import Message, Notice, RpcMessage, SupMessage
from wire.codec import codec
from wire.formats import rpc, sup

CAPTURES = Path(__file__).parent.parent / "captures"
EXPECTED = {  # messages in each recording; notices are where its recorder cut packets off (snap length 3000)
    "apple-calls": (266, 0),
    "next-binding": (113, 0),
    "next-calls": (266, 0),
    "next-clone": (58, 0),
    "next-tools": (182, 0),
    "s01-fresh": (51, 2),
    "s02-incremental": (40, 0),
    "s03-old-all-keep": (84, 0),
    "s04-delete": (87, 0),
    "s06-listcmds": (91, 0),
    "s07-sup-dir-included": (56, 0),
    "s08-backup-noaccount": (86, 0),
    "s13-compress": (98, 0),
    "s14-listonly": (75, 0),
    "s15-refuse": (25, 0),
    "s18-refusals": (121, 0),
    "s20-scan": (125, 0),
    "s23-multi": (186, 0),
}


def test_every_recording_is_expected() -> None:
    assert {path.stem for path in CAPTURES.glob("*/*.pcap")} == set(EXPECTED)


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*/*.pcap")), ids=lambda path: path.stem)
def test_every_message(path: Path) -> None:
    with path.open("rb") as file:
        messages = list(dissect(file))
    notices = [message for message in messages if isinstance(message, Notice)]
    assert (len(messages), len(notices)) == EXPECTED[path.stem]
    assert [message.number for message in messages] == list(range(1, len(messages) + 1))
    for message in messages:
        if message not in notices:
            assert message.damage is None
            assert rebuilt(message) == message.raw
            unexplained(message)


def rebuilt(message: Message) -> bytes:
    """The message's bytes, built from its values alone."""
    if isinstance(message, RpcMessage):
        assert message.header is not None
        record = codec(rpc.Message).build(message.header)
        if message.format is None or (
            message.status not in ("", "SUCCESS", "NI_OK") and message.body is None
        ):
            record += message.record[message.start :]
        else:
            record += codec(message.format).build(message.body)
        if not message.marks:
            return record
        made, taken = b"", 0
        for number, (_, size) in enumerate(message.marks, 1):
            last = rpc.LAST_FRAGMENT if number == len(message.marks) else 0
            made += (
                codec(rpc.FragmentHeader).build(rpc.FragmentHeader(last | size))
                + record[taken : taken + size]
            )
            taken += size
        return made
    assert isinstance(message, SupMessage)
    assert message.format is not None
    made = codec(message.format, message.params).build(message.value)
    if message.data_size is not None:
        made += message.raw[message.data_start :][: message.data_kept]
        if not message.notes:  # else the recorder cut the end mark off
            made += codec(sup.ENDING, message.params).build(None)
    return made


def unexplained(message: Message) -> None:
    """Each byte belongs to a field, each field says what it means, nothing is damaged."""
    tree = explanation(message)
    assert tree is not None
    assert (tree.start, tree.end) == (0, len(message.raw))
    covered = [0] * len(message.raw)
    for node in tree.leaves():
        assert node.name
        assert node.damage is None
        assert node.meaning != ""
        for place in range(node.start, node.end):
            covered[place] += 1
    assert all(count == 1 for count in covered) or len(getattr(message, "marks", ())) > 1
    assert all(covered)
    for node in tree.walk():
        for child in node.children:
            assert node.start <= child.start <= child.end <= node.end
