"""Masters and clones of one domain: who they are, and what passes between them (NETINFO 3.5, 4.1, 5).

Sans-IO: it decides what to send to whom and what a received transfer means; sockets, threads and time are the
server's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from netinfo.access import RESERVED, Caller, StatusError, View, show
from netinfo.events import Replaced
from netinfo.generation import Generation
from netinfo.hierarchy import Server, addresses, machines, served, servers
from netinfo.limits import LIMITS, Limits
from netinfo.properties import says, values_of
from netinfo.snapshot import Snapshot
from netinfo.tree import ROOT, WORD, DamagedTreeError, Image, Totals, Tree, records_of, weight
from wire.codec import codec
from wire.formats.netinfo import NETINFO, NiStatus, Object, ReadallBody, Result
from wire.formats.rpc import AuthUnix

if TYPE_CHECKING:
    from netinfo.domain import Domain

MORE = 4
"""Bytes of the word that says whether another object follows (NETINFO 1.2, ni_object_list)."""


def master_of(tree: Tree) -> tuple[bytes, bytes] | None:
    """(host, tag) of the master, from the root's `master` property (NETINFO 4.1)."""
    root = tree.get(ROOT)
    values = values_of(root.properties, b"master") if root else ()
    host, slash, tag = (values[0] if values else b"").partition(b"/")
    return (host, tag) if slash else None


def master_addresses(tree: Tree) -> tuple[str, ...]:
    """The addresses of the master's host, from the domain's own /machines."""
    named = master_of(tree)
    found = tree.path(b"machines", named[0]) if named else None
    return addresses(found) if found else ()


def is_clone(tree: Tree, tag: bytes, own: Sequence[str], generation: Generation) -> bool:
    """Whether this host, with the addresses *own*, serves *tag* as a clone (NETINFO 4.1). `local` never is one."""
    named = master_of(tree)
    if named is None or tag == b"local":
        return False
    if generation.tag_decides_clone and named[1] != tag:
        return True
    theirs = master_addresses(tree)
    return bool(theirs) and not set(theirs) & set(own)


def is_master(domain: Domain, caller: Caller) -> bool:
    """Whether a clone's caller has its master's address (NETINFO 3.5)."""
    known = domain.tree.derived(master_addresses)
    if not known and domain.generation.orphan_updates:
        return caller.address == "127.0.0.1"
    return caller.address in known


def is_update(domain: Domain, caller: Caller) -> bool:
    """Whether a write to a clone comes from its master (NETINFO 3.5)."""
    if not 0 < caller.port < RESERVED:
        return False
    if domain.generation.anonymous_updates and isinstance(caller.credential.body, AuthUnix):
        return False
    return is_master(domain, caller)


def clones(tree: Tree, tag: bytes, own: Iterable[str], generation: Generation) -> tuple[Server, ...]:
    """The clones that a master tells of its changes: machines that serve `./tag`, but itself (NETINFO 5.1)."""
    mine = set(own)
    found = []
    for machine in machines(tree):
        theirs = addresses(machine)
        tags = [served_tag for domain, served_tag in served(machine) if domain == b"."]
        if not theirs or not tags:
            continue
        if generation.one_clone_per_serves:
            found += [Server(theirs[0], each) for each in tags if not (theirs[0] in mine and each == tag)]
        elif theirs[0] not in mine:
            found.append(Server(theirs[0], tags[0]))
    return tuple(dict.fromkeys(found))


# --- READALL, sending ---------------------------------------------------------------------------------------


def may_read_all(domain: Domain, checksum: int, caller: Caller) -> bool:
    """Whether READALL sends the domain; False if the caller has it already. Raises StatusError (NETINFO 5.3)."""
    if domain.access.guards.readall and not caller.own and not serves_domain(domain, caller.address):
        raise StatusError(NiStatus.NI_PERM)
    if domain.clone and not _clone_may_answer(domain):
        raise StatusError(NiStatus.NI_NOTMASTER)
    if checksum == domain.tree.checksum:
        return False
    if domain.generation.busy_while_sending and domain.surroundings.waiting_updates:
        raise StatusError(NiStatus.NI_MASTERBUSY)
    return True


