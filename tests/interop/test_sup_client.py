"""Our `sup` where it does better than Debian's (SUP 11, the rows marked D), at Debian's server and at ours."""

import fcntl
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.interop.pairs import OURS, REAL_SERVER, Pair, our_client
from tests.interop.programs import SUP, run_our_sup
from tests.interop.trees import odd_tree, snapshot, without_times, write
from tests.peers import DebianSup, next_second, peer, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.root]

only_real_server = pytest.mark.parametrize("pair", [REAL_SERVER], indirect=True)


def ran(pair: Pair, *flags: str, options: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the client and see its exit status, too."""
    supfile = pair.cli.parent / "supfile"
    supfile.write_text(pair.line(options))
    return pair.run(*flags, supfile, network=pair.network)


@our_client
def test_directories_with_files_of_the_users_own_stay(pair: Pair) -> None:
    """Row 5: Debian's client runs `rm -rf`."""
    pair.serve(a="a")
    write(pair.srv, "data/dir/x", b"x")
    pair.sup()
    write(pair.cli, "data/dir/mine", b"mine")
    (pair.srv / "data/dir/x").unlink()
    (pair.srv / "data/dir").rmdir()
    said = pair.sup("-v", "-d")
    assert "Deleted file data/dir/x" in said
    assert "Unable to delete directory data/dir (it holds files that no upgrade brought here)" in said
    assert "completed at" in said
    assert pair.got("data/dir/mine") == "mine"
    assert b"data/dir" in pair.last()
    (pair.cli / "data/dir/mine").unlink()
    assert "Deleted directory data/dir" in pair.sup("-v", "-d")


@our_client
def test_keys_of_the_void_build(pair: Pair) -> None:
    """Row 16: a real key is refused by Debian's server, the constant one is none."""
    pair.serve(a="a")
    assert ran(pair, "-v", options="crypt=SuperMan").returncode == 0
    pair.again()
    refused = ran(pair, "-v", options="crypt=secret")
    assert refused.returncode == 1
    assert b"SCM GOAWAY" in refused.stdout
    assert pair.names() == set()


@our_client
def test_a_lock_that_another_client_holds(pair: Pair) -> None:
    """Row 20: no waiting."""
    pair.serve(a="a")
    pair.sup()
    with (pair.cli / "sup/demo/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        aborted = ran(pair)
        assert aborted.returncode == 1
        assert b"Can't lock collection demo" in aborted.stderr
    assert ran(pair).returncode == 0


@our_client
def test_refusals(pair: Pair, tmp_path: Path) -> None:
    """Row 22, and the exit status that tells of each."""
    pair.serve(a="a")
    line = pair.line()
    for lines, answer in (
        (line.replace(f"base={pair.cli} ", f"base={pair.srv} "), "same host to same directory"),
        (line.replace(str(pair.srv), str(tmp_path / "nowhere")), "Can't chdir to base directory"),
        (line.replace("demo", "nocoll", 1), "Can't read list file sup/nocoll/list"),
        (line + "release=nosuch", "Invalid release nosuch for collection demo"),
        (line.replace(str(pair.cli), str(tmp_path / "none")), "Can't change to base directory"),
    ):
        supfile = tmp_path / "supfile"
        supfile.write_text(lines.replace("\n", " ") + "\n")
        failed = pair.run("-v", supfile, network=pair.network)
        assert failed.returncode == 1, lines
        assert answer in failed.stderr.decode()
    assert pair.names() == set()


@only_real_server
def test_a_server_that_crashes(pair: Pair) -> None:
    """Row 26: Debian's server does at an owner without a name."""
    pair.serve(a="a", b="b")
    os.chown(pair.srv / "data/b", 3_999_999, 0)
    aborted = ran(pair, "-v")
    assert aborted.returncode == 1
    assert b"closed the connection" in aborted.stderr
    assert pair.when() is None
    os.chown(pair.srv / "data/b", 0, 0)
    assert ran(pair).returncode == 0
    assert pair.got("data/b") == "b"


@only_real_server
def test_files_beyond_2_gib(pair: Pair) -> None:
    """Row 29: Debian's server announces them with a negative count."""
    pair.serve(a="a", z="z")
    write(pair.srv, "data/big")
    os.truncate(pair.srv / "data/big", 2**31)
    aborted = ran(pair, "-v")
    assert aborted.returncode == 1
    assert pair.when() is None
    assert pair.got("data/a") == "a"
    assert pair.got("data/big") is None
    assert not list(pair.cli.rglob("#*"))


@our_client
@pytest.mark.parametrize("flags", [("-d",), ("-d", "--follow-symlinks")])
def test_nothing_is_deleted_through_a_link(pair: Pair, flags: tuple[str, ...]) -> None:
    """Row 31: Debian's client does."""
    pair.serve(a="a")
    write(pair.srv, "data/dir/x", b"x")
    pair.sup()
    (pair.cli / "precious").mkdir()
    (pair.cli / "data/dir").rename(pair.cli / "moved")
    (pair.cli / "data/dir").symlink_to("../precious")
    write(pair.cli, "precious/x", b"precious")
    (pair.srv / "data/dir/x").unlink()
    pair.sup("-v", *flags)
    assert pair.got("precious/x") == "precious"


@our_client
def test_a_link_that_points_elsewhere_is_put_right(pair: Pair) -> None:
    """Row 39: Debian's client makes one of another name."""
    pair.serve("upgrade data\nsymlink data/sl\n", a="a")
    (pair.srv / "data/sl").symlink_to("a")
    pair.sup()
    next_second()
    pair.sup()
    (pair.cli / "data/sl").unlink()
    (pair.cli / "data/sl").symlink_to("elsewhere")
    pair.sup("-a")
    assert os.readlink(pair.cli / "data/sl") == "a"
    assert pair.names() == {"data", "data/a", "data/sl"}


@our_client
@pytest.mark.parametrize("full", ["large", "z"])
def test_a_full_disk(pair: Pair, full: str) -> None:
    """Row 38: what does not fit is not installed, the run says so, and the next one brings it."""
    pair.serve(a="a", large="old", z="old z")
    pair.sup()
    next_second()
    write(pair.srv, f"data/{full}", os.urandom(300_000), mtime=1_700_000_001)
    supfile = pair.cli.parent / "supfile"
    supfile.write_text(pair.line())
    copy, back = f"cp -a {pair.cli}/. {pair.cli.parent}/kept", f"cp -a {pair.cli.parent}/kept/. {pair.cli}"
    mount = f"{copy} && mount -t tmpfs -o size=200k tmpfs {pair.cli} && {back}"
    script = f'{mount}; "$@" -P -v {supfile}; echo status $?; cat {pair.cli}/data/{full}; ls -A {pair.cli}/sup/demo'
    command = [peer("unshare"), "--mount", "--propagation", "private", "sh", "-c", script, "sh", *SUP]
    if pair.network is not None:
        command = pair.network.command(command)
    filled = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert b"completed with errors" in filled.stdout
    assert b"No space left on device" in filled.stderr
    assert b"status 1\nold" in filled.stdout
    assert b".sup" not in filled.stdout.rpartition(b"status")[2]
    assert "completed at" in pair.sup("-v")
    assert snapshot(pair.cli)[b"data/" + full.encode()] == snapshot(pair.srv)[b"data/" + full.encode()]


@our_client
def test_a_file_that_shrinks_while_it_is_sent(pair: Pair) -> None:
    """Row 36: the old file stays, what came before it is installed, and the next run completes."""
    pair.serve(a="old a", big="old", z="old z")
    pair.sup()
    next_second()
    for name in "az":
        write(pair.srv, f"data/{name}", b"new", mtime=1_700_000_001)
    os.truncate(pair.srv / "data/big", 1 << 28)
    supfile = pair.cli.parent / "supfile"
    supfile.write_text(pair.line())
    command = [*SUP, "-P", str(supfile)]
    if pair.network is not None:
        command = pair.network.command(command)
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    arriving = pair.cli / "sup/demo"
    wait_until(lambda: any(temp.stat().st_size > 1 << 20 for temp in arriving.glob("#*/*")), "the big file")
    client.send_signal(signal.SIGSTOP)
    os.truncate(pair.srv / "data/big", 1000)
    client.send_signal(signal.SIGCONT)
    said, complaint = client.communicate(timeout=60)
    assert client.returncode == 1
    assert b"demo: aborted: " in complaint
    assert b"closed the connection" in complaint
    assert b"aborted at" in said
    assert (pair.got("data/a"), pair.got("data/big"), pair.got("data/z")) == ("new", "old", "old z")
    assert not list(pair.cli.rglob("#*"))
    pair.sup()
    assert without_times(snapshot(pair.cli), b"data") == without_times(snapshot(pair.srv), b"data")


@pytest.mark.parametrize("pair", [REAL_SERVER, OURS], indirect=True)
def test_switching_between_the_clients_on_one_base(pair: Pair, debian_sup: DebianSup) -> None:
    """`when`, `last` and `refuse` are the original's: neither client fetches what the other has brought."""
    pair.options = "delete"
    odd_tree(pair.srv, small=40, large=1 << 20)
    clients = (debian_sup, run_our_sup, debian_sup, run_our_sup)
    pair.run = clients[0]
    assert "completed at" in pair.sup("-v")
    (pair.cli / "sup/demo/refuse").write_text("data/private\n")
    last = pair.last()
    for number, client in enumerate(clients[1:]):
        pair.run = client
        next_second()
        pair.sup()
        said = pair.sup("-v")
        assert "completed at" in said
        assert "Receiving" not in said
        assert "Deleted" not in said
        # A name with a newline is two lines of Debian's, and a comment to Debian's client in ours.
        kept = set(snapshot(pair.srv)) - {b"data/private"}
        assert kept & set(last) == kept & set(pair.last())
        next_second()
        (pair.srv / f"data/many/0/{number}").unlink()
        write(pair.srv, f"data/many/0/2{number}", b"changed", mtime=1_800_000_000 + number)
        said = pair.sup("-v")
        assert said.count("Receiving file") == 1
        assert said.count("Deleted file") == 1
        last = pair.last()
    touched = (b"data/many/0",)
    assert without_times(snapshot(pair.cli), *touched) == without_times(snapshot(pair.srv), *touched)


@our_client
@pytest.mark.parametrize("window", [1, 2, 1000])
def test_windows(pair: Pair, window: int) -> None:
    """Files asked for ahead, with link groups, whose followers are not sent by themselves (SUP 10.2)."""
    pair.serve(**{f"f{number:03}": str(number) for number in range(100)})
    pair.control("logfile", "")
    for number in range(0, 100, 3):
        os.link(pair.srv / f"data/f{number:03}", pair.srv / f"data/link{number}")
    assert ran(pair, "--window", str(window)).returncode == 0
    assert snapshot(pair.cli) == snapshot(pair.srv)
    if window == 1:
        pair.logged(" default 0 Success")


@only_real_server
def test_debians_server_is_not_waited_for(pair: Pair) -> None:
    """SUP 10: 45 ms a file for its own client."""
    pair.serve(**{f"f{number}": "x" * 6000 for number in range(300)})
    began = time.monotonic()
    assert ran(pair).returncode == 0
    assert time.monotonic() - began < 300 * 0.03
    assert stat.S_IMODE(os.stat(pair.cli / "data/f0").st_mode) == 0o644
