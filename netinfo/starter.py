"""The domains a server starts with: the samples of a lab, and the bare database of `netinfod -m` (NETINFO 7.4, 4.2).

The samples are raw-format texts in `netinfo/samples`, complete enough for a NeXT to boot from, with the addresses
left open: a parent's `ip_address` must be exactly the address at which clients reach it (NETINFO 4.5). Their
passwords are known to everybody: `PASSWORDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from netinfo.addresses import to_number
from netinfo.rawformat import Branch, load
from wire.formats.netinfo import Property

PASSWORDS = {
    b"network": {b"root": b"secret", b"ann": b"pencil", b"ben": b"violin"},
    b"local": {b"root": b"secret", b"me": b"cube"},
}
"""Domain tag -> account -> password of the samples."""

SHARED = ("protocols", "services", "rpcs")
"""Directories that both samples have, each in a text of its own."""
WORKSTATIONS = (5, 6)
"""Last parts of the addresses of the sample workstations; the server's own is skipped."""


def sample(tag: bytes, address: str, host: str = "srv") -> Branch:
    """The starter domain `network` or `local` of a server called *host*, which clients reach at *address*.

    The workstations of `network` are neighbours of *address*: 127.0.0.5 and 127.0.0.6 for 127.0.0.1. Raises
    ValueError for another tag, or an address that is not IPv4.
    """
    if tag not in PASSWORDS:
        raise ValueError(f"there is no sample for a domain called {tag.decode(errors='replace')}")
    last = to_number(address) & 0xFF
    network = address.rpartition(".")[0]
    neighbours = [part for part in (*WORKSTATIONS, WORKSTATIONS[-1] + 1) if part != last]
    texts = files("netinfo.samples")
    text = texts.joinpath(f"{tag.decode()}.raw").read_text()
    for name in SHARED:
        text = text.replace(f"@{name.upper()}@", texts.joinpath(f"{name}.raw").read_text().rstrip())
    for place, value in {
        "ADDRESS": address,
        "NETWORK": network,
        "HOST": host,
        "WS1": f"{network}.{neighbours[0]}",
        "WS2": f"{network}.{neighbours[1]}",
    }.items():
        text = text.replace(f"@{place}@", value)
    return load(text.encode())


def bare_master(tag: bytes, host: bytes, addresses: Sequence[str]) -> Branch:
    """What `netinfod -m` makes: the master's own machine entry and nothing else, so no users (NETINFO 4.2)."""
    return _bare(host + b"/" + tag, host, addresses, b"./" + tag)


def bare_clone(master_host: bytes, master_address: str, master_tag: bytes) -> Branch:
    """What `netinfod -c` makes: enough to find the master, from which the rest is then transferred (NETINFO 4.2)."""
    return _bare(master_host + b"/" + master_tag, master_host, (master_address,), b"./" + master_tag)


def _bare(master: bytes, host: bytes, addresses: Sequence[str], serves: bytes) -> Branch:
    machine = Branch(
        (
            Property(b"name", (host,)),
            Property(b"ip_address", tuple(address.encode() for address in addresses)),
            Property(b"serves", (serves,)),
        )
    )
    machines = Branch((Property(b"name", (b"machines",)),), (machine,))
    return Branch((Property(b"master", (master,)),), (machines,))
