"""Who calls, and what they may do: the rules of each generation, and the guards that neither had."""

from __future__ import annotations

import attrs
import pytest

from netinfo.access import ANONYMOUS, SUPERUSER, Access, Caller, Guards, Identity, StatusError
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.passwords import crypt_hash
from netinfo.rawformat import Branch, plant
from netinfo.tree import Tree
from tests.netinfo.base import ANN, ANON, PW, SU, Base, prop, user
from wire.formats.netinfo import NiStatus, Property
from wire.formats.rpc import Auth, AuthFlavor, AuthUnix

S = NiStatus
BOTH = pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)

# --- who calls --------------------------------------------------------------------------------------------------


def identified(b: Base, caller: Caller) -> Identity | NiStatus:
    try:
        return b.domain.access.identify(b.domain.tree, caller)
    except StatusError as refused:
        return refused.status


def add_user(b: Base, *properties: Property) -> None:
    assert b.create(4, *properties).status == S.NI_OK


@BOTH
def test_superusers_connection_outweighs_its_credential(generation: Generation) -> None:
    caller = attrs.evolve(SU, credential=user(555, b"nonsense").credential)
    assert identified(Base(generation), caller) == SUPERUSER


@BOTH
def test_other_flavors_are_anonymous(generation: Generation) -> None:
    b = Base(generation)
    assert identified(b, ANON) == ANONYMOUS
    assert identified(b, attrs.evolve(ANON, credential=Auth(AuthFlavor.AUTH_DH, b"x"))) == ANONYMOUS


@BOTH
def test_users_are_known_by_uid_and_password(generation: Generation) -> None:
    b = Base(generation)
    assert identified(b, ANN) == Identity(b"ann")
    assert identified(b, user(0, b"secret")) == Identity(b"root", superuser=True)
    assert identified(b, user(101, b"wrong")) == S.NI_AUTHERROR
    assert identified(b, user(101, b"")) == S.NI_AUTHERROR
    assert identified(b, user(555, b"pw")) == S.NI_NOUSER


@BOTH
def test_domain_without_users_knows_nobody(generation: Generation) -> None:
    b = Base(generation)
    b.domain.tree = plant(Branch(), generation)
    assert identified(b, ANN) == S.NI_NOUSER
    b.domain.tree = Tree(generation)
    assert identified(b, ANN) == S.NI_NOUSER


@BOTH
def test_negative_uids_are_signed_decimals(generation: Generation) -> None:
    b = Base(generation)
    add_user(b, prop("name", "nobody"), prop("uid", "-2"), prop("passwd", PW))
    assert identified(b, user(-2, b"pw")) == Identity(b"nobody")


@BOTH
@pytest.mark.parametrize(
    ("passwd", "next_lets_in", "apple_lets_in"),
    [((), True, True), (("",), True, True), (None, True, False), (("*",), False, False)],
    ids=["no values", "empty", "absent", "star"],
)
def test_passwordless_users(
    generation: Generation, passwd: tuple[str, ...] | None, next_lets_in: bool, apple_lets_in: bool
) -> None:
    b = Base(generation)
    add_user(
        b, prop("name", "guest"), prop("uid", "7"), *([] if passwd is None else [prop("passwd", *passwd)])
    )
    lets_in = next_lets_in if generation is NEXT else apple_lets_in
    assert identified(b, user(7, b"anything")) == (Identity(b"guest") if lets_in else S.NI_AUTHERROR)


@BOTH
def test_user_without_a_name_is_nobody(generation: Generation) -> None:
    b = Base(generation)
    add_user(b, prop("uid", "7"), prop("passwd"))
    assert identified(b, user(7, b"")) == S.NI_NOUSER


@BOTH
def test_second_user_of_a_uid(generation: Generation) -> None:
    b = Base(generation)
    add_user(b, prop("name", "double"), prop("uid", "101"), prop("passwd", crypt_hash(b"other", "xy")))
    expected = S.NI_AUTHERROR if generation is NEXT else Identity(b"double")
    assert identified(b, user(101, b"other")) == expected


@BOTH
def test_superuser_by_name_or_uid(generation: Generation) -> None:
    b = Base(generation)
    add_user(b, prop("name", "toor"), prop("uid", "0"), prop("passwd", PW))
    add_user(b, prop("name", "root"), prop("uid", "9"), prop("passwd", PW))
    assert identified(b, user(9, b"pw")) == Identity(b"root", superuser=True)
    # [A] tries toor, too, and takes uid 0 for the superuser whatever the name.
    assert identified(b, user(0, b"pw")) == (
        S.NI_AUTHERROR if generation is NEXT else Identity(b"toor", superuser=True)
    )


@pytest.mark.parametrize(
    ("authority", "lets_in"),
    [
        ((), True),
        ((";basic;",), True),
        (("1.0;basic;",), True),
        ((";ShadowHash;",), False),
        ((";ApplePasswordServer;0x1",), False),
    ],
)
def test_authority_that_is_not_here_lets_nobody_in(authority: tuple[str, ...], lets_in: bool) -> None:
    b = Base(APPLE)
    add_user(
        b,
        prop("name", "eve"),
        prop("uid", "7"),
        prop("passwd", PW),
        prop("authentication_authority", *authority),
    )
    assert identified(b, user(7, b"pw")) == (Identity(b"eve") if lets_in else S.NI_AUTHERROR)


