"""Who calls a domain, and what that caller may do (NETINFO 3).

The rules are pure: whether the connection itself makes its peer superuser (`superuser = reserved-port | same-user`)
is decided outside and comes with the `Caller`; whether a password fits a hash is asked of an injected function,
because DES crypt is slow and belongs on another thread (`Passwords`).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import attrs
from passlib.hash import des_crypt

from netinfo.credential import password_of
from netinfo.generation import Generation
from netinfo.properties import says, values_of
from netinfo.tree import ROOT, Directory, Tree
from wire.formats.netinfo import NiStatus, Property
from wire.formats.rpc import AUTH_NONE, Auth, AuthUnix

RESERVED = 1024
"""Ports below this one are the superuser's (NETINFO 3.2)."""
PEERS_REMEMBERED = 4096

Verify = Callable[[bytes, bytes], bool]
"""verify(password, hash): does the password fit the stored hash?"""


class StatusError(Exception):
    """A call is answered with a status other than NI_OK."""

    def __init__(self, status: NiStatus) -> None:
        super().__init__(status)
        self.status = status


@attrs.frozen
class Caller:
    """The peer of a connection, as far as the connection itself tells."""

    address: str
    """IPv4 address in dotted notation."""
    port: int = 0
    own: bool = False
    """The address is one of this host's own."""
    superuser: bool = False
    """The server's superuser rule admits this connection (NETINFO 3.2, step 1)."""
    credential: Auth = AUTH_NONE


@attrs.frozen
class Identity:
    """Who a caller turned out to be; without a name, anonymous."""

    name: bytes | None = None
    superuser: bool = False


ANONYMOUS = Identity()
SUPERUSER = Identity(b"root", superuser=True)


@attrs.frozen
class Guards:
    """What the originals lacked (NETINFO 8): on unless switched off."""

    readall: bool = True
    """READALL only for own addresses and the domain's clones; others get NI_PERM."""
    throttle: bool = True
    """A peer that is not an own address and fails to authenticate must wait before it may try again."""
    passwords: bool = True
    """`passwd` is empty for peers that neither are an own address nor come from an explicit trusted network."""


HISTORIC = Guards(readall=False, throttle=False, passwords=False)
"""As the originals were: anyone reads everything."""


# --- passwords ----------------------------------------------------------------------------------------------


def crypt_matches(password: bytes, stored: bytes) -> bool:
    """Whether DES crypt of the password is the stored hash. Takes milliseconds; False for what is no such hash."""
    try:
        return bool(des_crypt.verify(password, stored))
    except (ValueError, TypeError):
        return False


def crypt_hash(password: bytes, salt: str) -> bytes:
    """The DES crypt hash of a password (its first 8 bytes) under a salt of two characters."""
    return bytes(des_crypt.using(salt=salt).hash(password), "ascii")


class UnverifiedError(Exception):
    """A verdict is needed that nobody has computed yet; compute `crypt_matches(password, stored)` and call again."""

    def __init__(self, password: bytes, stored: bytes) -> None:
        super().__init__("a password verdict is needed")
        self.password = password
        self.stored = stored


class Passwords:
    """Remembers verdicts, so that a domain's call never waits for DES crypt.

    Used as a domain's `verify`: raises `UnverifiedError` when the verdict is not known. A call that ends so has
    changed nothing; the server computes the verdict on a thread, `learn`s it and makes the call again. Passwords are
    kept as keyed digests only.
    """

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._key = os.urandom(32)
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()

    def _digest(self, password: bytes, stored: bytes) -> bytes:
        text = len(password).to_bytes(4) + password + stored
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()

    def __call__(self, password: bytes, stored: bytes) -> bool:
        digest = self._digest(password, stored)
        if digest not in self._verdicts:
            raise UnverifiedError(password, stored)
        self._verdicts.move_to_end(digest)
        return self._verdicts[digest]

    def learn(self, password: bytes, stored: bytes, verdict: bool) -> None:
        self._verdicts[self._digest(password, stored)] = verdict
        while len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)


class Throttle:
    """Counts failures for each address: after `burst` of them, one more try every `pause` seconds."""

    def __init__(self, burst: int = 5, pause: float = 2.0, size: int = 4096) -> None:
        self._burst, self._pause, self._size = burst, pause, size
        self._ready: OrderedDict[str, float] = OrderedDict()
        """Address -> the time at which all its failures will be forgotten."""

    def blocks(self, address: str, now: float) -> bool:
        return self._ready.get(address, now) - now > (self._burst - 1) * self._pause

    def failed(self, address: str, now: float) -> None:
        self._ready[address] = max(self._ready.pop(address, now), now) + self._pause
        while len(self._ready) > self._size:
            self._ready.popitem(last=False)


