"""Where NeXT's and Apple's NetInfo servers differ: one table, from which everything that differs reads its choice.

A domain behaves as one generation, `NEXT` by default. Faults of the originals are reproduced in neither: NeXT's
second reply over UDP, Apple's LIST caches that go stale, LOOKUP hits out of the children's order, NeXT's crash on
object 16777216 (NETINFO 11).
"""

from __future__ import annotations

import attrs

from wire.formats.netinfo import NiStatus


@attrs.frozen
class Generation:
    """The differences (NETINFO 1.1, 2, 3, 5 and 11); every field is one line of the table."""

    name: str
    """`next` (netinfo-28, NEXTSTEP 2 and 3) or `apple` (netinfo-369.6, Mac OS X 10.4)."""
    unknown_id: NiStatus
    """Answer to the number of a directory that does not exist, in every procedure (NETINFO 2.5)."""
    unknown_child: NiStatus
    """DESTROY of a child that does not exist (NETINFO 2.6)."""
    first_instance: int
    """Instance of a directory whose number was never used (NETINFO 2.2)."""
    reuse_continues: bool
    """A reused number goes on from its last occupant's instance, instead of at `first_instance` (NETINFO 2.2)."""
    honours_target: bool
    """CREATE gives the child the id its target names (NETINFO 2.3)."""
    highest_is_count: bool
    """READALL's highest id is the count of record slots, instead of the highest directory's number (NETINFO 5.3)."""
    version_reads: bool
    """SELF of object -1 finds a directory by store version, of object -2 tells one's version (NETINFO 2.3)."""
    star_admits_users: bool
    """`*` among the writers admits everybody, instead of anonymous callers alone (NETINFO 3.4)."""
    writers_cover_properties: bool
    """`_writers` allows what `_writers_<property>` guards, too (NETINFO 3.4)."""
    locks: bool
    """A `_locked` directory refuses changes, the superuser's too (NETINFO 3.4)."""
    password_required: bool
    """A user without a `passwd` property cannot be authenticated, instead of needing no password (NETINFO 11)."""
    every_user_of_uid: bool
    """All users with the caller's uid are tried, instead of the first alone (NETINFO 3.2)."""
    promotes_admins: bool
    """uid 0 and the members of group `admin` are superusers (NETINFO 3.2)."""
    busy_while_sending: bool
    """Writes get NI_MASTERBUSY while a READALL is sent; READALL gets it while updates wait (NETINFO 5.3)."""
    sigint_locks: bool
    """A first SIGINT locks the database, so that writes get NI_MASTERBUSY, the next unlocks it (NETINFO 2.5)."""
    anonymous_updates: bool
    """A clone takes no update with an AUTH_UNIX credential (NETINFO 3.5)."""
    orphan_updates: bool
    """A clone that cannot find its master's address takes updates from 127.0.0.1 (NETINFO 3.5)."""
    full_statistics: bool
    """STATISTICS has 44 properties, instead of the checksum alone (NETINFO 2.7)."""
    unserved_bind_silent: bool
    """A BIND that is not served stays without reply, instead of RPC SYSTEM_ERR (NETINFO 2.6)."""
    registers_over_udp: bool
    """The binder takes REGISTER and UNREGISTER from loopback over UDP (NETINFO 1.1)."""
    tag_aliases: bool
    """The binder knows domains under the aliases that their roots name for some clients (NETINFO 4.2)."""
    binder_takes_password: bool
    """The binder obeys whoever knows the password of this host's root, wherever the call comes from (NETINFO 3.6)."""
    binder_pings: bool
    """The binder's GETREGISTER first asks the domain server whether it lives (NETINFO 4.2)."""
    silent_parent: NiStatus
    """RPARENT when a parent is configured but none answers (NETINFO 4.3)."""
    anonymous_binding: bool
    """Looks for a parent by GETREGISTER and PING first, before it asks to be served by BIND (NETINFO 4.3)."""
    tag_decides_clone: bool
    """A domain whose `master` names another tag is a clone, too (NETINFO 4.1)."""
    one_clone_per_serves: bool
    """Each `./tag` of a machine is a clone, own address and other tag too; else one for each machine (NETINFO 5.1)."""
    update_latency: float
    """Seconds an update waits for others to join it, unless the root says otherwise (NETINFO 5.1)."""
    root_settings: bool
    """The root's `isRoot`, `cloneReplyReadall`, `update_latency`, `subthreads` and `cleanup_wait` are obeyed (NETINFO
    4.3, 5).
    """


NEXT = Generation(
    name="next",
    unknown_id=NiStatus.NI_BADID,
    unknown_child=NiStatus.NI_UNRELATED,
    first_instance=1,
    reuse_continues=True,
    honours_target=True,
    highest_is_count=True,
    version_reads=False,
    star_admits_users=False,
    writers_cover_properties=False,
    locks=False,
    password_required=False,
    every_user_of_uid=False,
    promotes_admins=False,
    busy_while_sending=False,
    sigint_locks=False,
    anonymous_updates=False,
    orphan_updates=False,
    full_statistics=False,
    unserved_bind_silent=True,
    registers_over_udp=True,
    tag_aliases=False,
    binder_takes_password=False,
    binder_pings=False,
    silent_parent=NiStatus.NI_NORESPONSE,
    anonymous_binding=False,
    tag_decides_clone=False,
    one_clone_per_serves=False,
    update_latency=0.0,
    root_settings=False,
)

APPLE = Generation(
    name="apple",
    unknown_id=NiStatus.NI_NODIR,
    unknown_child=NiStatus.NI_NODIR,
    first_instance=0,
    reuse_continues=False,
    honours_target=False,
    highest_is_count=False,
    version_reads=True,
    star_admits_users=True,
    writers_cover_properties=True,
    locks=True,
    password_required=True,
    every_user_of_uid=True,
    promotes_admins=True,
    busy_while_sending=True,
    sigint_locks=True,
    anonymous_updates=True,
    orphan_updates=True,
    full_statistics=True,
    unserved_bind_silent=False,
    registers_over_udp=False,
    tag_aliases=True,
    binder_takes_password=True,
    binder_pings=True,
    silent_parent=NiStatus.NI_NETROOT,
    anonymous_binding=True,
    tag_decides_clone=True,
    one_clone_per_serves=True,
    update_latency=2.0,
    root_settings=True,
)

GENERATIONS = {generation.name: generation for generation in (NEXT, APPLE)}