def test_credential_of_ordinary_software_looks_like_a_wrong_password() -> None:
    b = Base(NEXT)
    body = AuthUnix(0, b"workstation", 101, 20, (20, 4))
    assert identified(b, attrs.evolve(ANON, credential=Auth(AuthFlavor.AUTH_SYS, body))) == S.NI_AUTHERROR


def test_failures_are_throttled_for_strangers_alone() -> None:
    b = Base(NEXT, Guards())
    now = [50.0]
    b.domain.access = attrs.evolve(b.domain.access, clock=lambda: now[0])
    wrong = user(101, b"wrong")
    for _ in range(5):
        assert identified(b, wrong) == S.NI_AUTHERROR
    assert identified(b, ANN) == S.NI_AUTHERROR  # the right password, too soon
    assert identified(b, user(555, b"")) == S.NI_AUTHERROR
    assert identified(b, user(101, b"pw", "192.42.172.77")) == Identity(b"ann")
    assert identified(b, attrs.evolve(ANN, own=True)) == Identity(b"ann")
    now[0] += 2.0
    assert identified(b, ANN) == Identity(b"ann")
    counts = b.domain.access.counts
    assert (counts.users_good, counts.users_bad) == (3, 5)


def test_historic_server_never_throttled() -> None:
    b = Base(NEXT)
    for _ in range(20):
        assert identified(b, user(101, b"wrong")) == S.NI_AUTHERROR
    assert identified(b, ANN) == Identity(b"ann")


# --- what they may do -------------------------------------------------------------------------------------------

NOBODY, ANNA = Identity(None), Identity(b"ann")


def may(access: Access, kind: str, identity: Identity, *properties: Property) -> NiStatus | None:
    directory = plant(Branch(tuple(properties)), access.generation).directories[0]
    try:
        if kind == "directory":
            access.directory_write(identity, directory)
        elif kind == "values":
            access.values_write(identity, directory, 0)
        else:
            access.property_write(identity, directory, 0)
    except StatusError as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    ("kind", "identity", "properties", "next_expected", "apple_expected"),
    [
        ("directory", NOBODY, [], S.NI_PERM, S.NI_PERM),
        ("directory", SUPERUSER, [], None, None),
        ("directory", NOBODY, [prop("_writers", "*")], None, None),
        ("directory", ANNA, [prop("_writers", "*")], S.NI_PERM, None),
        ("directory", ANNA, [prop("_writers", "ben", "ann")], None, None),
        ("directory", ANNA, [prop("_writers", "ben", "ANN")], S.NI_PERM, S.NI_PERM),
        ("directory", NOBODY, [prop("_writers", "ann")], S.NI_PERM, S.NI_PERM),
        ("directory", ANNA, [prop("_writers"), prop("_writers", "ann")], S.NI_PERM, S.NI_PERM),
        ("directory", ANNA, [prop("p"), prop("_writers_p", "ann")], S.NI_PERM, S.NI_PERM),
        ("property", ANNA, [prop("p"), prop("_writers", "ann")], S.NI_PERM, None),
        ("property", ANNA, [prop("p"), prop("_writers_p", "ann")], None, None),
        ("property", ANNA, [prop("p"), prop("_writers_q", "ann")], S.NI_PERM, S.NI_PERM),
        ("property", ANNA, [prop("p"), prop("_writers_p", "*")], S.NI_PERM, None),
        ("property", NOBODY, [prop("p"), prop("_writers_p", "*")], None, None),
        ("property", SUPERUSER, [prop("p")], None, None),
        ("values", ANNA, [prop("p"), prop("_writers_p", "ann")], None, None),
        ("directory", SUPERUSER, [prop("_locked")], None, S.NI_RDONLY),
        ("values", SUPERUSER, [prop("_locked")], None, S.NI_RDONLY),
        ("values", ANNA, [prop("p"), prop("_locked"), prop("_writers_p", "ann")], None, S.NI_RDONLY),
        ("property", SUPERUSER, [prop("p"), prop("_locked")], None, None),
        ("property", ANNA, [prop("p"), prop("_locked"), prop("_writers_p", "ann")], None, None),
        ("property", ANNA, [prop("p"), prop("_locked"), prop("_writers", "ann")], S.NI_PERM, S.NI_PERM),
    ],
)
def test_permission(
    kind: str,
    identity: Identity,
    properties: list[Property],
    next_expected: NiStatus | None,
    apple_expected: NiStatus | None,
) -> None:
    for generation, expected in ((NEXT, next_expected), (APPLE, apple_expected)):
        access = Access(generation)
        assert may(access, kind, identity, *properties) == expected
        assert (access.counts.writes_good, access.counts.writes_bad) == (
            (1, 0) if expected is None else (0, 1)
        )