# --- networks -----------------------------------------------------------------------------------------------


def octets(number: bytes) -> tuple[int, ...] | None:
    """The numbers of a dotted address or network of one to four parts; None if it is not one."""
    parts = number.split(b".")
    if len(parts) > 4 or not all(part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts):
        return None
    return tuple(map(int, parts))


def in_network(address: Sequence[int], network: Sequence[int]) -> bool:
    """Byte by byte from the left, at most three, until the network's first zero (NETINFO 3.1)."""
    if not network or not network[0]:
        return False
    for ours, theirs in zip(network[:3], address, strict=False):
        if not ours:
            return True
        if ours != theirs:
            return False
    return True


class Trust:
    """The root's `trusted_networks` (NETINFO 3.1).

    networks: the numbers of the networks it admits; None without that property, which admits everybody.
    """

    def __init__(self, tree: Tree) -> None:
        self.networks = _trusted_networks(tree)
        self._known: dict[str, bool] = {}

    def names(self, address: str) -> bool:
        """Whether the address is in a network that the property names."""
        known = self._known.get(address)
        if known is None:
            peer = octets(address.encode())
            networks = self.networks or ()
            known = peer is not None and len(peer) == 4 and any(in_network(peer, each) for each in networks)
            if len(self._known) < PEERS_REMEMBERED:
                self._known[address] = known
        return known


def _trusted_networks(tree: Tree) -> tuple[tuple[int, ...], ...] | None:
    root = tree.get(ROOT)
    if root is None or not any(prop.name == b"trusted_networks" for prop in root.properties):
        return None
    found = []
    for value in values_of(root.properties, b"trusted_networks"):
        if not value[:1].isdigit():
            networks = tree.path(b"networks")
            named = networks and tree.find_first(networks, b"name", value)
            value = next(iter(values_of(named.properties, b"address")), b"") if named else b""
        network = octets(value)
        if network is not None:
            found.append(network)
    return tuple(found)


def admits(tree: Tree, address: str, own: bool) -> bool:
    """Whether a peer may connect at all; asked when it connects (NETINFO 3.1)."""
    trust = tree.derived(Trust)
    return own or trust.networks is None or trust.names(address)


def loopback_only(tree: Tree) -> bool:
    """Apple's "desktop" mode: no trusted network but 127 (NETINFO 3.1); the server then listens on 127.0.0.1 alone."""
    root = tree.get(ROOT)
    if root is None or not any(prop.name == b"trusted_networks" for prop in root.properties):
        return False
    return all(value.startswith(b"127") for value in values_of(root.properties, b"trusted_networks"))


# --- who, and what they may do ------------------------------------------------------------------------------


@attrs.define
class Counts:
    """How many were recognized and allowed, and how many not; Apple's STATISTICS tells them (NETINFO 2.7)."""

    users_good: int = 0
    users_bad: int = 0
    writes_good: int = 0
    writes_bad: int = 0


