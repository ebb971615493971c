"""nicl: every command, one at a time, from stdin, and on databases without a server (NETINFO 6.5)."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netinfo.client.local import open_local
from netinfo.commands import nicl
from netinfo.commands.nicl_commands import COMMANDS, Session
from netinfo.domain import Domain as Rules
from netinfo.generation import APPLE
from netinfo.rawformat import load, plant
from netinfo.store import Store, StoreError
from tests.netinfo import served
from tests.netinfo.served import Served
from tests.netinfo.tools import Ran, Tool

ROOT = Path(__file__).parents[2]
NIDB = Path(__file__).parents[1] / "captures" / "nidb"


@pytest.fixture
def run(domain: str, tool: Tool) -> Any:
    """Runs one command on a domain of the test's own."""

    def one(*words: str, options: tuple[str, ...] = (), stdin: bytes = b"") -> Ran:
        return tool("nicl", "-t", *options, domain, *words, stdin=stdin)

    return one


def test_reading(host: Served, tool: Tool) -> None:
    ran = tool("nicl", host.network, "read", "/users/ann", "uid", "shell")
    assert ran.out == "uid: 101\nshell: /bin/csh\n"
    assert tool("nicl", host.network, "-cat", "/users/ann").lines()[0] == "name: ann", "a dash is allowed"
    number = tool("niutil", "-list", host.network, "/users").lines()[1].split()[0]
    assert tool("nicl", host.network, "ls", "/users").lines()[1] == f"{number:<10}ann"
    assert tool("nicl", host.network, "list", "/users", "uid").lines()[1] == f"{number:<10}101"
    assert tool("nicl", host.network, "path", number).out == "/users/ann\n"
    assert tool("nicl", host.network, "search", "/", "0", "3", "uid", "101").lines() == [
        f"{number:<10}/users/ann"
    ]
    assert len(tool("nicl", host.network, "search", "/users", "1", "1", "uid").lines()) == 3
    assert tool("nicl", host.network, "stats").out.startswith("checksum: ")
    assert tool("nicl", host.network, "rparent").out == "root domain: no parent\n"
    assert tool("nicl", "-t", host.by_tag(), "domainname").out == "/\n"
    assert tool("nicl", host.network, "echo", "a", "b").out == "a b\n"
    missing = tool("nicl", host.network, "read", "/users/ann", "nope")
    assert (missing.code, missing.err) == (106, "nicl: nope: No such property\n")


def test_verbose_and_json(host: Served, tool: Tool) -> None:
    lines = tool("nicl", "-v", host.network, "read", "/users/ann").lines()
    assert lines[0].startswith("Record: ")
    assert lines[1].startswith("Serial: ")
    assert lines[2].startswith("Parent: ")
    assert lines[3] == "Children: 0"
    assert lines[4:6] == ["Attributes:", "    name: ann"]
    assert lines[-2:] == ["Meta-attributes:", "    _writers_passwd: ann"]
    read = json.loads(tool("nicl", "--json", host.network, "read", "/users/ann", "uid").out)
    assert read["properties"] == [{"name": "uid", "values": ["101"]}]
    assert json.loads(tool("nicl", "--json", host.network, "ls", "/users").out)[1]["name"] == ["ann"]
    found = json.loads(tool("nicl", "--json", host.network, "search", "/", "0", "9", "uid", "101").out)
    assert found[0]["path"] == "/users/ann"
    assert json.loads(tool("nicl", "--json", host.network, "stats").out)["checksum"]


def test_json_of_single_texts(host: Served, tool: Tool) -> None:
    for words, text in ((("path", "/users/ann"), "/users/ann"), (("pwd",), "/"), (("domainname",), "/")):
        assert json.loads(tool("nicl", "--json", "-t", host.by_tag(), *words).out) == text


