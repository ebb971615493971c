"""Tag aliases of Apple's binder: domains that some clients know under another tag (NETINFO 4.2).

A domain's root says `alias_name`, the tag, and `alias_addrs`, the networks whose clients mean this domain by it; so one
host can serve different domains as `network` to different networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netinfo.addresses import to_number
from netinfo.properties import values_of
from netinfo.tree import ROOT, Tree

Network = tuple[int, int]
"""Address and mask."""
Alias = tuple[bytes, tuple[Network, ...]]
"""The tag, and whose clients use it."""


def alias_of(tree: Tree) -> Alias | None:
    """The alias that a domain's root names; networks that cannot be read are left out."""
    root = tree.get(ROOT)
    names = values_of(root.properties, b"alias_name") if root else ()
    if root is None or not names:
        return None
    return names[0], tuple(_networks(values_of(root.properties, b"alias_addrs")))


def _networks(values: Iterable[bytes]) -> Iterator[Network]:
    """`address/mask`, or `address&mask`, both dotted."""
    for value in values:
        address, _, mask = value.decode("ascii", "replace").replace("&", "/").partition("/")
        try:
            yield to_number(address), to_number(mask)
        except ValueError:
            continue


def real_tag(tag: bytes, client: str, domains: Iterable[tuple[bytes, Tree]]) -> bytes:
    """The tag of the domain that a client with this address means by *tag*: *tag* itself, if it is nobody's alias."""
    try:
        address = to_number(client)
    except ValueError:  # IPv6
        return tag
    for real, tree in domains:
        alias = tree.derived(alias_of)
        if alias and alias[0] == tag and any(address & mask == network for network, mask in alias[1]):
            return real
    return tag
