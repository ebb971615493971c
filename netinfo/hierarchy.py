"""How domains form a hierarchy: the `serves` values of machines (NETINFO 4.1 to 4.3).

Says who serves this domain, whom it serves as a parent, and where its own parent may be found. Asking those machines
is left to whoever serves the domain; what came of it stands in `Surroundings.parent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING

import attrs

from netinfo.access import StatusError
from netinfo.addresses import BROADCAST, to_number, to_text
from netinfo.properties import says, values_of
from netinfo.tree import ROOT, Directory, Tree
from wire.formats.netinfo import Binding, NiStatus

if TYPE_CHECKING:
    from netinfo.addresses import Interface
    from netinfo.domain import Domain


@attrs.frozen
class Server:
    """A domain server: the address of its host and its tag there."""

    address: str
    tag: bytes


def machines(tree: Tree) -> Iterator[Directory]:
    """The children of /machines."""
    found = tree.path(b"machines")
    return tree.children(found) if found else iter(())


def addresses(machine: Directory) -> tuple[str, ...]:
    """A machine's addresses, those that are none left out."""
    return tuple(filter(None, map(dotted, values_of(machine.properties, b"ip_address"))))


def dotted(value: bytes) -> str | None:
    """An `ip_address` value, if it is one."""
    text = value.decode("ascii", "replace")
    try:
        to_number(text)
    except ValueError:
        return None
    return text


def served(machine: Directory) -> Iterator[tuple[bytes, bytes]]:
    """(domain, tag) for each `serves` value of a machine, split at its first slash (NETINFO 4.1)."""
    for value in values_of(machine.properties, b"serves"):
        domain, slash, tag = value.partition(b"/")
        if slash:
            yield domain, tag


def serves(tree: Tree, tag: bytes, address: int) -> bool:
    """BIND: does this domain serve the server called *tag* at *address* as its parent (NETINFO 2.6)?"""
    found = tree.path(b"machines")
    machine = found and tree.find_first(found, b"ip_address", to_text(address).encode())
    if not machine:
        return False
    return any(theirs == tag and domain not in (b".", b"..") for domain, theirs in served(machine))


def servers(tree: Tree) -> tuple[Server, ...]:
    """The servers of this very domain, master and clones, at every address of theirs (NETINFO 2.7, domain_servers)."""
    return tuple(
        Server(address, tag)
        for machine in machines(tree)
        for domain, tag in served(machine)
        if domain == b"."
        for address in addresses(machine)
    )


# --- the parent ---------------------------------------------------------------------------------------------


def candidates(tree: Tree) -> tuple[Server, ...]:
    """Where the parent domain may be served: machines with `../tag`, by their first address (NETINFO 4.3)."""
    return tuple(
        Server(own[0], tag)
        for machine in machines(tree)
        if (own := addresses(machine))
        for domain, tag in served(machine)
        if domain == b".."
    )


def is_root(domain: Domain) -> bool:
    """Whether this domain has no parent and need not look for one."""
    if domain.surroundings.forced_root:
        return True
    if domain.generation.root_settings:
        root = domain.tree.get(ROOT)
        if root and says(root.properties, b"isRoot", b"yes"):
            return True
    return not domain.tree.derived(candidates)


def parent(domain: Domain) -> Binding:
    """RPARENT's answer. Raises StatusError NI_NETROOT, or, if no parent answered, the generation's status (NETINFO
    4.3).
    """
    if is_root(domain):
        raise StatusError(NiStatus.NI_NETROOT)
    found = domain.surroundings.parent
    if found is None:
        raise StatusError(domain.generation.silent_parent)
    return found


def apple_rounds(
    found: Sequence[Server],
    tag: bytes,
    interfaces: Sequence[Interface],
    shuffle: Callable[[MutableSequence[Server]], None],
) -> tuple[tuple[Server, ...], ...]:
    """Whom Apple's server asks in its three rounds: own host, attached networks too, everybody (NETINFO 4.3).

    255.255.255.255 becomes each interface's broadcast address; this very server is left out; the order is
    *shuffle*'s, then own host first, then attached networks.
    """
    own = {interface.address for interface in interfaces} | {"127.0.0.1"}
    broadcasts = dict.fromkeys(interface.broadcast for interface in interfaces)
    spread = [
        Server(address, server.tag)
        for server in found
        for address in (broadcasts if server.address == BROADCAST else (server.address,))
        if not (server.tag == tag and address in own)
    ]
    shuffle(spread)

    def distance(server: Server) -> int:
        if server.address in own:
            return 0
        return 1 if any(interface.reaches(server.address) for interface in interfaces) else 2

    spread.sort(key=distance)
    rounds = (tuple(server for server in spread if distance(server) <= far) for far in (0, 1, 2))
    return tuple(filter(None, rounds))
