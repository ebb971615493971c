"""The command `sup` as its users run it: what it prints where, and the exit status, against our own server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.interop.programs import SUP, OurSupfilesrv, starting_supfilesrv
from tests.interop.trees import collection, write
from tests.peers import free_port, loopback, wait_until
from wire.capture.conversations import dissect

Ran = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurSupfilesrv]:
    with starting_supfilesrv(tmp_path_factory.mktemp("server")) as start:
        yield start("--base", str(tmp_path_factory.getbasetemp()))


@attrs.frozen
class Client:
    """A client with a base of its own for collection `demo`."""

    top: Path
    host: str

    def line(self, name: str = "demo", options: str = "", host: str = "") -> str:
        """A line of a supfile."""
        host = host or self.host
        return f"{name} host={host} base={self.top}/cli hostbase={self.top}/srv timeout=0 {options}\n"

    def sup(self, *arguments: str, lines: str = "", **environment: str) -> Ran:
        """Run `sup -P` with the arguments and a supfile."""
        supfile = self.top / "supfile"
        supfile.write_text(lines or self.line())
        return self.run(str(supfile), *arguments, **environment)

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> Ran:
        return subprocess.run(
            [*SUP, "-P", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.top,
            env={**os.environ, "COLUMNS": "100", **environment},
        )

    def got(self, name: str) -> str | None:
        path = self.top / "cli/data" / name
        return path.read_text() if path.is_file() else None


@pytest.fixture
def client(tmp_path: Path, server: OurSupfilesrv) -> Client:
    (tmp_path / "cli").mkdir()
    collection(tmp_path / "srv", "upgrade data\n")
    write(tmp_path / "srv", "data/a", b"a")
    return Client(tmp_path, server.host)


def test_nothing_is_said_when_all_goes_well(client: Client) -> None:
    ran = client.sup()
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert client.got("a") == "a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Need either -s or supfile"),
        (("-y", "f"), "Invalid flag -y"),
        (("--frob", "f"), "Invalid option --frob"),
        (("--window", "0", "f"), "--window needs a number from 1 to 1000000, not '0'"),
        (("--port",), "--port needs a value"),
        (("{supfile}", "nosuch"), "has no collection nosuch"),
    ],
)
def test_wrong_usage(client: Client, arguments: tuple[str, ...], message: str) -> None:
    (client.top / "supfile").write_text(client.line())
    ran = client.run(*(argument.format(supfile=client.top / "supfile") for argument in arguments))
    assert ran.returncode == 2
    assert ran.stderr.startswith("sup: ")
    assert message in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("demo host=h color=red\n", "color"),
        ("demo host=h timeout=soon\n", "timeout"),
    ],
)
def test_supfiles_that_cannot_be_understood(client: Client, lines: str, message: str) -> None:
    ran = client.sup(lines=lines)
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_missing_supfile(client: Client) -> None:
    ran = client.run("nowhere")
    assert (ran.returncode, ran.stderr) == (
        1,
        "sup: can't open supfile nowhere: No such file or directory\n",
    )


@pytest.mark.parametrize("flags", [(), ("-S",), ("-v",), ("-m",)])
def test_failures_are_told_whatever_the_flags(client: Client, flags: tuple[str, ...]) -> None:
    ran = client.sup(*flags, lines=client.line("unknown") + client.line())
    assert ran.returncode == 1
    assert "sup: unknown: aborted: SCM GOAWAY Can't read list file sup/unknown/list" in ran.stderr
    assert client.got("a") == "a"  # the next collection is none the worse for it
    if "-S" in flags:
        assert ran.stdout == ""


def test_a_server_that_is_not_there(client: Client) -> None:
    ran = client.sup(lines=client.line(host=loopback()))
    assert ran.returncode == 1
    assert "Can't connect to host 127." in ran.stderr
    assert "refused" in ran.stderr.lower()


def test_json(client: Client) -> None:
    ran = client.sup("--json", "-v", lines=client.line("unknown") + client.line())
    assert ran.returncode == 1
    failed, done = json.loads(ran.stdout)
    assert failed["status"] == "aborted"
    assert "Can't read list file" in failed["problems"][0]
    assert done == {
        "collection": "demo",
        "host": client.host,
        "status": "done",
        "problems": [],
        "listed": 2,
        "needed": 2,
        "denied": 0,
        "received": 2,
        "bytes": 1,
    }
    assert "SUP Receiving file data/a" in ran.stderr


def test_a_supfile_from_standard_input(client: Client) -> None:
    ran = client.run("-v", "-", stdin=client.line())
    assert ran.returncode == 0
    assert ran.stdout.startswith("SUP 8.26 (4.3 BSD) for file Standard Input at ")


@pytest.mark.parametrize("written", ["host={dead},{live}", "host={live} , {dead}", "host = {dead},,{live}"])
def test_several_hosts(client: Client, written: str) -> None:
    hosts = written.format(dead=loopback(), live=client.host)
    line = client.line().replace(f"host={client.host}", hosts, 1)
    ran = client.sup(lines=line)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert client.got("a") == "a"


def test_dry_run(client: Client) -> None:
    for flag in ("-f", "--dry-run"):
        ran = client.sup(flag)
        assert ran.returncode == 0
        assert "SUP Would create file data/a" in ran.stdout
        assert client.got("a") is None


def test_times_of_last_upgrades(client: Client) -> None:
    ran = client.sup("-t")
    assert (ran.returncode, ran.stdout) == (0, "SUP No update has occurred yet for collection demo\n")
    client.sup()
    ran = client.sup("-t")
    assert ran.returncode == 0
    assert ran.stdout.startswith("SUP Last update occurred at ")
    assert ran.stdout.endswith(" for collection demo\n")
    ran = client.sup("-t", lines=client.line().replace("/cli", "/nowhere"))
    assert ran.returncode == 1
    assert "Can't change to base directory" in ran.stderr


def test_system_collections(client: Client) -> None:
    (client.top / "coll.list").write_text(client.line().replace(f"host={client.host} ", ""))
    (client.top / "coll.what").write_text(client.line())
    where = {"GHOSTPORTS_SUPFILES": str(client.top)}
    ran = client.run("-s", **where)
    assert ran.returncode == 1
    assert "no host for collection demo" in ran.stderr
    (client.top / "coll.host").write_text("other = elsewhere\n")
    ran = client.run("-s", **where)
    assert (ran.returncode, "no host for collection demo" in ran.stderr) == (1, True)
    (client.top / "coll.host").write_text(f"demo = {client.host}\n")
    ran = client.run("-s", **where)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert client.got("a") == "a"
    assert "Last update" in client.run("-st", **where).stdout
    assert client.run("-s", "demo", **where).returncode == 0


def mailer(client: Client, status: int = 0) -> dict[str, str]:
    """A `mail` program that writes down what it is given."""
    (client.top / "bin").mkdir(exist_ok=True)
    program = client.top / "bin/mail"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {client.top}/mailed\ncat >> {client.top}/mailed\nexit {status}\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{client.top}/bin:{os.environ['PATH']}"}


def test_mail(client: Client) -> None:
    ran = client.sup("-v", "-M", "joe@example.invalid", **mailer(client))
    assert (ran.returncode, ran.stdout) == (0, "")
    mailed = (client.top / "mailed").read_text()
    assert mailed.startswith("-s SUP Upgrade of demo joe@example.invalid\nSUP 8.26")
    assert "SUP Receiving file data/a\n" in mailed
    client.sup("-v", "-m", lines=client.line(options="notify=ann"), **mailer(client))
    assert (client.top / "mailed").read_text().startswith("-s SUP Upgrade of demo ann\n")


def test_mail_that_cannot_be_sent(client: Client) -> None:
    ran = client.sup("-v", "-M", "joe", PATH=str(client.top))
    assert "can't mail to joe: the program `mail` cannot be run (No such file or directory)" in ran.stderr
    assert "SUP Receiving file data/a" in ran.stderr  # nothing is lost
    assert ran.returncode == 0
    ran = client.sup("-v", "-M", "joe", **mailer(client, 3))
    assert "`mail` ended with status 3" in ran.stderr


@pytest.mark.parametrize("window", ["1", "7", "1000"])
def test_windows(client: Client, window: str) -> None:
    for number in range(30):
        write(client.top / "srv", f"data/f{number}", b"%d" % number)
    assert client.sup("--window", window).returncode == 0
    assert client.got("f29") == "29"


def test_the_network_trace_shows_no_password(client: Client) -> None:
    ran = client.sup("-NNN", lines=client.line(options="login=anon password=secret"))
    assert ran.returncode == 0
    assert "SCM Writing message 105" in ran.stderr
    assert "SCM Reading string data/a" in ran.stderr
    assert "secret" not in ran.stderr


def test_recordings(client: Client) -> None:
    assert client.sup("--pcap", str(client.top / "r.pcap")).returncode == 0
    assert b"data/a" in (client.top / "r.pcap").read_bytes()
    assert (client.top / "r.pcap").stat().st_mode & 0o777 == 0o600
    ran = client.sup("--pcap", str(client.top / "nowhere/r.pcap"))
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("option", "shown"), [("--json", True), ("--redact", False)])
def test_logins_in_recordings(client: Client, option: str, shown: bool) -> None:
    lines = client.line(options="login=anon password=swordfish")
    recording = client.top / "r.pcap"
    assert client.sup("--pcap", str(recording), option, lines=lines).returncode == 0
    with recording.open("rb") as file:
        (login,) = [message.value for message in dissect(file) if message.name == "LOGIN"]
    assert (login.user == b"anon") is shown
    assert (login.password == b"swordfish") is shown


def test_progress(client: Client) -> None:
    write(client.top / "srv", "data/big", os.urandom(3 << 20))
    assert client.sup("--progress").returncode == 0
    assert client.got("a") == "a"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize(("flag", "status"), [("-v", 0), ("--json", 1)])
def test_nobody_takes_what_is_printed(client: Client, flag: str, status: int) -> None:
    """The files come all the same."""
    (client.top / "supfile").write_text(client.line() * 2)
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [*SUP, "-P", flag, str(client.top / "supfile")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == status
    assert ran.stderr == "sup: can't write to standard output: No space left on device\n"
    assert client.got("a") == "a"


def test_help_and_version(client: Client) -> None:
    assert client.run("--help").stdout.startswith("usage: sup")
    assert client.run("--version").stdout.startswith("sup (Ghostports) ")


def test_an_interrupted_run(client: Client) -> None:
    """Ctrl-C: nothing half done is left behind, a command that runs is ended, and the status is 1."""
    collection(client.top / "srv", "upgrade data\nexecute sleep 600; true (data/a)\n")
    write(client.top / "srv", "data/b", b"b")
    (client.top / "supfile").write_text(client.line())
    process = subprocess.Popen(
        [*SUP, "-P", "-v", "-e", str(client.top / "supfile")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: client.got("a") == "a", "the first file")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not list((client.top / "cli").rglob("#*"))


def test_start_up_is_light() -> None:
    """What takes long to import is imported when it is needed (at most 0.2 s to start)."""
    script = "import sys, sup.commands.sup; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for heavy in ("twisted", "construct", "rich", "click", "asyncio", "subprocess"):
        assert f"'{heavy}'" not in loaded


def test_a_run_loads_no_more_than_it_needs(client: Client) -> None:
    (client.top / "supfile").write_text(client.line())
    script = "import sys; from sup.commands.sup import main; main(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", script, "-P", str(client.top / "supfile")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "twisted.internet.reactor" in loaded
    others = {"urllib.request", "email", "rich", "click", "OpenSSL", "passlib", "uvloop"}
    ours = {"wire.explain", "wire.formats.rpc", "wire.capture", "sup.server", "sup.trace", "emulators"}
    assert not (others | ours) & set(loaded)


def test_another_port(client: Client) -> None:
    ran = client.sup("--port", str(free_port()))
    assert ran.returncode == 1
    assert "Can't connect to host" in ran.stderr
