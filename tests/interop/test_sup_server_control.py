"""Our supfilesrv's releases, hosts, keys, locks, logins and other control files, with Debian's client and ours."""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sup.passwords import hash_password
from tests.interop.pairs import PairOfOurServer, our_server
from tests.interop.programs import SUPFILESRV, StartServer
from tests.interop.trees import let_all_in, snapshot, without_times, write
from tests.peers import next_second, peer, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.root, our_server]


StartPair = Callable[..., PairOfOurServer]


@pytest.fixture
def own_pair(pair: PairOfOurServer, our_supfilesrv: StartServer, tmp_path: Path) -> StartPair:
    """Starts a server of the test's own with the flags given, and gives the pair it makes with the client."""

    def start(*flags: str, user: str = "root") -> PairOfOurServer:
        pair.server = our_supfilesrv("--base", str(tmp_path), *flags, user=user)
        return pair

    return start


def test_releases(pair: PairOfOurServer) -> None:
    """Row 13."""
    pair.serve("upgrade .\n")
    for name in ("p1/a", "p1/c", "p2/a", "p2/b", "p3/z"):
        write(pair.srv, name, name.encode())
    pair.control("list.two", "upgrade a b\n")
    pair.control("host.no", "192.0.2.1\n")
    pair.control(
        "releases",
        "one prefix=p1 next = two\ntwo prefix=p2 list=list.two\nbad prefix=nowhere\n"
        "closed prefix=p3 host=host.no\n",
    )
    assert "completed" in pair.sup("-v", options="release=one use-rel-suffix")
    assert pair.names() == {"a", "b", "c"}
    assert [pair.got(name) for name in "abc"] == ["p1/a", "p2/b", "p1/c"]
    assert pair.last(".one") == [b".", b"a", b"b", b"c"]
    assert pair.when(".one") is not None
    assert pair.when() is None
    for release, answer in (
        ("none", "Invalid release"),
        ("bad", "Invalid release"),
        ("closed", "not permitted"),
    ):
        pair.again()
        said = pair.sup("-v", options=f"release={release}")
        assert answer.lower() in said.lower() or "permission" in said.lower()
        assert pair.names() == set()
    (pair.srv / "sup/demo/releases").write_text("one color=red\n")
    assert "SCM GOAWAY Invalid release option color for release one" in pair.sup("-v", options="release=one")


def test_prefixes_on_both_sides(pair: PairOfOurServer, tmp_path: Path) -> None:
    """Row 14."""
    pair.serve("upgrade x\n")
    pair.control("prefix", "there\n")
    write(pair.srv, "there/x/f", b"f")
    (pair.cli / "here").mkdir()
    assert "completed" in pair.sup("-v", options="prefix=here")
    assert pair.got("here/x/f") == "f"
    assert pair.last() == [b"x", b"x/f"]
    pair.control("prefix", str(tmp_path / "nowhere"))
    assert "SCM GOAWAY Can't chdir to" in pair.sup("-v")


@pytest.mark.parametrize(
    ("text", "admitted"),
    [
        (None, True),
        ("", False),
        ("127.0.0.1\n", True),
        ("localhost\n", True),
        ("192.0.2.1\n", False),
        ("!localhost\n", False),
        ("!example.invalid\n!localhost\n", True),
        ("! 127.0.0.1\n", False),
        ("LOCAL\n", False),
        ("127.0.0.0/8\n", True),
        ("!127.0.0.0/8\n", False),
    ],
)
def test_host_files(pair: PairOfOurServer, text: str | None, admitted: bool) -> None:
    """Row 15, and networks."""
    pair.serve(a="a")
    log = pair.control("logfile", "")
    if text is not None:
        pair.control("host", text)
    said = pair.sup("-v")
    assert (pair.got("data/a") == "a") is admitted
    assert ("ermission denied" in said or "not permitted" in said or "access" in said) is not admitted
    pair.logged(" 0 Success" if admitted else " 2 Permission denied")
    assert log.read_text().count("\n") == 1


def test_keys(pair: PairOfOurServer) -> None:
    """Row 16, without its change of account, which our server does not make."""
    pair.serve(a="a")
    crypt = pair.control("crypt", "realkey\n")
    assert "SCM GOAWAY Client not encrypting data properly" in pair.sup("-v")
    assert "completed" not in pair.sup("-v", options="crypt=key")
    assert pair.names() == set()
    crypt.write_text("SuperMan\n")
    assert "completed" in pair.sup("-v", options="crypt=SuperMan")
    pair.again()
    assert "completed" in pair.sup("-v")
    crypt.write_text("")
    pair.again()
    assert "completed" in pair.sup("-v")
    pair.control("host", "127.0.0.1 another key\n")
    assert "SCM GOAWAY Client not encrypting data properly" in pair.sup("-v", "-o")


