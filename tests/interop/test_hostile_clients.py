"""What a client can send that is no part of any conversation, and what our server makes of it: nothing much (SUP 9)."""

import contextlib
import os
import resource
import socket
import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sup.names import plain_name
from tests.interop.programs import OurSupfilesrv, StartServer
from tests.interop.raw_client import RawClient
from tests.interop.trees import collection, write
from tests.peers import wait_until
from wire.formats.sup import (
    PROBE_BIG,
    PROBE_LITTLE,
    Done,
    DoneCode,
    Goaway,
    Recv,
    Send,
    SetupCode,
    Signon,
    SignonAck,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    collection(tmp_path / "srv", "upgrade data\n")
    for name in ("a", "b"):
        write(tmp_path, f"srv/data/{name}", name.encode())
    return tmp_path / "srv"


@pytest.fixture
def server(supfilesrv_for_all: OurSupfilesrv) -> OurSupfilesrv:
    return supfilesrv_for_all


def is_well(server: OurSupfilesrv, base: Path) -> bool:
    """Whether the server still serves an ordinary client."""
    with RawClient(server.host) as client:
        names = [entry.name for entry in client.list(base).entries]
    return names == [b"data", b"data/a", b"data/b"]


def memory(server: OurSupfilesrv, what: str = "VmRSS") -> int:
    """Bytes of memory that the server uses."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(what)


def block(data: bytes) -> bytes:
    return struct.pack("<i", len(data)) + data


def integer(value: int) -> bytes:
    return block(struct.pack("<i", value))


END = struct.pack("<i", -1)
NULL = struct.pack("<i", -2)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x04",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 4096,
        b"\xff" * 4096,
        PROBE_LITTLE,
        PROBE_LITTLE + b"\0",
        PROBE_LITTLE + b"\xff" * 100,
        PROBE_LITTLE + struct.pack("<i", 103),
        PROBE_LITTLE + struct.pack("<i", 113) + END,
        PROBE_LITTLE + struct.pack("<i", -1) + NULL + END,
        PROBE_LITTLE + struct.pack("<i", 101) + struct.pack("<i", 5) + b"12345",
        PROBE_LITTLE + struct.pack("<i", 101) + integer(8) + integer(1) + struct.pack("<i", 0x7FFFFFFF),
        PROBE_LITTLE + struct.pack("<i", 101) + integer(8) + integer(1) + struct.pack("<i", -3),
        PROBE_LITTLE + struct.pack("<i", 101) + integer(8) + integer(1) + block(b"x" * 16385) + END,
        PROBE_BIG + struct.pack("<i", 101) + integer(8) + integer(1) + block(b"x") + END,
    ],
)
def test_garbage_instead_of_a_conversation(server: OurSupfilesrv, base: Path, garbage: bytes) -> None:
    with RawClient(server.host) as client:
        with contextlib.suppress(ConnectionError):
            client.write(garbage)
            client.socket.shutdown(socket.SHUT_WR)
        client.ended()
    assert is_well(server, base)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
    [PROBE_LITTLE, END, NULL, integer(0), integer(8), block(b"demo"), *(struct.pack("<i", n) for n in range(100, 119))]
))).map(b"".join))  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_behind_the_probe(server: OurSupfilesrv, data: bytes) -> None:
    with RawClient(server.host) as client:
        with contextlib.suppress(ConnectionError):
            client.write(PROBE_LITTLE + data)
            client.socket.shutdown(socket.SHUT_WR)
        client.ended()


def test_the_server_is_well_after_all_that(server: OurSupfilesrv, base: Path) -> None:
    assert is_well(server, base)
    assert not server.logged("Traceback")
    assert not server.logged("session failed")


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: OurSupfilesrv, base: Path) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(RawClient(server.host)) for _ in range(80)]
        for number, client in enumerate(silent):
            client.write(PROBE_LITTLE[: number % 4])
        began = time.monotonic()
        assert is_well(server, base)
        assert time.monotonic() - began < 5


def test_silence_ends(our_supfilesrv: StartServer, base: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        f'bases = ["{base}"]\n[limits]\nprobe = 0.3\nuntil_refuse = 0.6\nafterwards = 0.9\n'
    )
    server = our_supfilesrv("--config", str(tmp_path / "c.toml"), "-C", "1")
    for steps, least in ((0, 0.3), (1, 0.3), (2, 0.6), (3, 0.6), (4, 0.6), (5, 0.9), (6, 0.9)):
        with RawClient(server.host) as client:
            if steps == 1:
                client.write(PROBE_LITTLE[:2])
            if steps >= 2:
                client.signon()
            if steps >= 3:
                client.setup(base)
            if steps >= 4:
                client.login()
            if steps >= 5:
                client.list_after_login()
            if steps >= 6:
                client.need(b"data/a")
            began = time.monotonic()
            client.ended()
            assert least - 0.1 <= time.monotonic() - began < least + 5
    assert is_well(server, base)  # the only place was given back every time


def test_a_client_that_does_not_read(server: OurSupfilesrv, base: Path) -> None:
    write(base, "data/large", b"x" * (100 << 20))
    before = memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(RawClient(server.host))
            client.list(base)
            client.need(b"data/large")
            client.send(*[Send()] * 3)
        time.sleep(1)
        assert memory(server) - before < 30 << 20
        (base / "data/large").unlink()
        assert is_well(server, base)


def test_a_flood_of_requests(server: OurSupfilesrv, base: Path) -> None:
    """One more request than there can be answers ends the session; what comes after is not even parsed."""
    before = memory(server)
    with RawClient(server.host) as client:
        client.list(base)
        client.need(*[b"data/a"] * 10)
        flood = b"".join(struct.pack("<ii", 113, -1) for _ in range(100_000))
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.write(flood)
        assert memory(server) - before < 30 << 20
    wait_until(lambda: server.logged("SEND came more often"), "the log")
    assert is_well(server, base)


def test_half_a_message_and_then_nothing(server: OurSupfilesrv, base: Path) -> None:
    before = memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(RawClient(server.host))
            client.signon()
            client.setup(base)
            client.login()
            client.write(struct.pack("<i", 109) + struct.pack("<i", 16384) + b"x" * 16000)
        assert is_well(server, base)
        assert memory(server) - before < 20 << 20


@pytest.mark.parametrize("number", [109, 111])
def test_lists_are_read_without_being_held_twice(server: OurSupfilesrv, base: Path, number: int) -> None:
    """200,000 names: much for a client, little for a server."""
    with RawClient(server.host) as client:
        client.signon()
        client.setup(base)
        client.login()
        if number == 111:
            client.list_after_login()
        entry = block(b"a name that is not in the collection") + (integer(0) if number == 111 else b"")
        client.write(struct.pack("<i", number) + entry * 200_000 + NULL + END)
        client.receive()
    assert is_well(server, base)
    assert memory(server, "VmHWM") < 400 << 20


def test_a_list_that_never_ends(our_supfilesrv: StartServer, base: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'bases = ["{base}"]\n[limits]\nmessage = 1000000\n')
    server = our_supfilesrv("--config", str(tmp_path / "c.toml"))
    with RawClient(server.host) as client:
        client.signon()
        client.setup(base)
        client.login()
        part = b"".join(block(b"%d" % number) for number in range(10_000))
        client.write(struct.pack("<i", 109))
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                client.write(part)
        client.ended()
    assert server.logged("Error reading refuse list from client")
    assert memory(server, "VmHWM") < 150 << 20
    assert is_well(server, base)


OUTSIDE = [
    b"/etc/passwd", b"../secret", b"data/../../secret", b"data/../data/a/../../../secret", b"./../secret", b"data//a",
    b"data/a/", b"data/./a", b"", b".", b"..", b"/", b"\0", b"sup/demo/list", b"data/a\0/../../secret",
    b"data/\xff",
]  # fmt: skip


def test_names_that_were_never_offered(server: OurSupfilesrv, base: Path) -> None:
    (base.parent / "secret").write_text("secret")
    with RawClient(server.host) as client:
        client.list(base)
        denied = client.need(*OUTSIDE).names
        assert set(denied) == {plain_name(name) for name in OUTSIDE} - {b"data/a"}
        client.send(Send(), Send(), Done(DoneCode.SUCCESS, None))
        assert client.receive(Recv).name == b"data/a"
        assert client.read(5) == b"a" + END
        assert client.receive(Recv) == Recv()
        assert b"secret" not in client.ended()


@pytest.mark.parametrize(
    "asked",
    [b"/", b"/etc", b"..", b"/tmp/../etc", b"//etc", b"etc", b"/etc\0/tmp", b"/proc/self/root", b"x" * 9000],
)
def test_bases_elsewhere(server: OurSupfilesrv, base: Path, asked: bytes) -> None:
    with RawClient(server.host) as client:
        client.signon()
        with pytest.raises(AssertionError, match="Can't chdir to base directory"):
            client.setup(asked)


def test_a_link_out_of_the_base(
    server: OurSupfilesrv, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (base / "data/passwd").symlink_to("/etc/passwd")
    (base / "data/etc").symlink_to("/etc")
    (base / "sup/other").symlink_to("/etc")
    collection(base, "upgrade data /etc/passwd\n", "absolute")
    (base / "sup/linked").mkdir()
    (base / "sup/linked/list").symlink_to("/etc/passwd")
    assert is_well(server, base)
    with RawClient(server.host) as client:
        client.signon()
        client.setup(base, collection=b"absolute")
        client.login()
        with pytest.raises(AssertionError, match="cannot use /etc/passwd"):
            client.list_after_login()
    with RawClient(server.host) as client:
        client.signon()
        client.setup(base, collection=b"linked")
        client.login()
        with pytest.raises(AssertionError, match="Can't read list file"):
            client.list_after_login()
    with RawClient(server.host) as client:
        client.signon()
        with pytest.raises(AssertionError, match="Can't read prefix file"):
            client.setup(base, collection=b"other")


def test_a_directory_exchanged_for_a_link_between_list_and_need(server: OurSupfilesrv, base: Path) -> None:
    write(base, "data/d/passwd", b"harmless")
    with RawClient(server.host) as client:
        client.list(base)
        (base / "data/d").rename(base / "was")
        (base / "data/d").symlink_to("/etc")
        assert client.need(b"data/d/passwd").names == (b"data/d/passwd",)


def test_a_directory_exchanged_for_a_link_between_need_and_send(server: OurSupfilesrv, base: Path) -> None:
    """Files are read ahead, but not so far as this one is away."""
    for number in range(300):
        write(base, f"data/c{number:03}", b"x" * 9000)
    write(base, "data/d/passwd", b"harmless")
    with RawClient(server.host) as client:
        names = [entry.name for entry in client.list(base).entries if entry.mode & 0o100000]
        client.need(*names)
        (base / "data/d").rename(base / "was")
        (base / "data/d").symlink_to("/etc")
        client.send(*[Send()] * len(names))
        for name in names:
            recv = client.receive(Recv)
            assert recv.name == name
            if name == b"data/d/passwd":
                assert recv.mode == 0
            else:
                assert recv.size is not None
                client.read(recv.size + 4)
    (base / "data/d").unlink()


@pytest.mark.parametrize("change", ["shrink", "grow", "vanish"])
def test_a_file_that_changes_while_it_is_sent(server: OurSupfilesrv, base: Path, change: str) -> None:
    """Row 36, and our deviation from it: a file that grows arrives as announced."""
    size = 60 << 20
    path = base / "data/large"
    write(base, "data/large", b"x" * size)
    with RawClient(server.host) as client:
        client.list(base)
        client.need(b"data/large")
        client.send(Send(), Send(), Done(DoneCode.SUCCESS, None))
        recv = client.receive(Recv)
        assert recv.size == size
        if change == "shrink":
            os.truncate(path, 1 << 20)
            rest = client.ended()
            assert len(rest) < size
            wait_until(lambda: server.logged("data/large became shorter"), "the log")
        else:
            if change == "grow":
                with path.open("ab") as file:
                    file.write(b"y" * (1 << 20))
            else:
                path.unlink()
            assert client.read(size + 4) == b"x" * size + END
            assert client.receive(Recv) == Recv()
    path.unlink(missing_ok=True)
    assert is_well(server, base)


def test_more_connections_than_there_is_room_for(
    our_supfilesrv: StartServer, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(f'bases = ["{base}"]\nmax_clients = 2\n[limits]\nconnections = 200\n')
    server = our_supfilesrv("--config", str(tmp_path / "c.toml"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawClient(server.host)) for _ in range(300)]
            served = [client for client in clients if not _is_closed(client)]
            assert 190 <= len(served) <= 210
        wait_until(lambda: is_well(server, base), "the server to recover")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _is_closed(client: RawClient) -> bool:
    client.socket.settimeout(0.01)
    try:
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_places_are_for_those_who_have_been_granted_one(our_supfilesrv: StartServer, base: Path) -> None:
    """Clients that never name a collection take nobody's place; one more than there are places is told so."""
    server = our_supfilesrv("--base", str(base), "-C", "2")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(RawClient(server.host)).signon()
        for _ in range(2):
            client = stack.enter_context(RawClient(server.host))
            client.signon()
            assert client.setup(base).code == SetupCode.OK
        late = stack.enter_context(RawClient(server.host))
        late.signon()
        assert late.setup(base).code == SetupCode.BUSY
    wait_until(lambda: is_well(server, base), "places to be given back")


def test_goaway_reaches_a_client_that_is_still_sending(server: OurSupfilesrv, base: Path) -> None:
    """SUP 12.1: the connection is not reset while the client has unread words on their way to it."""
    with RawClient(server.host) as client:
        client.write(PROBE_LITTLE)
        client.send(Signon(8, 26, b"x"))
        client.receive(SignonAck)
        client.write(struct.pack("<i", 113) + END + b"\0" * 100_000)
        assert client.receive(Goaway).reason == b"Error reading setup request from client"
