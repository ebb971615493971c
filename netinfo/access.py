"""Who calls a domain, and what that caller may do (NETINFO 3).

The rules are pure: whether the connection itself makes its peer superuser (`superuser = reserved-port | same-user`)
is decided outside and comes with the `Caller`; whether a password fits a hash is asked of an injected function,
because DES crypt is slow and belongs on another thread (`passwords.Passwords`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs

from netinfo.credential import password_of
from netinfo.generation import Generation
from netinfo.networks import Trust
from netinfo.passwords import Throttle, crypt_matches
from netinfo.properties import says, values_of
from netinfo.tree import ROOT, Directory, Tree
from wire.formats.netinfo import NiStatus, Property
from wire.formats.rpc import AUTH_NONE, Auth, AuthUnix

RESERVED = 1024
"""Ports below this one are the superuser's (NETINFO 3.2)."""

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