@attrs.define
class Access:
    """The access rules of one domain in one generation."""

    generation: Generation
    guards: Guards = Guards()
    verify: Verify = crypt_matches
    clock: Callable[[], float] = time.monotonic
    counts: Counts = attrs.Factory(Counts)
    throttle: Throttle = attrs.Factory(Throttle)

    def identify(self, tree: Tree, caller: Caller) -> Identity:
        """Who calls (NETINFO 3.2). Raises StatusError NI_NOUSER or NI_AUTHERROR, even where anonymous might write."""
        if caller.superuser:
            return SUPERUSER
        if not isinstance(caller.credential.body, AuthUnix):
            return ANONYMOUS
        throttled = self.guards.throttle and not caller.own
        if throttled and self.throttle.blocks(caller.address, self.clock()):
            raise StatusError(NiStatus.NI_AUTHERROR)
        try:
            identity = self._authenticate(tree, caller.credential.body)
        except StatusError:
            self.counts.users_bad += 1
            if throttled:
                self.throttle.failed(caller.address, self.clock())
            raise
        self.counts.users_good += 1
        return identity

    def _authenticate(self, tree: Tree, credential: AuthUnix) -> Identity:
        users = tree.path(b"users")
        if users is None:
            raise StatusError(NiStatus.NI_NOUSER)
        uid = credential.uid - (1 << 32) if credential.uid >> 31 else credential.uid
        hits = tree.find(users, b"uid", str(uid).encode())
        if not hits:
            raise StatusError(NiStatus.NI_NOUSER)
        if not self.generation.every_user_of_uid:
            hits = hits[:1]
        password = password_of(credential)
        for number in hits:
            user = tree.directories[number]
            if self._password_fits(user.properties, password):
                names = values_of(user.properties, b"name")
                if not names:
                    raise StatusError(NiStatus.NI_NOUSER)
                return Identity(names[0], self._is_superuser(tree, uid, names[0]))
        raise StatusError(NiStatus.NI_AUTHERROR)

    def _password_fits(self, user: Sequence[Property], password: bytes) -> bool:
        if self.generation.every_user_of_uid and not _basic_authority(user):
            return False
        if not any(prop.name == b"passwd" for prop in user):
            return not self.generation.password_required
        stored = next(iter(values_of(user, b"passwd")), b"")
        return not stored or self.verify(password, stored)

    def _is_superuser(self, tree: Tree, uid: int, name: bytes) -> bool:
        if name == b"root":
            return True
        if not self.generation.promotes_admins:
            return False
        if uid == 0:
            return True
        root = tree.get(ROOT)
        if root and says(root.properties, b"promote_admins", b"no"):
            return False
        admin = tree.path(b"groups", b"admin")
        return admin is not None and name in values_of(admin.properties, b"users")

    def directory_write(self, identity: Identity, directory: Directory) -> None:
        """CREATE, DESTROY (of the parent), WRITE, CREATEPROP, DESTROYPROP, RENAMEPROP (NETINFO 3.4). Raises
        StatusError.
        """
        if self._locked(directory):
            self._deny(NiStatus.NI_RDONLY)
        self._decide(self._may_write(identity, directory, b"_writers"))

    def property_write(self, identity: Identity, directory: Directory, index: int) -> None:
        """CREATENAME, WRITENAME, DESTROYNAME of the property at *index* (NETINFO 3.4). Raises StatusError."""
        guard = b"_writers_" + directory.properties[index].name
        covered = self.generation.writers_cover_properties and not self._locked(directory)
        self._decide(
            self._may_write(identity, directory, guard)
            or (covered and self._may_write(identity, directory, b"_writers"))
        )

    def values_write(self, identity: Identity, directory: Directory, index: int) -> None:
        """WRITEPROP: as the other property calls, but `_locked` stops it (NETINFO 3.4). Raises StatusError."""
        if self._locked(directory):
            self._deny(NiStatus.NI_RDONLY)
        self.property_write(identity, directory, index)

    def _locked(self, directory: Directory) -> bool:
        return self.generation.locks and any(prop.name == b"_locked" for prop in directory.properties)

    def _may_write(self, identity: Identity, directory: Directory, guard: bytes) -> bool:
        if identity.superuser:
            return True
        writers = values_of(directory.properties, guard)
        star_counts = identity.name is None or self.generation.star_admits_users
        return (star_counts and b"*" in writers) or (identity.name is not None and identity.name in writers)

    def _decide(self, allowed: bool) -> None:
        if not allowed:
            self._deny(NiStatus.NI_PERM)
        self.counts.writes_good += 1

    def _deny(self, status: NiStatus) -> None:
        self.counts.writes_bad += 1
        raise StatusError(status)

    # --- passwords that peers do not see --------------------------------------------------------------------

    def sees_passwords(self, tree: Tree, caller: Caller) -> bool:
        """Whether `passwd` is shown to this caller (guard `passwords`, NETINFO 8)."""
        if caller.own or not self.guards.passwords:
            return True
        return tree.derived(Trust).names(caller.address)


def _basic_authority(user: Sequence[Property]) -> bool:
    """Whether crypt decides: another `authentication_authority` names a service not to be had here (NETINFO 3.2)."""
    values = values_of(user, b"authentication_authority")
    return not values or values[0].split(b";")[1:2] in ([], [b"basic"], [b""])


HIDDEN = b"passwd"


View = Callable[[tuple[Property, ...]], tuple[Property, ...]]
"""What of a directory's properties a caller is shown: `show` or `hide`."""


def show(properties: tuple[Property, ...]) -> tuple[Property, ...]:
    """Properties as they are."""
    return properties


def hide(properties: tuple[Property, ...]) -> tuple[Property, ...]:
    """Properties as a peer sees them that may not see passwords: `passwd` has no values."""
    if not any(prop.name == HIDDEN and prop.values for prop in properties):
        return properties
    return tuple(Property(HIDDEN, ()) if prop.name == HIDDEN else prop for prop in properties)


def keep_hidden(stored: Sequence[Property], written: Sequence[Property]) -> tuple[Property, ...]:
    """What a WRITE means that comes from a peer which saw passwords empty: stored ones stay unless it brings new
    ones.

    A password that is missing from the written list stays too, at the end, where it moves none of the others.
    """
    hidden = [prop for prop in stored if prop.name == HIDDEN]
    kept = []
    for prop in written:
        if prop.name == HIDDEN:
            old = hidden.pop(0) if hidden else prop
            prop = prop if prop.values else old
        kept.append(prop)
    return (*kept, *(prop for prop in hidden if prop.values))
