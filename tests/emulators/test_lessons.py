"""Every lesson runs, what it says holds, and its committed page and capture say what a run of today says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from emulators.lessons import breaking, stall
from emulators.lessons.catalogue import LESSONS, Lesson
from emulators.lessons.password import NEW
from emulators.lessons.stage import LessonError, Stage, expect, perform
from emulators.lessons.story import choose, read, spoken
from netinfo.properties import values_of
from sup.cipher import Cipher
from wire.capture.explanation import explanation
from wire.capture.messages import Message, RpcMessage
from wire.formats.netinfo import NI_INDEX_NULL, NiId, NiStatus
from wire.formats.rpc import Call
from wire.formats.sup import TEST_STRING, DoneCode

ROOT = Path(__file__).parent.parent.parent
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


async def played(number: int, directory: Path) -> list[Message]:
    """The messages of a lesson, played now."""
    lesson = LESSONS[number - 1]
    capture = directory / "capture.pcapng"
    await perform(lesson.play, reactor, capture)
    return read(capture)


def shape(messages: Sequence[Message]) -> Counter[tuple[str, str, str, str]]:
    """What was said, but for what changes from run to run: ports, times, numbers of transactions and processes."""
    return Counter((each.conversation.service, each.name, each.kind, each.status) for each in messages)


def values(messages: Sequence[Message], what: str) -> list[Any]:
    return [each.value for each in messages if f"{each.name} {each.kind}" == what]


# --- all of them ----------------------------------------------------------------------------------------------------


@EACH
def test_page_says_what_its_capture_does(lesson: Lesson) -> None:
    """Else: python -m emulators.lessons retell."""
    assert lesson.told(lesson.capture) == lesson.page.read_text(encoding="utf-8")


@EACH
@pytest_twisted.ensureDeferred
async def test_run_of_today_has_the_exchange_of_the_page(lesson: Lesson, tmp_path: Path) -> None:
    """Else: python -m emulators.lessons record."""
    page = await lesson.run(reactor, tmp_path / "today.pcapng")
    assert shape(read(tmp_path / "today.pcapng")) == shape(read(lesson.capture))
    blocks = [
        [text for text, generated in spoken(each) if generated] for each in (page, lesson.page.read_text())
    ]
    assert len(blocks[0]) == len(blocks[1])
    assert all(blocks[0])


@EACH
def test_page_can_be_taught(lesson: Lesson) -> None:
    page = lesson.page.read_text(encoding="utf-8")
    assert page.startswith(f"# {lesson.number}. {lesson.title}\n")
    _, _, rest = page.partition("\n## Questions\n")
    questions, _, answers = rest.partition("\n## Answers\n")
    for part in (questions, answers):
        assert re.findall(r"^(\d)\. ", part, re.MULTILINE) == ["1", "2", "3"]
    assert "```text" not in rest
    assert sum(generated for _, generated in spoken(page)) >= 3


@EACH
def test_capture_explains_every_byte(lesson: Lesson) -> None:
    for message in read(lesson.capture):
        assert message.damage is None
        tree = explanation(message)
        assert tree is not None
        at = 0
        for leaf in tree.leaves():
            assert leaf.start == at
            at = leaf.end
        assert at == len(message.raw)


def test_every_lesson_is_in_the_index() -> None:
    pages = LESSONS[0].page.parent
    index = (pages / "index.md").read_text()
    for lesson in LESSONS:
        assert f"\n{lesson.number}-{lesson.name}\n" in index
        assert f"(captures/{lesson.capture.name})" in index
    assert {path.name for path in pages.glob("*.md")} == {lesson.page.name for lesson in LESSONS} | {
        "index.md"
    }
    assert {path.name for path in (pages / "captures").iterdir()} == {
        lesson.capture.name for lesson in LESSONS
    }


# --- what each of them says -----------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_1_wrong_words_are_met_with_silence_and_the_right_ones_with_an_answer(tmp_path: Path) -> None:
    page = await LESSONS[0].run(reactor, tmp_path / "capture")
    (table, *_) = [text for text, generated in spoken(page) if generated]
    rows = [line for line in table.splitlines() if line.startswith(("netinfod", "supfilesrv"))]
    assert [row.endswith("nothing") for row in rows] == [True, True, False, False]
    assert "80 00 00 28" in rows[2]  # question 2
    assert "1,195,725,856 bytes; the last one of its record: no" in page


@pytest_twisted.ensureDeferred
async def test_2_one_call_and_its_reply(tmp_path: Path) -> None:
    messages = await played(2, tmp_path)
    assert [(each.name, each.kind) for each in messages] == [("LOOKUP", "call"), ("LOOKUP", "reply")]
    call, reply = messages
    assert isinstance(call, RpcMessage)
    assert isinstance(reply, RpcMessage)
    assert call.xid == reply.xid
    assert call.raw.endswith(b"\x00\x00\x00\x05users\x00\x00\x00")
    assert reply.value.body.ids


@pytest_twisted.ensureDeferred
async def test_3_domain_servers_are_not_in_the_portmapper_and_each_answer_leads_on(tmp_path: Path) -> None:
    messages = await played(3, tmp_path)
    assert values(messages, "GETPORT reply")[0] == 0
    assert values(messages, "GETPORT reply")[1] == choose(messages, "GETREGISTER call").conversation.server[1]
    found = values(messages, "GETREGISTER reply")[1].body
    assert choose(messages, "ROOT call").conversation.server[1] == found.tcp_port
    assert [each.conversation.transport for each in messages] == ["udp"] * 8 + ["tcp"] * 2


@pytest_twisted.ensureDeferred
async def test_4_the_question_for_the_parent_travels_in_envelopes(tmp_path: Path) -> None:
    messages = await played(4, tmp_path)
    local, network = values(messages, "LOOKUPREAD reply")
    assert local.status == NiStatus.NI_NODIR
    assert values_of(network.body.properties, b"name") == (b"ann",)
    assert values_of(network.body.properties, b"passwd") != ()  # answer 3
    order = [(each.conversation.service, each.name) for each in messages if each.name in ("CALLIT", "BIND")]
    inward = [("portmap", "CALLIT"), ("nibindd", "BIND"), ("netinfod network", "BIND")]
    assert order == inward + inward[::-1]
    asked = [place for place, each in enumerate(messages) if each.name == "RPARENT"]
    bound = [place for place, each in enumerate(messages) if each.name in ("CALLIT", "BIND")]
    assert asked[0] < min(bound) < max(bound) < asked[1]
    assert values(messages, "RPARENT reply")[-1].status == NiStatus.NI_NETROOT


@pytest_twisted.ensureDeferred
async def test_5_the_password_can_be_read_from_the_recording(tmp_path: Path) -> None:
    messages = await played(5, tmp_path)
    statuses = [each.status for each in messages if each.name == "WRITEPROP" and each.kind == "reply"]
    assert statuses == ["NI_PERM", "NI_AUTHERROR", "NI_OK"]
    call = choose(messages, "WRITEPROP call", 3)
    assert isinstance(call, RpcMessage)
    assert call.header is not None
    assert isinstance(call.header.body, Call)
    sent = call.header.body.credential.body
    assert not isinstance(sent, bytes)
    assert sent.uid == 101
    assert bytes(byte ^ 0xFF for byte in sent.machine) == b"pencil"
    assert b"pencil" not in call.raw


def test_5_the_new_password_is_what_the_text_says() -> None:
    from passlib.hash import des_crypt

    assert des_crypt.verify("easel", NEW.decode())


@pytest_twisted.ensureDeferred
async def test_6_a_change_is_made_at_most_once(tmp_path: Path) -> None:
    messages = await played(6, tmp_path)
    calls = [each for each in messages if each.name == "CREATENAME" and each.kind == "call"]
    statuses = [each.status for each in messages if each.name == "CREATENAME" and each.kind == "reply"]
    assert statuses == ["NI_OK", "NI_STALE", "NI_OK", "NI_STALE"]
    assert calls[2].raw == calls[3].raw
    assert calls[2].conversation is not calls[3].conversation
    assert calls[2].value.where == NI_INDEX_NULL
    (result,) = values(messages, "READPROP reply")
    assert result.body.names == (b"ann", b"ben", b"dora", b"carl")
    first = calls[0].value.id
    assert result.body.self_id == NiId(first.object, first.instance + 2)


@pytest_twisted.ensureDeferred
async def test_7_the_second_upgrade_lists_and_brings_one_file(tmp_path: Path) -> None:
    messages = await played(7, tmp_path)
    first, second = values(messages, "LIST message")
    assert len(first.entries) > len(second.entries) == 1
    assert values(messages, "SETUP message")[0].lasttime == 0
    assert values(messages, "SETUP message")[1].lasttime == first.scantime
    assert [each.code for each in values(messages, "DONE message")] == [DoneCode.SUCCESS] * 2
    assert messages[0].name == "PROBE"
    assert messages[-1].name == "DONE"
    brought = choose(messages, "RECV message", 14)
    assert brought.value.name == second.entries[0].name
    assert b"Both ports answer again.\n" in brought.raw
    assert values(messages, "RECV message")[-1].name is None


@pytest.mark.skipif(
    sys.platform != "linux", reason="how long an acknowledgement is delayed is the system's choice"
)
@pytest_twisted.ensureDeferred
async def test_8_two_writes_stall_and_one_does_not(tmp_path: Path) -> None:
    await played(8, tmp_path)
    slow = stall.waits(tmp_path / "capture.pcapng", stall.MANY_WRITES)
    first, *fast = stall.waits(tmp_path / "capture.pcapng", stall.ONE_WRITE)
    assert len(slow) == len(fast) + 1 == stall.FILES
    assert min(slow) > 0.035
    assert first > 0.035  # the client's own two writes
    assert sorted(fast)[len(fast) // 2] < min(slow) / 2


@pytest_twisted.ensureDeferred
async def test_9_the_recording_gives_the_key_away(tmp_path: Path) -> None:
    messages = await played(9, tmp_path)
    key, tried = breaking.search(messages)
    assert key[:8] == breaking.KEY[:8]
    assert tried == breaking.WORDS.index(breaking.KEY) + 1
    sent = choose(messages, "CRYPT message").value.test
    assert sent != TEST_STRING
    names = [entry.name for entry in choose(messages, "LIST message").value.entries]
    assert b"README" not in names
    clear = [Cipher(key).text(name) for name in names]
    assert clear == sorted(clear)
    assert b"README" in clear


@pytest_twisted.ensureDeferred
async def test_9_guesses_read_more_than_the_sentence_and_nothing_wrong(tmp_path: Path) -> None:
    messages = await played(9, tmp_path)
    sentence, guesses = breaking.from_sentence(messages), breaking.from_guesses(messages)
    cipher = Cipher(breaking.KEY)
    read_by = Counter[str]()
    for entry in choose(messages, "LIST message").value.entries:
        clear = cipher.text(entry.name).decode()
        for name, tables in (("sentence", sentence), ("guesses", guesses)):
            shown = tables.show(entry.name)
            assert all(sign in (real, breaking.HIDDEN) for sign, real in zip(shown, clear, strict=True))
            read_by[name] += len(shown) - shown.count(breaking.HIDDEN)
    assert read_by["guesses"] > 2 * read_by["sentence"]


def test_9_a_guess_against_what_is_known_is_refused() -> None:
    tables = breaking.Tables()
    assert tables.learn(b"\x10\x20", b"ab")
    assert tables.show(b"\x10\x20\x30") == f"ab{breaking.HIDDEN}"
    assert not tables.learn(b"\x10", b"x")
    assert not tables.learn(
        b"\x11", b"a"
    )  # `a` stands for 10 there, and 10 for it: the machine is its own inverse
    assert tables.show(b"a") == "\x10"
    assert tables.learn(b"\x10\x20\x30", b"c", start=2)


def test_9_a_key_that_is_no_word_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaking, "WORDS", (b"\xff\xff", b"wombat"))
    with pytest.raises(LookupError):
        breaking.search(read(LESSONS[8].capture))


# --- a run that goes otherwise --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_exchange_that_goes_otherwise_leaves_no_capture(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.lab()
        expect(False, "pigs flew")

    capture = tmp_path / "capture"
    with pytest.raises(LessonError, match=r"did not go as the lesson says: pigs flew\."):
        await perform(play, reactor, capture)
    assert not os.access(capture, os.F_OK)


@pytest_twisted.ensureDeferred
async def test_directory_that_a_supfile_cannot_name_is_an_error_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "with blank"))
    capture = tmp_path / "capture"
    with pytest.raises(LessonError, match="set TMPDIR to another"):
        await LESSONS[1].run(reactor, capture)
    assert not os.access(capture, os.F_OK)


# --- the command ----------------------------------------------------------------------------------------------------


def ghostports(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emulators.cli", "lesson", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120, check=False)


def test_list_names_every_lesson() -> None:
    said = ghostports("list")
    assert said.returncode == 0
    assert [line.split(None, 1) for line in said.stdout.splitlines()] == [
        [str(lesson.number), lesson.title] for lesson in LESSONS
    ]


def test_run_tells_the_story_and_says_where_the_capture_is(tmp_path: Path) -> None:
    said = ghostports("run", "2", "--out", str(tmp_path / "new"))
    assert (said.returncode, said.stderr) == (0, "")
    capture = tmp_path / "new" / "lesson-2-one-call.pcapng"
    assert f"The capture: {capture}" in said.stdout
    assert [each.name for each in read(capture)] == ["LOOKUP", "LOOKUP"]
    assert '64 75 73 65 72 73 bytes "users"' in " ".join(said.stdout.split())
    assert "<!--" not in said.stdout
    assert "Questions" in said.stdout
    assert "Answers" not in said.stdout


def test_answers_are_printed_when_asked_for(tmp_path: Path) -> None:
    said = ghostports("run", "5", "--answers", "--out", str(tmp_path))
    assert said.returncode == 0
    assert "Answers" in said.stdout
    assert "NI_AUTHERROR. Reads with the same" in " ".join(said.stdout.split())


def test_wrong_number_is_wrong_usage_and_a_bad_directory_is_named(tmp_path: Path) -> None:
    assert ghostports("run", "0").returncode == 2
    (tmp_path / "file").write_text("")
    said = ghostports("run", "2", "--out", str(tmp_path / "file" / "below"))
    assert said.returncode == 1
    assert said.stderr.startswith("Error: ")
    assert str(tmp_path / "file") in said.stderr


@pytest_twisted.ensureDeferred
async def test_10_the_guards_leave_a_stranger_nothing(tmp_path: Path) -> None:
    messages = await played(10, tmp_path)
    seen = [values_of(each.body.properties, b"passwd") for each in values(messages, "LOOKUPREAD reply")]
    assert seen == [(b"anSWiXamh5bAA",), ()]
    everything, refused = values(messages, "READALL reply")
    assert (len(everything.body.objects), refused.status) == (5, NiStatus.NI_PERM)
    call = next(each for each in messages if (each.name, each.kind) == ("READALL", "call"))
    assert len(call.raw) == 48
    guesses = [each.status for each in values(messages, "WRITEPROP reply")]
    assert guesses == [NiStatus.NI_AUTHERROR] * 5 + [NiStatus.NI_OK] + [NiStatus.NI_AUTHERROR] * 6
