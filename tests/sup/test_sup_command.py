"""What the command `sup` is made of: which collections it upgrades, where its lines go, and what comes of it.

(`tests/sup/test_sup.py` runs the whole of it.)
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sup.client import Counts, Status
from sup.commandline import UsageError, parse
from sup.commands.sup import (
    DONE,
    FAILED,
    USAGE_ERROR,
    NoCollections,
    Output,
    chosen,
    main,
    print_json,
    supfiles,
    tell_failures,
    tell_times,
)
from sup.supfile import Collection
from sup.upgrade import Outcome

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the system's supfiles."""
    monkeypatch.setenv("GHOSTPORTS_SUPFILES", str(tmp_path))
    (tmp_path / "coll.list").write_text("one base=/one\ntwo host=h base=/two delete\n")
    (tmp_path / "coll.what").write_text("what host=h\n")
    (tmp_path / "coll.host").write_text("one = b, a\n")
    return tmp_path


@pytest.fixture(autouse=True)
def _collecting_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` is for a program that is over soon; the tests go on."""
    monkeypatch.setattr("sup.commands.sup.collect_seldom", lambda: None)


def collections(*words: str) -> tuple[Collection, ...]:
    return chosen(parse(words))


def test_the_system_collections(system: Path) -> None:
    one, two = collections("-s")
    assert (one.name, one.hosts, one.base) == (b"one", ("a", "b"), b"/one")
    assert (two.name, two.hosts, two.delete) == (b"two", ("h",), True)
    assert [each.name for each in collections("-st")] == [b"what"]
    assert supfiles() == system


def test_named_collections_and_their_flags(system: Path) -> None:
    (two,) = collections("-s", "-o", "-De=two", "two")
    assert (two.name, two.old, two.delete, two.execute) == (b"two", True, False, True)
    with pytest.raises(UsageError, match="has no collection three"):
        collections("-s", "three")


def test_no_host(system: Path) -> None:
    hosts = system / "coll.host"
    hosts.write_text("")
    with pytest.raises(NoCollections) as raised:
        collections("-s")
    assert str(raised.value) == f"no host for collection one: add host= to its line, or it to {hosts}"
    hosts.unlink()
    with pytest.raises(NoCollections, match="no host for collection one"):
        collections("-s")
    hosts.mkdir()
    with pytest.raises(NoCollections, match=r"can't open file of hosts .*: Is a directory"):
        collections("-s")
    assert [each.name for each in collections(str(system / "coll.what"))] == [b"what"]  # needs none


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"demo host=h\n")))
    (demo,) = collections("-")
    assert demo.hosts == ("h",)


@pytest.mark.parametrize(
    ("words", "text", "status", "told"),
    [
        (["-y", "{}"], "", USAGE_ERROR, "sup: Invalid flag -y\nTry `sup --help`.\n"),
        (
            ["{}", "nosuch"],
            "a host=h\n",
            USAGE_ERROR,
            "sup: {} has no collection nosuch\nTry `sup --help`.\n",
        ),
        (["{}"], "a color=red\n", FAILED, "sup: {}, line 1: Invalid supfile option color for collection a\n"),
        (["{}x"], "", FAILED, "sup: can't open supfile {}x: No such file or directory\n"),
    ],
)
def test_what_goes_wrong_before_the_first_upgrade(
    tmp_path: Path, capsys: Captured, words: list[str], text: str, status: int, told: str
) -> None:
    supfile = tmp_path / "supfile"
    supfile.write_text(text)
    assert main([word.format(supfile) for word in words]) == status
    assert capsys.readouterr() == ("", told.format(supfile))


def test_help_and_version(capsys: Captured) -> None:
    assert main(["--help"]) == DONE
    assert capsys.readouterr().out.startswith("usage: sup [FLAGS] SUPFILE [COLLECTION...]\n")
    assert main(["--version"]) == DONE
    assert capsys.readouterr().out.startswith("sup (Ghostports) ")


def test_times(tmp_path: Path, capsys: Captured) -> None:
    def at(name: str, when: str | None) -> Collection:
        base = tmp_path / name
        (base / "sup" / name).mkdir(parents=True)
        if when is not None:
            (base / "sup" / name / "when").write_text(when)
        return Collection(name.encode(), base=bytes(base))

    missing = Collection(b"missing", base=bytes(tmp_path / "missing"))
    assert tell_times([at("never", None), missing, at("once", "1000000000\n")]) == FAILED
    told = capsys.readouterr()
    never, once = told.out.splitlines()
    assert never == "SUP No update has occurred yet for collection never"
    assert once.startswith("SUP Last update occurred at Sep ")
    assert once.endswith(" 2001 for collection once")
    assert told.err.startswith("sup: missing: Can't change to base directory ")
    assert tell_times([]) == DONE


def outcome(name: bytes, status: Status, *problems: str) -> Outcome:
    return Outcome(Collection(name), status, list(problems), Counts(listed=3), "h")


def test_failures_are_told(capsys: Captured) -> None:
    fine = [outcome(b"a", Status.DONE), outcome(b"b", Status.SKIPPED)]
    assert tell_failures(fine) == DONE
    assert capsys.readouterr() == ("", "")
    bad = [
        outcome(b"c", Status.ABORTED, "no"),
        outcome(b"d", Status.ERRORS, "1", "2", "3", "4", "5"),
        outcome(b"e", Status.ABORTED),
    ]
    assert tell_failures([*fine, *bad]) == FAILED
    assert capsys.readouterr().err == (
        "sup: c: aborted: no\nsup: d: completed with errors: 1; 2; 3; and 2 more\nsup: e: aborted: see above\n"
    )


def test_json(capsys: Captured) -> None:
    print_json([outcome(b"\xff", Status.ERRORS, "no")])
    assert json.loads(capsys.readouterr().out) == [
        {
            "collection": "\\xff",
            "host": "h",
            "status": "completed with errors",
            "problems": ["no"],
            "listed": 3,
            "needed": 0,
            "denied": 0,
            "received": 0,
            "bytes": 0,
        }
    ]


class TestOutput:
    def output(self, *words: str) -> Output:
        return Output(parse([*words, "supfile"]), "supfile")

    def test_lines(self, capsys: Captured) -> None:
        output = self.output()
        for text in ("one", "two"):
            output.line(Collection(b"demo"), text)
        heading, *lines = capsys.readouterr().out.splitlines()
        assert heading.startswith("SUP 8.26 (4.3 BSD) for file supfile at ")
        assert lines == ["one", "two"]

    def test_silence(self, capsys: Captured) -> None:
        self.output("-S").line(Collection(b"demo"), "one")
        assert capsys.readouterr() == ("", "")

    def test_with_json_lines_are_on_standard_error(self, capsys: Captured) -> None:
        self.output("--json").line(Collection(b"demo"), "one")
        told = capsys.readouterr()
        assert (told.out, told.err.splitlines()[1:]) == ("", ["one"])

    def test_mail(self, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[Any] = []
        monkeypatch.setattr("sup.mailing.send", lambda *mail: sent.append(mail))
        output = self.output()
        demo = Collection(b"demo", mail=True, notify="ann")
        output.send(demo)
        assert sent == []  # nothing was told
        output.line(demo, "one")
        output.send(demo)
        output.line(Collection(b"other"), "two")
        output.line(demo, "three")
        output.send(demo)
        (to, subject, first), (_, _, second) = sent
        assert (to, subject) == ("ann", "SUP Upgrade of demo")
        assert first.splitlines()[1:] == ["one"]
        assert second.splitlines()[1:] == ["three"]
        assert capsys.readouterr().out.splitlines()[1:] == ["two"]

    def test_an_address_of_the_command_line_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[Any] = []
        monkeypatch.setattr("sup.mailing.send", lambda *mail: sent.append(mail))
        output = self.output("-M", "joe")
        demo = Collection(b"demo", mail=True, notify="ann")
        output.line(demo, "one")
        output.send(demo)
        assert sent[0][0] == "joe"
