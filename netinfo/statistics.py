"""What STATISTICS tells (NETINFO 2.7): NeXT's server the checksum, Apple's 44 properties with the checksum first."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from netinfo import hierarchy, replication
from netinfo.access import Caller
from netinfo.addresses import to_text
from netinfo.credential import password_of
from wire.formats.netinfo import NETINFO, Property
from wire.formats.rpc import AuthUnix

if TYPE_CHECKING:
    from netinfo.domain import Domain

SHORT = b"checksum"
"""As a caller's password: only the checksum is wanted."""
ADDRESSES_TOLD = 16
NO_ADDRESS = "0.0.0.0"  # noqa: S104 - told, not listened on


def properties(domain: Domain, caller: Caller) -> tuple[Property, ...]:
    """STATISTICS' result for this caller."""
    checksum = prop("checksum", domain.tree.checksum)
    credential = caller.credential.body
    if not domain.generation.full_statistics:
        return (checksum,)
    if isinstance(credential, AuthUnix) and password_of(credential) == SHORT:
        return (checksum,)
    return (checksum, *_server(domain), *_calls(domain))


def prop(name: str, *values: object) -> Property:
    """A property with its values as text."""
    return Property(
        name.encode(),
        tuple(v if isinstance(v, bytes) else str(v).encode() for v in values),
    )


def _server(domain: Domain) -> tuple[Property, ...]:
    around, access, tree = domain.surroundings, domain.access, domain.tree
    tuning = replication.tuning(tree, domain.generation)
    outside = [address for address in around.addresses if not address.startswith("127.")] or [NO_ADDRESS]
    known = replication.clones(tree, domain.tag, around.addresses, domain.generation)
    role = ["clone"] if domain.clone else ["master", len(known)]
    cleanup = tuning.cleanup_wait
    return (
        prop("server_version", _version()),
        prop("tag", domain.tag, *role),
        prop("ip_address", *outside[:ADDRESSES_TOLD]),
        prop("hostname", around.hostname),
        prop(
            "domain_servers",
            *(f"{s.address}/".encode() + s.tag for s in domain.tree.derived(hierarchy.servers)),
        ),
        prop("write_locked", _write_locked(domain)),
        prop(
            "notify_threads",
            around.notify_threads,
            tuning.subthreads,
            int(tuning.update_latency),
        ),
        prop("notifications_pending", around.waiting_updates),
        prop(
            "authentications",
            access.counts.users_good,
            access.counts.users_bad,
            access.counts.writes_good,
            access.counts.writes_bad,
        ),
        prop("readall_proxies", 0, "strict"),
        prop(
            "cleanup_wait",
            -1 if cleanup is None else int(cleanup // 60),
            -1 if cleanup is None else int(around.cleanup_remaining // 60),
        ),
        prop("total_calls", sum(domain.calls)),
        prop("binding", _binding(domain)),
        prop("connections", *around.connections),
    )


def _write_locked(domain: Domain) -> str:
    around = domain.surroundings
    if domain.clone:
        return "clone (reading all)" if around.receiving else "clone"
    if around.locked:
        return "Yes (due to SIGINT)"
    if around.sending:
        return "Yes (a readall)" if around.sending == 1 else f"Yes ({around.sending} readalls)"
    return "No"


def _binding(domain: Domain) -> str | bytes:
    around = domain.surroundings
    if around.forced_root:
        return "forcedRoot"
    if hierarchy.is_root(domain):
        return "root"
    if around.parent is None:
        return "notResponding"
    return f"{to_text(around.parent.address)}/".encode() + around.parent.tag


def _calls(domain: Domain) -> tuple[Property, ...]:
    """One property for each procedure: its number, calls, microseconds in all."""
    return tuple(
        prop(
            row.name.lower(),
            row.number,
            domain.calls[row.number],
            int(domain.microseconds[row.number]),
        )
        for row in NETINFO.procedures
    )


def _version() -> str:
    try:
        return f"ghostports-{version('ghostports')}"
    except PackageNotFoundError:
        return "ghostports"
