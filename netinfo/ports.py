"""On which ports the daemons listen: the historic numbers, the same numbers higher up, or any that are free.

NetInfo's servers took reserved ports from 600 to 1023 as they came; two of them stuck: 877 and 1033. Without
privileges the same numbers are used with a base added, so that each can still be recognized.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

PORTMAPPER = 111
BINDER = 766
NETWORK = 877
LOCAL = 1033
OTHERS = (*range(878, 1024), *range(600, 766))
"""Where further domains look for a port, in this order; 869, 871 and the binder's are left to their
owners."""
TAKEN = frozenset({869, 871, BINDER})
DEFAULT_BASE = 10_000


@attrs.frozen
class Ports:
    """The numbers, *base* added; without a base any free ones (0)."""

    base: int | None = DEFAULT_BASE

    def at(self, historic: int) -> int:
        """The port for a service that historically had this one."""
        return 0 if self.base is None else self.base + historic

    @property
    def portmapper(self) -> int:
        return self.at(PORTMAPPER)

    @property
    def binder(self) -> int:
        return self.at(BINDER)

    def of_domain(self, tag: bytes) -> Iterator[int]:
        """The ports to try for a domain, best first."""
        if self.base is None:
            yield 0
            return
        if tag == b"local":
            yield self.at(LOCAL)
        if tag == b"network":
            yield self.at(NETWORK)
        yield from (self.at(port) for port in OTHERS if port not in TAKEN)


HISTORIC = Ports(0)
ANY = Ports(None)