def test_locks(pair: PairOfOurServer) -> None:
    """Row 20, the server's side."""
    pair.serve(a="a")
    lock = pair.control("lock", "")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "busy" in pair.sup("-v")
        assert pair.names() == set()
        fcntl.flock(held, fcntl.LOCK_SH)
        assert "completed" in pair.sup("-v")


def test_busy(own_pair: StartPair) -> None:
    """Row 21."""
    pair = own_pair("-C", "0")
    pair.serve(a="a")
    began = time.monotonic()
    said = pair.sup("-v")
    assert "busy" in said
    assert "aborted" in said
    assert "retry" not in said
    line = pair.line().replace("timeout=0", "timeout=2")
    said = pair.sup("-v", lines=line)
    assert "Will retry in 2 seconds" in said
    assert 2 <= time.monotonic() - began < 30
    assert pair.names() == set()


def test_places_are_given_back(own_pair: StartPair) -> None:
    """However a session ends."""
    pair = own_pair("-C", "1")
    pair.serve(a="a")
    for name in ("demo", "unknown", "demo", "unknown", "demo"):
        assert "busy" not in pair.sup("-v", name=name)
    pair.control("host", "192.0.2.1\n")
    for _ in range(3):
        assert "busy" not in pair.sup("-v")
    (pair.srv / "sup/demo/host").unlink()
    assert "completed" in pair.sup("-v")


def test_refusals(pair: PairOfOurServer, tmp_path: Path) -> None:
    """Row 22, but for the logins."""
    pair.serve(a="a")
    pair.cli, own = pair.srv, pair.cli
    assert "Attempt to upgrade from same host to same directory" in pair.sup("-v")
    pair.cli = own
    for wrong in (tmp_path / "nosuch", Path("/etc"), Path("/nowhere"), tmp_path / "cli/../srv"):
        line = pair.line().replace(str(pair.srv), str(wrong))
        assert f"SCM GOAWAY Can't chdir to base directory {wrong}\n" in pair.sup("-v", lines=line)
    line = pair.line().replace(f"hostbase={pair.srv}", "")
    assert "SCM GOAWAY Can't chdir to base directory /usr/demo" in pair.sup("-v", lines=line)
    assert "SCM GOAWAY Can't read list file sup/nocoll/list" in pair.sup("-v", name="nocoll")
    outside = (
        "SCM GOAWAY Can't chdir to base directory" if pair.real_client else "not the name of a collection"
    )
    assert outside in pair.sup("-v", name="../sup/demo")
    assert pair.names() == set()
    assert "completed" in pair.sup("-v", options="login=anon password=whatever")
    assert "completed" in pair.sup("-v", options="login=anon,wheel,account")


def test_logins(pair: PairOfOurServer, our_supfilesrv: StartServer, tmp_path: Path) -> None:
    """Row 22: accounts are the server's own; 988 for every other, and never a crash."""
    (tmp_path / "c.toml").write_text(
        f"""
        [collections.demo]
        base = "{pair.srv}"
        users = ["joe"]
        [users]
        joe = "{hash_password(b"secret")}"
        ann = "{hash_password(b"secret")}"
        """
    )
    pair.server = our_supfilesrv("--config", str(tmp_path / "c.toml"))
    pair.serve(a="a")
    for options, answer in (
        ("", "Reason:  Access denied"),
        ("login=joe", "Reason:  Invalid password"),
        ("login=joe password=wrong", "Reason:  Invalid password"),
        ("login=ann password=secret", "Reason:  Access denied"),
        ("login=root password=secret", "Reason:  Unknown user root"),
        ("login=nosuchuser password=x", "Reason:  Unknown user nosuchuser"),
    ):
        said = pair.sup("-v", options=options)
        assert answer in said
        assert "Improper login" in said or not options
        assert pair.names() == set()
    assert "completed" in pair.sup("-v", options="login=joe password=secret")
    assert not pair.server.logged("secret")


