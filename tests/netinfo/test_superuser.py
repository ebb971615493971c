"""Whose socket a caller's is: the kernel's table, and what it says of sockets that are closed already."""

import os
import socket
from pathlib import Path

import pytest

from netinfo.superuser import OwnAddresses, PerConnection, reserved_port, same_user
from wire.transport.tap import Address

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
PEER, LOCAL = Address("127.0.0.1", 0x9C40), Address("127.0.0.1", 0x0369)


def table(tmp_path: Path, uid: int, inode: int) -> tuple[Path, ...]:
    path = tmp_path / "tcp"
    path.write_text(
        f"{HEAD}   0: 0100007F:9C40 0100007F:0369 01 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1\n"
    )
    return (path,)


@pytest.mark.parametrize(
    ("uid", "inode", "admitted"),
    [(1000, 77, True), (1001, 77, False), (0, 77, True), (0, 0, False), (1000, 0, False)],
)
def test_the_socket_must_be_open_and_the_users_or_roots(
    tmp_path: Path, uid: int, inode: int, admitted: bool
) -> None:
    rule = same_user(1000, table(tmp_path, uid, inode))
    assert rule(PEER, LOCAL, "tcp") is admitted
    assert not rule(PEER, LOCAL, "udp")


def test_a_caller_on_this_hosts_own_address_is_looked_up_and_any_other_is_not(tmp_path: Path) -> None:
    """A lab for a class listens where others reach it, and its owner's commands call it there, too."""
    tables = table(tmp_path, 1000, 77)
    text = tables[0].read_text()
    tables[0].write_text(
        text.replace("0100007F", "01AC2AC0") + text.splitlines()[1].replace("0100007F", "02AC2AC0")
    )
    rule = same_user(1000, tables, lambda host: host == "192.42.172.1")
    server = Address("192.42.172.1", LOCAL.port)
    assert rule(Address("192.42.172.1", PEER.port), server, "tcp")
    assert not rule(Address("192.42.172.1", PEER.port + 1), server, "tcp")
    assert not rule(Address("192.42.172.2", PEER.port), Address("192.42.172.2", LOCAL.port), "tcp")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's table of sockets")
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")]
)
def test_a_real_socket_is_its_user_s(family: int, host: str) -> None:
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1" if host == "::" else host, port)):
            server, name = listening.accept()
            with server:
                peer, local = Address.of(name), Address.of(server.getsockname())
                assert same_user(os.getuid())(peer, local, "tcp")
                if os.getuid() != 0:
                    assert not same_user(os.getuid() + 1)(peer, local, "tcp")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's table of sockets")
def test_a_connection_stays_whose_it_was_and_the_next_from_there_is_looked_at_anew() -> None:
    rule = same_user(os.getuid())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
        with server:
            peer, local = Address(*client.getsockname()), Address(*server.getsockname())
            assert rule(peer, local, "tcp")
            client.close()
            assert rule(peer, local, "tcp"), "what it sent before it closed is still its own"
            assert not rule(Address(*server.getpeername()), local, "tcp"), "closed before it was asked about"


def test_the_table_is_read_once_for_a_connection(tmp_path: Path) -> None:
    tables = table(tmp_path, 1000, 77)
    rule = same_user(1000, tables)
    stranger = Address("127.0.0.1", 0x9C41)
    assert rule(PEER, LOCAL, "tcp")
    assert not rule(stranger, LOCAL, "tcp")
    table(tmp_path, 1001, 77)
    assert rule(PEER, LOCAL, "tcp")
    assert not rule(Address(PEER.host, PEER.port), LOCAL, "tcp"), "another connection"
    table(tmp_path, 1000, 77)
    tables[0].write_text(tables[0].read_text().replace("9C40", "9C41"))
    assert rule(stranger, LOCAL, "tcp"), "one that was not found is looked for again"


def test_verdicts_go_with_their_connections() -> None:
    known = PerConnection()
    peers = [Address("127.0.0.1", 5000) for _ in range(3)]
    for peer, verdict in zip(peers, (True, False, True), strict=True):
        known.put(peer, verdict)
    assert [known.get(peer) for peer in peers] == [True, False, True]
    assert known.get(Address("127.0.0.1", 5000)) is None
    del peers[1:], peer
    assert len(known) == 1


def test_reserved_ports_of_own_addresses_are_root_s() -> None:
    rule = reserved_port(lambda host: host in ("192.42.172.1", "127.0.0.1"))
    assert rule(Address("192.42.172.1", 1023), LOCAL, "tcp")
    assert not rule(Address("192.42.172.1", 1024), LOCAL, "tcp")
    assert not rule(Address("192.42.172.2", 1023), LOCAL, "tcp")
    assert not rule(Address("192.42.172.1", 0), LOCAL, "tcp")


def test_over_udp_only_a_loopback_address_counts() -> None:
    rule = reserved_port(lambda host: True)
    assert rule(Address("127.0.0.1", 1000), LOCAL, "udp")
    assert not rule(Address("192.42.172.1", 1000), LOCAL, "udp")


def test_whether_an_address_is_own_is_remembered_for_a_while() -> None:
    now = [0.0]
    own = OwnAddresses(lambda: now[0])
    assert own("127.0.0.1")
    assert not own("192.0.2.1")
    own._known["192.0.2.1"] = True  # as if it had just been configured
    assert own("192.0.2.1")
    now[0] = 11.0
    assert not own("192.0.2.1")


def test_addresses_without_end_are_not_all_remembered() -> None:
    own = OwnAddresses(lambda: 0.0)
    for number in range(5000):
        own(f"127.0.{number >> 8}.{number & 255}")
    assert 0 < len(own._known) <= 4097