def serves_domain(domain: Domain, address: str) -> bool:
    """Whether one of the domain's own servers, such as a clone, has this address."""
    return any(server.address == address for server in domain.tree.derived(servers))


def _clone_may_answer(domain: Domain) -> bool:
    root = domain.tree.get(ROOT)
    return (
        domain.generation.root_settings
        and root is not None
        and says(root.properties, b"cloneReplyReadall", b"yes")
    )


def snapshot(tree: Tree, view: View = show) -> Iterator[Object]:
    """The whole tree as it is now, whatever happens to it while the objects are taken one after another."""
    return (Object(one.id, view(one.properties), one.parent, one.children) for one in Snapshot(tree))


def transfer(tree: Tree, objects: Iterable[Object], batch: int = 256) -> Iterator[bytes]:
    """READALL's result as chunks of bytes, *batch* directories each: a domain may be larger than one wants to hold
    twice.
    """
    build = codec(NETINFO.by_name["READALL"].result).build
    empty = build(Result(NiStatus.NI_OK, ReadallBody(tree.checksum, tree.highest_id, ())))
    head, end = len(empty) - MORE, MORE
    yield empty[:head]
    several: list[Object] = []

    def chunk() -> bytes:
        return build(Result(NiStatus.NI_OK, ReadallBody(0, 0, tuple(several))))[head:-end]

    for one in objects:
        several.append(one)
        if len(several) == batch:
            yield chunk()
            several.clear()
    yield chunk() + empty[head:]


# --- READALL, receiving -------------------------------------------------------------------------------------


def received(body: ReadallBody, generation: Generation, limits: Limits = LIMITS) -> Replaced:
    """What a clone's domain is to become. Takes seconds for a large one, and may do so on any thread.

    Raises DamagedTreeError if that is no whole domain.
    """
    records = tuple(records_of(body.objects))
    highest = max((record.number for record in records), default=-1)
    if highest > body.highest_id:
        raise DamagedTreeError(f"directory {highest} is beyond the highest id announced, {body.highest_id}")
    slots = highest + 1
    if generation.highest_is_count:
        slots = max(slots, min(body.highest_id, slots + limits.target_gap))
    totals = Totals(sum(map(weight, records)) & WORD, slots, 0)
    return Replaced(Tree.load(records, (), totals, generation, limits), Image(records, totals))


# --- the root's settings ------------------------------------------------------------------------------------


@attrs.frozen
class Tuning:
    """How a master tells its clones (NETINFO 5.1, 5.2); times in seconds."""

    update_latency: float
    subthreads: int = 5
    """Clones told at the same time."""
    cleanup_wait: float | None = 1800.0
    """Between two periodic RESYNCs; None: never."""


def tuning(tree: Tree, generation: Generation) -> Tuning:
    """The defaults of the generation, and what the root's properties say otherwise within their bounds."""
    default = Tuning(generation.update_latency)
    root = tree.get(ROOT)
    if root is None or not generation.root_settings:
        return default

    def setting(name: bytes, low: int, high: int) -> int | None:
        values = values_of(root.properties, name)
        try:
            return min(max(int(values[0]), low), high) if values else None
        except ValueError:
            return None

    latency = setting(b"update_latency", 1, 7200)
    threads = setting(b"subthreads", 1, 100)
    cleanup = setting(b"cleanup_wait", 60, 36_000)
    unlimited = values_of(root.properties, b"cleanup_wait")[:1] in (
        (b"-1",),
        (b"unlimited",),
    )
    return Tuning(
        default.update_latency if latency is None else latency,
        default.subthreads if threads is None else threads,
        None if unlimited else default.cleanup_wait if cleanup is None else cleanup,
    )
