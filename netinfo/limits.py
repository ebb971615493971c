"""How large a domain may grow (NETINFO 8): all far above what real databases used, all below what would hurt a
server.

A write that would pass one is answered NI_NOSPACE, a read whose reply would is RPC SYSTEM_ERR.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from wire.formats.netinfo import Property


class ReplySizeError(Exception):
    """A reply that no client could take; the RPC service answers SYSTEM_ERR."""


@attrs.frozen
class Limits:
    """Counts and sizes in bytes."""

    name: int = 1024
    """Bytes in a property's name."""
    value: int = 65_535
    """Bytes in a value (the wire's own limit)."""
    values: int = 4096
    """Values of one property."""
    properties: int = 1024
    """Properties of one directory."""
    directory: int = 1 << 20
    """Bytes in all names and values of one directory."""
    children: int = 1_000_000
    """Children of one directory."""
    directories: int = 1_000_000
    """Directories of a domain."""
    depth: int = 128
    """Directories from the root down to the deepest one."""
    target_gap: int = 65_536
    """How far beyond the highest number a CREATE may ask to be (NETINFO 2.3)."""
    reply: int = 64 << 20
    """Bytes in a reply."""

    def admit(self, properties: Sequence[Property]) -> bool:
        """Whether one directory may have these properties."""
        if len(properties) > self.properties:
            return False
        total = 0
        for prop in properties:
            if len(prop.name) > self.name or len(prop.values) > self.values:
                return False
            total += len(prop.name)
            for value in prop.values:
                if len(value) > self.value:
                    return False
                total += len(value)
        return total <= self.directory


LIMITS = Limits()
"""The default."""
