"""wire.capture.sup: sessions in both byte orders and all versions, file data, gzip, and what losses leave of them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import messages, segment, talk
from wire.capture import sup as followed
from wire.capture.messages import Conversation, Message, Notice, SupMessage
from wire.codec import codec
from wire.formats import sup
from wire.formats.sup import (
    Compress,
    Crypt,
    CryptOk,
    Deny,
    Done,
    DoneCode,
    Goaway,
    List,
    ListEntry,
    LogAck,
    Login,
    LoginCode,
    Need,
    NeedEntry,
    Recv,
    Refuse,
    Send,
    Setup,
    SetupAck,
    SetupCode,
    Signon,
    SignonAck,
    SupParams,
    Xpatch,
)  # fmt: skip

LITTLE = SupParams("<", 8)
END = {"<": b"\xff\xff\xff\xff", ">": b"\xff\xff\xff\xff"}
HELLO = b"hello\n" * 10


def setup(listonly: int = 0, xpatch: int | None = 0) -> Setup:
    return Setup(xpatch, None, b"demo", 0, b"/srv", 1, 2, listonly, 1, None)


def built(message: object, params: SupParams = LITTLE) -> bytes:
    return codec(type(message), params).build(message)


def file(name: bytes, data: bytes | None = HELLO, mode: int = 0o100644) -> Recv:
    return Recv(name, mode, 1, b"root", b"root", 5, (), (), None if data is None else len(data))


def session(
    params: SupParams = LITTLE, packed: bool = False, list_only: bool = False
) -> list[tuple[str, bytes]]:
    """An ordinary session with one file and one directory."""
    data = gzip.compress(HELLO) if packed else HELLO
    params = attrs.evolve(params, list_only=list_only)
    said: list[tuple[str, object]] = [
        ("client", Signon(params.version, 26, b"4.3 BSD")),
        ("server", SignonAck(params.version, 13, b"4.3 BSD", 77)),
        ("client", setup(16 if list_only else 0, None if params.version < 7 else 0)),
        ("server", SetupAck(SetupCode.OK)),
        ("client", Crypt(sup.TEST_STRING)),
        ("server", CryptOk()),
        ("client", Login(None, None, None)),
        ("server", LogAck(LoginCode.OK, None)),
        ("client", Refuse(())),
        ("server", List((ListEntry(b"d", 0o40755, 1, 5), ListEntry(b"d/f", 0o100644, 1, 5)), 99)),
        ("client", Need((NeedEntry(b"d", 0), NeedEntry(b"d/f", 0)))),
        ("server", Deny(())),
        ("client", Compress(2048 if packed else 0)),
        ("client", Send()),
    ]
    if params.version < 8:
        said.remove(("client", Compress(0)))
    pieces = [("client", sup.PROBE_LITTLE if params.order == "<" else sup.PROBE_BIG)]
    pieces += [(who, built(message, params)) for who, message in said]
    recv = built(file(b"d/f", None if list_only else data), params)
    pieces.append(("server", recv if list_only else recv + data + END[params.order]))
    pieces += [
        ("client", built(Send(), params)),
        ("server", built(file(b"d", None, 0o40755), params)),
        ("client", built(Send(), params)),
        ("server", built(Recv(None, None, None, None, None, None, None, None, None), params)),
        ("client", built(Done(DoneCode.SUCCESS, b"Success"), params)),
    ]
    return pieces


NAMES = [
    *(
        "PROBE",
        "SIGNON",
        "SIGNONACK",
        "SETUP",
        "SETUPACK",
        "CRYPT",
        "CRYPTOK",
        "LOGIN",
        "LOGACK",
        "REFUSE",
        "LIST",
    ),
    *("NEED", "DENY", "COMPRESS", "SEND", "RECV", "SEND", "RECV", "SEND", "RECV", "DONE"),
]


@attrs.define
class Files:
    """An opener that keeps what it is given."""

    found: dict[bytes, bytes] = attrs.field(factory=dict)
    problems: dict[bytes, str] = attrs.field(factory=dict)

    def __call__(self, conversation: Conversation, recv: Recv) -> _File | None:
        return _File(self, recv.name or b"") if recv.size is not None else None


@attrs.define
class _File:
    files: Files
    name: bytes
    data: bytes = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self, reason: str) -> None:
        self.files.found[self.name] = self.data
        self.files.problems[self.name] = reason


def sups(found: Sequence[Message]) -> list[SupMessage]:
    return [message for message in found if isinstance(message, SupMessage)]


def told(found: Sequence[Message]) -> list[str]:
    return [message.text for message in found if isinstance(message, Notice)]


def the_file(found: Sequence[Message]) -> SupMessage:
    (one,) = (message for message in sups(found) if message.data_size is not None)
    return one


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [6, 7, 8])
@pytest.mark.parametrize("packed", [False, True])
def test_a_session(order: str, version: int, packed: bool) -> None:
    packed = packed and version == 8
    files = Files()
    found = sups(messages(talk(*session(SupParams(order, version), packed)), opener=files))
    assert [message.name for message in found] == [
        name for name in NAMES if version > 7 or name != "COMPRESS"
    ]
    assert all(message.params.order == order and message.params.version == version for message in found[3:])
    assert not any(message.damage or message.notes for message in found)
    assert files.found == {b"d/f": HELLO}
    assert the_file(found).unpacked == (len(HELLO) if packed else None)
    assert [message.from_client for message in found] == [
        who == "client" for who, _ in session(SupParams(order, version), packed)
    ]


def test_versions_before_6_have_neither_release_nor_done() -> None:
    params = SupParams("<", 5)
    said = [*session(params)[:-1], ("client", built(Goaway(None), params))]
    found = sups(messages(talk(*said)))
    assert [message.name for message in found][-2:] == ["RECV", "GOAWAY"]
    setup = found[3].value
    assert (setup.xpatch, setup.release, setup.collection) == (None, None, b"demo")
    assert not found[-1].failed


def test_the_older_of_two_versions_decides_the_layout() -> None:
    old = SupParams("<", 5)
    said = [
        ("client", sup.PROBE_LITTLE + built(Signon(8, 26, b"4.3 BSD"))),
        ("server", built(SignonAck(5, 1, b"4.3 BSD", 7))),
        ("client", built(setup(xpatch=None), old)),
    ]
    assert sups(messages(talk(*said)))[-1].value.collection == b"demo"


def test_list_only_sends_no_data() -> None:
    found = sups(messages(talk(*session(list_only=True))))
    assert [message.name for message in found] == NAMES
    assert all(message.data_size is None for message in found)


@given(st.lists(st.integers(1, 40), max_size=30), st.booleans())
def test_any_segmentation_gives_the_same(cuts: list[int], packed: bool) -> None:
    pieces = []
    for who, data in session(packed=packed):
        while data:
            cut = cuts.pop() if cuts else 1 << 20
            pieces.append((who, data[:cut]))
            data = data[cut:]
    files = Files()
    assert [message.name for message in sups(messages(talk(*pieces), opener=files))] == NAMES
    assert files.found == {b"d/f": HELLO}


def test_one_byte_at_a_time() -> None:
    pieces = [(who, data[at : at + 1]) for who, data in session(packed=True) for at in range(len(data))]
    found = sups(messages(talk(*pieces)))
    assert [message.name for message in found] == NAMES
    assert the_file(found).unpacked == len(HELLO)


def test_pipelined_messages_in_one_packet() -> None:
    said = session()
    client = b"".join(data for who, data in said if who == "client")
    server = b"".join(data for who, data in said if who == "server")
    assert len(
        sups(messages(talk(("client", client[:60]), ("server", server), ("client", client[60:]))))
    ) == len(NAMES)


def test_long_file_data_is_not_kept_whole() -> None:
    data = bytes(3 * followed.KEEP_DATA)
    said = [*session()[:-6], ("server", built(file(b"big", data))), ("server", data), ("server", END["<"])]
    files = Files()
    found = the_file(messages(talk(*said), opener=files))
    assert found.data_kept == followed.KEEP_DATA
    assert found.size == len(built(file(b"big", data))) + len(data) + 4
    assert files.found == {b"big": data}


def test_latency_is_that_of_the_answer() -> None:
    found = sups(messages(talk(*session())))
    assert [message.latency is not None for message in found] == [
        not message.from_client for message in found
    ]
    assert found[2].latency == pytest.approx(0.1)


def test_failures() -> None:
    busy = [
        *session()[:4],
        ("server", built(SetupAck(SetupCode.BUSY))),
        ("client", built(Done(DoneCode.SRVERROR, b"x"))),
    ]
    found = sups(messages(talk(*busy)))
    assert [(message.status, message.failed) for message in found[-2:]] == [
        ("BUSY", True),
        ("SRVERROR", True),
    ]
    away = [*session()[:4], ("server", built(Goaway(b"Can't chdir to base directory /x")))]
    last = sups(messages(talk(*away)))[-1]
    assert (last.name, last.failed) == ("GOAWAY", True)


def test_a_crosspatch_becomes_a_terminal() -> None:
    said = [
        *session()[:3],
        ("client", built(Setup(1, b"anon", None, None, None, None, None, None, None, None))),
        *session()[4:9],
        ("client", built(Xpatch((b"-t", b"supfile")))),
        ("server", b"SUP 8.26 \x1b[31m"),
    ]
    found = messages(talk(*said))
    assert told(found) == ["14 bytes of the crosspatch's terminal: 'SUP 8.26 \\x1b[31m'"]


def test_an_encrypted_session_is_told() -> None:
    said = [*session()[:5], ("client", built(Crypt(b"\x83" * 24)))]
    assert "encrypted" in sups(messages(talk(*said)))[-1].notes[0]


def test_gzip_that_is_none() -> None:
    said = session(packed=True)
    data = gzip.compress(HELLO)
    position = next(number for number, (_, piece) in enumerate(said) if data in piece)
    for bad, problem in (
        (b"\0" + data[1:], "the data is not gzip"),
        (data[:-4], "the gzip stream ends early"),
        (data + b"surplus", "the data is not gzip"),
    ):
        damaged = built(file(b"d/f", bad)) + bad + END["<"]
        files = Files()
        found = messages(talk(*said[:position], ("server", damaged), *said[position + 1 :]), opener=files)
        assert [message.name for message in sups(found)] == NAMES
        assert the_file(found).notes[0].startswith(problem)
        assert files.problems[b"d/f"].startswith(problem)
    twice = data + gzip.compress(b"more")
    good = built(file(b"d/f", twice)) + twice + END["<"]
    found = messages(talk(*said[:position], ("server", good), *said[position + 1 :]))
    assert the_file(found).unpacked == len(HELLO) + 4


# ----------------------------------------------------------------------------------------------------------- losses


def split(position: int, first: int, last: int) -> list[tuple[str, bytes]]:
    """The ordinary session, with bytes *first* to *last* of one piece not captured."""
    said = session()
    who, data = said[position]
    parts = [(who, data[:first]), (f"lost {who}", data[first:last]), (who, data[last:])]
    return said[:position] + [part for part in parts if part[1]] + said[position + 1 :]


RECV = 15
UNSEEN = "not in the capture, although the receiver had them"


def test_lost_file_data_costs_only_the_file() -> None:
    start = len(built(file(b"d/f")))
    files = Files()
    found = messages(talk(*split(RECV, start + 5, start + 15)), opener=files)
    assert [message.name for message in sups(found)] == NAMES
    assert told(found) == [f"10 bytes are {UNSEEN}, all of them data of the file 'd/f'"]
    assert files.problems[b"d/f"] == "10 bytes of its data are missing"


def test_a_snapped_end_of_data_with_its_end_mark() -> None:
    said = session()
    said[RECV] = ("snapped server", said[RECV][1])
    found = messages(talk(*said))
    assert [message.name for message in sups(found)] == NAMES
    assert the_file(found).notes == ("5 bytes of its data are missing",)


def test_a_loss_elsewhere_ends_at_the_next_packet_that_begins_with_a_message() -> None:
    found = messages(talk(*split(RECV, 10, 20)))
    assert [message.name for message in sups(found)] == NAMES
    assert sups(found)[RECV].notes == ("not whole: bytes are missing",)
    assert told(found) == [
        f"10 bytes are {UNSEEN}, inside RECV; looking for a packet that begins with a message"
    ]


def test_a_capture_that_begins_inside_a_session() -> None:
    packets = talk(*session())[20:]
    found = sups(messages(packets))
    assert [message.name for message in found] == NAMES[-len(found) :]
    assert len(found) > 3
    assert found[-1].source == "10.0.0.1:700"


def test_an_unknown_type_and_a_damaged_message() -> None:
    said = session()
    found = messages(talk(*said[:5], ("client", b"\x99\0\0\0" + bytes(9)), *said[5:]))
    assert told(found) == ["153 is not the type of a message"]
    assert [message.name for message in sups(found)] == NAMES
    damaged = built(Crypt(sup.TEST_STRING))[:-1] + b"\0"
    found = messages(talk(*said[:5], ("client", damaged), *said[6:]))
    assert sups(found)[5].damage is not None
    assert [message.name for message in sups(found)] == NAMES


def test_the_end_inside_a_message_and_inside_data() -> None:
    said = session()
    found = sups(messages(talk(*said[:3], ("client", said[3][1][:20]), ends=False)))
    assert found[-1].notes == ("not whole: the capture ends",)
    files = Files()
    found = sups(messages(talk(*said[:RECV], ("server", said[RECV][1][:-20]), ends=False), opener=files))
    assert found[-1].notes == ("not whole: the capture ends", "it ends early: the capture ends")
    assert files.problems[b"d/f"] == "it ends early: the capture ends"
    found2 = messages(talk(*said[:3], ("client", b"\x67\0"), ends=False))
    assert told(found2) == ["2 bytes that are no whole message type: the capture ends"]


def test_a_message_longer_than_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "MAX_MESSAGE", 1000)
    long = built(Refuse(tuple(b"x" * 100 for _ in range(50))))
    pieces = [("client", long[start : start + 300]) for start in range(0, len(long), 300)]
    found = messages(talk(*session()[:9], *pieces, *session()[10:]))
    assert "a message is longer than 1,000 bytes" in told(found)[0]
    assert sups(found)[-1].name == "DONE"


def test_an_end_mark_that_is_none() -> None:
    said = session()
    found = messages(talk(*said[:RECV], ("server", said[RECV][1][:-4] + bytes(4)), *said[RECV + 1 :]))
    assert sups(found)[RECV].damage is not None
    assert sups(found)[-1].name == "DONE"


def test_declared_ports() -> None:
    said = session()[1:]  # no probe, so that nothing shows what it is
    assert messages(talk(*said)) == []
    found = sups(messages(talk(*said), decode_as={877: "sup"}))
    assert [message.name for message in found] == NAMES[1:]


def test_other_protocols_are_passed_over() -> None:
    assert (
        messages(talk(("client", b"GET / HTTP/1.0\r\n\r\n"), ("server", b"HTTP/1.0 200 OK\r\n" * 40))) == []
    )
    assert messages(talk(("client", sup.PROBE_LITTLE + b"but no signon" * 40))) == []


@given(st.integers(0, 20), st.binary(max_size=80), st.booleans())
def test_hostile_bytes_end_in_words(position: int, data: bytes, packed: bool) -> None:
    said = session(packed=packed)
    who = said[position][0]
    messages(talk(*said[:position], (who, data or b"?"), *said[position:]))
    messages(talk(*said[:position], (who, said[position][1][: len(data)] or b"?"), *said[position + 1 :]))


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=40)), max_size=8))
def test_hostile_beginnings(pieces: list[tuple[bool, bytes]]) -> None:
    messages([segment(data, 100 * number, back=back) for number, (back, data) in enumerate(pieces)])
    messages(talk(*(("client" if back else "server", data) for back, data in pieces)), decode_as={877: "sup"})