def test_a_server_without_privileges(own_pair: StartPair, tmp_path: Path) -> None:
    """Row 33."""
    let_all_in(tmp_path)
    pair = own_pair(user="nobody")
    pair.serve(a="a", secret="s")
    (pair.srv / "data/secret").chmod(0o600)
    status = Path(f"/proc/{pair.server.process.pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000400" in status  # the ports below 1024 and nothing else
    assert "completed" in pair.sup("-v")
    assert pair.names() == {"data", "data/a"}
    assert pair.server.logged("data/secret is not served: not readable")


def test_a_port_in_use(pair: PairOfOurServer) -> None:
    """Row 33, the end of it."""
    again = [*SUPFILESRV, "-P", "--listen", pair.server.host, "--base", str(pair.srv), "--user", "root"]
    ran = subprocess.run(again, capture_output=True, timeout=30, check=False)
    assert ran.returncode == 1
    assert b"is already in use" in ran.stderr


def test_unreadable_files_and_a_scan_made_by_root(own_pair: StartPair, tmp_path: Path) -> None:
    """Row 23."""
    let_all_in(tmp_path)
    pair = own_pair(user="nobody")
    pair.serve(a="a", gone="g", secret="s", turned="t", z="z")
    write(pair.srv, "data/closed/inner", b"x")
    (pair.srv / "data/secret").chmod(0o600)
    (pair.srv / "data/closed").chmod(0o700)
    assert "completed at" in pair.sup("-v")
    assert pair.names() == {"data", "data/a", "data/gone", "data/turned", "data/z"}
    pair.again()
    debian_scan(pair)
    (pair.srv / "data/gone").unlink()
    (pair.srv / "data/turned").unlink()
    (pair.srv / "data/turned").mkdir()
    said = pair.sup("-v")
    for name in ("data/gone", "data/turned", "data/closed/inner"):
        assert f"Access denied to {name}" in said
    assert "data/secret" in said
    assert "completed with errors" in said
    assert pair.names() >= {"data", "data/a", "data/z"}
    assert pair.got("data/secret") is None
    assert pair.when() is None


def debian_scan(pair: PairOfOurServer) -> None:
    """Make a scan file with Debian's supscan."""
    subprocess.run([peer("supscan"), "-q", "demo", pair.srv], check=True, timeout=60, capture_output=True)


def our_scan(pair: PairOfOurServer) -> None:
    """Make a scan file with our supscan."""
    from click.testing import CliRunner

    from sup.commands.supscan import main

    ran = CliRunner().invoke(main, ["-q", "demo", str(pair.srv)])
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize("scan", [debian_scan, our_scan])
def test_scan_files(pair: PairOfOurServer, scan: Callable[[PairOfOurServer], None]) -> None:
    """Rows 24 and 30."""
    pair.serve("upgrade data\nsymlink data/sl\nexecute run %s now (data/a)\nbackup data/b\n", a="a", b="b")
    (pair.srv / "data/sl").symlink_to("a")
    os.link(pair.srv / "data/b", pair.srv / "data/hard")
    next_second()
    scan(pair)
    (pair.srv / "sup/demo/list").unlink()
    assert "Please execute run data/a now" in pair.sup("-v")
    assert snapshot(pair.cli) == snapshot(pair.srv)
    assert pair.when() == int((pair.srv / "sup/demo/scan").stat().st_mtime)
    next_second()
    write(pair.srv, "data/a", b"second", mtime=1_700_000_099)
    write(pair.srv, "data/b", b"second", mtime=1_700_000_099)
    assert "Receiving" not in pair.sup("-v")
    # A stale scan file: the new bytes with the old time, put right after the next scan.
    pair.again()
    pair.sup()
    assert pair.got("data/a") == "second"
    assert os.stat(pair.cli / "data/a").st_mtime == 1_700_000_000
    next_second()
    pair.control("list", "upgrade data\nsymlink data/sl\n")
    scan(pair)
    pair.sup()
    assert os.stat(pair.cli / "data/a").st_mtime == 1_700_000_099
    assert without_times(snapshot(pair.cli), b"data") == without_times(snapshot(pair.srv), b"data")


def test_other_and_damaged_scan_files(pair: PairOfOurServer) -> None:
    """Row 24, the end of it."""
    pair.serve(a="a")
    pair.control("scan", "V3\nwhatever\n")
    assert "completed" in pair.sup("-v")
    pair.control("scan", "V2\n100644 1 1 data/a\nnonsense\n")
    before = snapshot(pair.cli), pair.when()
    assert "SCM GOAWAY scanfile format inconsistent" in pair.sup("-v", "-o")
    assert (snapshot(pair.cli), pair.when()) == before


def test_coll_dir(pair: PairOfOurServer, our_supfilesrv: StartServer, tmp_path: Path) -> None:
    """Row 32, the server's side."""
    (tmp_path / "supfiles").mkdir()
    (tmp_path / "supfiles/coll.dir").write_text(f"# comment\ndemo = {pair.srv}\n")
    (tmp_path / "c.toml").write_text(f'supfiles = "{tmp_path}/supfiles"\n')
    pair.server = our_supfilesrv("--config", str(tmp_path / "c.toml"))
    pair.serve(a="a")
    line = pair.line().replace(f"hostbase={pair.srv}", "")
    assert "completed" in pair.sup("-v", lines=line)
    assert pair.got("data/a") == "a"


def test_crosspatch_is_refused(pair: PairOfOurServer, tmp_path: Path) -> None:
    """Row 37, and our deviation from it."""
    (tmp_path / "key").write_text("SuperMan\n")
    command = [peer("supfilesrv"), "-P", "-H", pair.server.host, "root", str(tmp_path / "key"), "-t", "x"]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert b"not" in (ran.stdout + ran.stderr).lower() or ran.returncode != 0
    wait_until(lambda: pair.server.logged("no collection for anon: 0 listed"), "the end in the server's log")


def test_clients_that_may_not_connect(own_pair: StartPair, tmp_path: Path) -> None:
    """Row 40: what hosts.deny did."""
    (tmp_path / "c.toml").write_text('clients = ["192.0.2.0/24", "::1"]\n')
    pair = own_pair("--config", str(tmp_path / "c.toml"))
    pair.serve(a="a")
    said = pair.sup("-v")  # where the reset comes first, the original says that it could not write
    assert "Error reading signon reply" in said or "Network write timed out" in said
    assert "aborted" in said
    assert pair.server.logged("not one of the clients that may connect")
    (tmp_path / "c.toml").write_text('clients = ["192.0.2.0/24", "127.0.0.0/8"]\n')
    pair = own_pair("--config", str(tmp_path / "c.toml"))
    assert "completed" in pair.sup("-v")


def test_historic_lists(own_pair: StartPair) -> None:
    """Row 35, and row 10 as it was: the compatibility switch."""
    pair = own_pair("--historic")
    pair.serve("upgrade .\nomitany data/[ab]x data/a*b\n", ax="", bx="", ab="", axb="")
    pair.sup()
    assert {name for name in pair.names() if name.startswith("data/")} == {"data/ax", "data/ab"}
    # Our client takes nothing from a server for its own control directory.
    assert (pair.cli / "sup/demo/list").exists() is pair.real_client


def test_two_clients_and_one_base(pair: PairOfOurServer, tmp_path: Path) -> None:
    """Row 34."""
    pair.serve(**{f"f{number}": "x" * 3000 for number in range(300)})
    supfile = tmp_path / "both"
    supfile.write_text(pair.line())
    clients = [
        subprocess.Popen(
            [peer("sup"), "-P", "-v", supfile],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    for client in clients:
        output, _ = client.communicate(timeout=60)
        assert client.returncode == 0
        assert b"aborted" not in output
    names = pair.names()
    assert {name for name in names if "#" not in name} == {
        "data",
        *(f"data/f{number}" for number in range(300)),
    }


def test_more_clients_than_places(own_pair: StartPair, tmp_path: Path) -> None:
    """Row 34: three are served, the others are told to come again."""
    pair = own_pair("-C", "3")
    pair.serve("upgrade data\nexecute touch started; sleep 3 (data/a)\n", a="a")

    def client(number: int) -> subprocess.Popen[bytes]:
        (tmp_path / f"cli{number}").mkdir()
        supfile = tmp_path / f"supfile{number}"
        supfile.write_text(pair.line().replace(str(pair.cli), str(tmp_path / f"cli{number}")))
        command = [peer("sup"), "-P", "-v", "-e", str(supfile)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    served = [client(number) for number in range(3)]
    wait_until(
        lambda: all((tmp_path / f"cli{number}/started").exists() for number in range(3)), "three sessions"
    )
    for late in (client(3), client(4)):
        assert b"busy" in late.communicate(timeout=30)[0]
    for each in served:
        assert b"completed at" in each.communicate(timeout=30)[0]
