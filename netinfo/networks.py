"""From which networks a domain may be reached: the root's `trusted_networks` (NETINFO 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from netinfo.properties import values_of
from netinfo.tree import ROOT, Tree

PEERS_REMEMBERED = 4096


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