def test_x500_names(run: Any) -> None:
    x500 = ("-x500",)
    assert run("create", "uid=7,name=users", options=x500).code == 0
    assert run("read", "/users/uid=7").out == "uid: 7\n"
    assert run("create", "name=ann,name=users", "uid", "8", options=x500).code == 0
    assert run("path", "ann,users", options=x500).out == "name=ann,name=users\n"
    assert run("search", "", "0", "9", "uid", "8", options=x500).out.split()[1] == "name=ann,name=users"
    session = b"cd name=ann,name=users\npwd\nread .\ncd ..\npwd\n"
    assert run(options=x500, stdin=session).lines() == [
        "name=ann,name=users",
        "name: ann",
        "uid: 8",
        "name=users",
    ]


def test_a_url_names_domain_user_and_directory(
    host: Served, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"netinfo://{host.portmapper}/network"
    assert tool("nicl", f"{where}:/users", stdin=b"pwd\nread ann uid\n").lines() == ["/users", "uid: 101"]
    assert tool("nicl", f"{where}:/nowhere", "pwd").code == 105
    number = tool("niutil", "-list", host.network, "/users").lines()[1].split()[0]
    assert tool("nicl", f"{where}:{number}", "pwd").out == "/users/ann\n"
    known = where.replace("//", "//ann:pencil@")
    assert tool("nicl", known, "merge", "/users/ann", "passwd", "anSWiXamh5bAA").code == 0
    assert tool("nicl", where.replace("//", "//zed:x@"), "pwd").code == 121
    monkeypatch.setattr("getpass.getpass", lambda prompt: {"Password for ann: ": "pencil"}[prompt])
    assert tool("niutil", "-read", where.replace("//", "//ann@"), "/users/ann").code == 0
    refused = tool("niutil", "-read", f"{where}:/users", "ann")
    assert (refused.code, "names a directory" in refused.err) == (1, True)


def test_changing(run: Any) -> None:
    assert run("create", "/users/ann").code == 0
    assert run("create", "/users/ann", "uid", "101").code == 0
    assert run("append", "/users/ann", "groups", "a", "b").code == 0
    assert run("merge", "/users/ann", "groups", "b", "c").code == 0
    assert run("insert", "/users/ann", "groups", "first", "0").code == 0
    assert run("read", "/users/ann").out == "name: ann\nuid: 101\ngroups: first a b c\n"
    assert run("rename", "/users/ann", "groups", "teams").code == 0
    assert run("delete", "/users/ann", "teams", "a", "c").code == 0
    assert run("read", "/users/ann", "teams").out == "teams: first b\n"
    assert run("delete", "/users/ann", "teams").code == 0
    assert run("copy", "/users", "/machines").code == 0
    assert run("path", "/machines/users/ann").out == "/machines/users/ann\n"
    assert run("move", "/users/ann", "/machines").code == 0
    assert run("ls", "/users").out == ""
    assert run("rm", "/machines").code == 0
    assert run("ls", "/").out.split()[1::2] == ["users"]


def test_what_cannot_be_changed(run: Any) -> None:
    run("create", "/a/b")
    assert run("move", "/a", "/a/b").code == 1
    assert run("delete", "/").code == 108
    assert run("delete", "/a", "nope").code == 106
    assert run("delete", "/a", "name", "nope").code == 107
    assert run("rename", "/a", "nope", "x").code == 106
    assert run("insert", "/a", "k", "v", "x").code == 1
    assert run("search", "/", "x", "1", "k").code == 1
    assert run("create", "/c", options=("-ro",)).code == 1
    assert run("ls", "/").out.split()[1::2] == ["machines", "a"]


def test_loading(run: Any, tmp_path: Path) -> None:
    raw = b'{ "name" = ( "tree" ); CHILDREN = ( { "name" = ( "leaf" ); } ) }'
    assert run("load", "/tree", stdin=raw).code == 0
    assert run("ls", "/tree").out.split()[1] == "leaf"
    file = tmp_path / "tree.raw"
    file.write_bytes(b'{ "name" = ( "tree" ); }')
    assert run("load", "/tree", str(file)).code == 0
    assert run("ls", "/tree").out == ""
    assert run("load", "/tree", stdin=b"{ bad").code == 1
    assert run("load", "/tree", "/dev/null/missing").code == 1


def test_a_session_on_stdin(run: Any, tmp_path: Path) -> None:
    script = tmp_path / "more"
    script.write_text("create carl uid 7\n")
    session = f"""
# a comment, and an empty line

create /users
cd /users
pwd
create "odd name" uid 'a b'
source {script}
ls . uid
cd carl
read . uid
cd ..
cd
pwd
cd /nowhere
nonsense
resync
flush
quit
echo never
"""
    ran = run(stdin=session.encode())
    lines = ran.out.splitlines()
    assert lines[0] == "/users"
    assert [line[10:] for line in lines[1:3]] == ["a b", "7"]
    assert lines[3:] == ["uid: 7", "/"]
    assert "nicl: /nowhere: No such directory" in ran.err
    assert "nonsense is not a command" in ran.err
    assert ran.code == 0, "quit"
    assert run(stdin=b"read /nowhere\n").code == 105, "the last error counts"
    assert run(stdin=b'echo "open\n').code == 1


def test_authenticating(host: Served, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tool("nicl", host.network, stdin=b"auth ann pencil\nread /users/ann uid\n").out == "uid: 101\n"
    monkeypatch.setattr("getpass.getpass", lambda prompt: "secret")
    assert tool("nicl", host.network, stdin=b"su\nread /users/root uid\n").out == "uid: 0\n"
    assert tool("nicl", host.network, "auth", "zed", "x").code == 121


def test_history_needs_a_server_that_keeps_versions(
    host: Served, tool: Tool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ran = tool("nicl", host.network, "history")
    assert (ran.code, "keeps no versions" in ran.err) == (101, True)
    with served.process(tmp_path_factory.mktemp("apple"), "apple") as apple:
        tool("nicl", apple.network, "create", "/users/ann", "note", "x")
        lines = tool("nicl", apple.network, "history", "3").lines()
        assert lines[0].split()[2] == "/users/ann"
        assert tool("nicl", apple.network, "stats").lines()[1].startswith("server_version: ")


# --- databases without a server ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["next", "apple"])
def test_an_old_disk_is_read(tool: Tool, name: str) -> None:
    ran = tool("nicl", "-raw", str(NIDB / f"{name}.nidb"), "ls", "/")
    assert (ran.code, ran.out.split()[1]) == (0, "machines")
    assert tool("nicl", "-raw", str(NIDB / f"{name}.nidb"), "create", "/x").code == 1, "and never written to"


def test_a_database_of_ours_is_made_and_changed(tool: Tool, tmp_path: Path) -> None:
    path = str(tmp_path / "new.db")
    assert tool("nicl", "-raw", path, "ls").code == 200
    assert tool("nicl", "-raw", "-c", path, "create", "/users/ann", "uid", "7").code == 0
    assert tool("nicl", "-raw", path, "read", "/users/ann").out == "name: ann\nuid: 7\n"
    assert tool("nicl", "-raw", path, "domainname").code == 123
    (tmp_path / "junk").write_text("nothing of ours, and long enough to be looked at " * 9)
    assert tool("nicl", "-raw", str(tmp_path / "junk"), "ls").code == 200
    assert tool("nicl", "-raw", str(tmp_path), "ls").code == 200


def test_a_database_that_cannot_be_written_keeps_what_it_had(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "new.db")
    assert tool("nicl", "-raw", "-c", path, "create", "/users").code == 0

    def full(store: Store, work: object) -> None:
        raise StoreError(f"{store.path}: database or disk is full", full=True)

    monkeypatch.setattr(Store, "save", full)
    ran = tool("nicl", "-raw", path, stdin=b"create /users/ann\nlist /\nlist /users\n")
    assert ran.err == f"nicl: {path}: database or disk is full; nothing was changed\n"
    assert ran.out == "1         users\n"
    assert tool("nicl", "-raw", path, "create", "/users/ann").code == 103


# --- the prompt -------------------------------------------------------------------------------------------


@pytest.fixture
def session() -> Session:
    text = b"""{ CHILDREN = ( { "name" = ( "users" ); CHILDREN = (
        { "name" = ( "ann" ); }, { "name" = ( "anton" ); }, { } ) }, { "name" = ( "groups" ); } ) }"""
    rules = Rules(b"test", plant(load(text), APPLE))
    return Session(open_local(rules, "test", lambda changes: None), None)


def test_words_are_completed(session: Session) -> None:
    assert nicl.complete_words(session, "re", "re") == ["read ", "rename ", "resync "]
    assert nicl.complete_words(session, "read u", "u") == ["users"]
    assert nicl.complete_words(session, "read /users/an", "/users/an") == ["/users/ann", "/users/anton"]
    assert nicl.complete_words(session, "read /nowhere/", "/nowhere/") == []
    session.cwd = b"/users"
    assert nicl.complete_words(session, "cd ", "") == ["ann", "anton"]


def test_paths_are_resolved_from_where_one_is(session: Session) -> None:
    session.cwd = b"/users/ann"
    for path, whole in [
        (b"..", b"/users"),
        (b"../anton", b"/users/anton"),
        (b".", b"/users/ann"),
        (b"/", b"/"),
    ]:
        assert session.resolve(path) == whole
    assert session.resolve(b"a\\/b") == b"/users/ann/a\\/b"
    assert session.resolve(b"uid=7/..") == b"/users/ann"


def test_a_prompt_keeps_its_history(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    typed = iter(["ls", "quit"])

    def answer(prompt: str) -> str:
        assert prompt == "/ > "
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    assert list(nicl.prompted_lines(session, True)) == ["ls", "quit"]
    assert (tmp_path / ".nicl_history").stat().st_mode & 0o777 == 0o600


class Terminal:
    """A program at a terminal of its own; `says` waits for what it prints."""

    def __init__(self, home: Path, *argv: str) -> None:
        self._ours, theirs = pty.openpty()
        code = (
            "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "  # whose Ctrl-C it is
            "from netinfo.commands.nicl import main; main()"
        )
        environment = {**os.environ, "HOME": str(home), "TERM": "dumb", "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self._said = b""

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def says(self, text: str) -> None:
        """Wait until it has printed this since the last time."""
        while text.encode() not in self._said:
            ready, _, _ = select.select([self._ours], [], [], 20)
            assert ready, f"{text!r} was not printed after {self._said!r}"
            self._said += os.read(self._ours, 65536)
        self._said = self._said.partition(text.encode())[2]

    def interrupt(self) -> None:
        """Ctrl-C until something is printed: Python notices a signal only while it waits for a key."""
        for _ in range(20):
            self.type("\x03")
            if select.select([self._ours], [], [], 1)[0]:
                return

    def end(self) -> int:
        code = self.process.wait(timeout=20)
        os.close(self._ours)
        return code


def test_a_terminal_has_a_prompt_with_history_completion_and_ctrl_c(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "-raw", "-c", str(tmp_path / "new.db"))
    terminal.says("/ > ")
    terminal.type("create /users/ann uid 101\n")
    terminal.says("/ > ")
    terminal.type("read /us\t")
    terminal.says("ers")
    terminal.type("/an\t uid\n")
    terminal.says("uid: 101")
    terminal.says("/ > ")
    terminal.type("delete /users")
    terminal.says("/users")
    terminal.interrupt()
    terminal.says("/ > ")
    terminal.type("\x10\n")  # the line before this one, which was never finished
    terminal.says("uid: 101")
    terminal.says("/ > ")
    terminal.type("read /nowhere\n")
    terminal.says("nicl: /nowhere: No such directory")
    terminal.says("/ > ")
    terminal.type("auth zed pencil\n")
    terminal.says("No such user")
    terminal.says("/ > ")
    terminal.type("\x04")
    assert terminal.end() == 0
    history = (tmp_path / ".nicl_history").read_text()
    assert "create /users/ann uid 101" in history.splitlines()
    assert "pencil" not in history


def test_wrong_usage_and_help(tool: Tool) -> None:
    assert "usage: nicl" in tool("nicl").err
    ran = tool("nicl", "--help")
    assert all(name in ran.out for command in COMMANDS for name in command.names)
    assert tool("nicl", "-t", "nonsense", "ls").code == 217
