"""Owners by name, and the set-id bits that go with an unknown one (SUP 8.5)."""

import os
import stat

import pytest

from sup.owners import Owner, Owners, find_group, find_user

USERS = {"joe": (1001, 100), "\udcff": (1002, 100)}
GROUPS = {"staff": 50}
BOTH = stat.S_ISUID | stat.S_ISGID


@pytest.mark.parametrize(
    ("user", "group", "owner"),
    [
        (b"joe", b"staff", Owner(1001, 50)),
        (b"joe", b"nosuch", Owner(1001, 100, stat.S_ISGID)),
        (b"joe", b"", Owner(1001, 100, stat.S_ISGID)),
        (b"joe", None, Owner(1001, 100, stat.S_ISGID)),
        (b"nosuch", b"staff", Owner(7, 8, BOTH)),
        (b"", b"staff", Owner(7, 8, BOTH)),
        (None, None, Owner(7, 8, BOTH)),
        (b"joe\0x", b"staff", Owner(7, 8, BOTH)),
        (b"joe", b"staff\0", Owner(1001, 100, stat.S_ISGID)),
        (b"\xff", b"staff", Owner(1002, 50)),
    ],
)
def test_mapping(user: bytes | None, group: bytes | None, owner: Owner) -> None:
    assert Owners((7, 8), USERS.get, GROUPS.get).find(user, group) == owner


def test_each_pair_is_looked_up_once() -> None:
    asked: list[str] = []

    def user(name: str) -> tuple[int, int] | None:
        asked.append(name)
        return USERS.get(name)

    owners = Owners((7, 8), user, GROUPS.get)
    for _ in range(3):
        owners.find(b"joe", b"staff")
        owners.find(b"nosuch", b"staff")
    assert asked == ["joe", "nosuch"]


def test_this_machine() -> None:
    assert find_user("root") == (0, 0)
    assert find_user("no such user") is None
    assert find_group("no such group") is None
    assert Owners((os.getuid(), os.getgid())).find(b"root", b"no such group") == Owner(0, 0, stat.S_ISGID)
