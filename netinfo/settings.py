"""How a domain server behaves: everything a person may choose about one, with the defaults."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import attrs

from netinfo.access import Guards
from netinfo.addresses import ANY, own_addresses
from netinfo.generation import NEXT, Generation
from netinfo.superuser import OwnAddresses, SuperuserRule, reserved_port, same_user
from wire.transport.limits import RpcLimits
from wire.transport.tap import Tap

SUPERUSERS: dict[str, Callable[[OwnAddresses], SuperuserRule]] = {
    "reserved-port": reserved_port,
    "same-user": lambda own: same_user(own=own),
}
"""The superuser rules by their names in the configuration (NETINFO 3.2)."""


@attrs.frozen
class Settings:
    """Of one domain server, or of all on a host."""

    listen: str = "127.0.0.1"
    """The IPv4 address to listen on; 0.0.0.0 for all."""
    address: str = ""
    """The address at which other hosts reach this one; empty: the one it listens on, or the first of its
    own."""
    hostname: str = attrs.Factory(lambda: socket.gethostname().partition(".")[0] or "localhost")
    portmapper_port: int = 111
    """The portmapper's port on every host: 111, or a lab's high port."""
    generation: Generation = NEXT
    guards: Guards = attrs.field(factory=Guards)
    superuser: str = "reserved-port"
    forced_root: bool = False
    """Never look for a parent domain (the original's `netinfod -n`)."""
    limits: RpcLimits = attrs.field(factory=RpcLimits)
    taps: Sequence[Tap] = ()

    @property
    def own_address(self) -> str:
        """The address at which other hosts reach this one."""
        return self.address or (own_addresses()[0] if self.listen == ANY else self.listen)

    def own_addresses(self) -> tuple[str, ...]:
        """All addresses of this server's host that it can be known by, loopback last."""
        if self.listen == ANY:
            return (*own_addresses(), "127.0.0.1")
        return (self.listen, "127.0.0.1")

    def superuser_rule(self, own: OwnAddresses) -> SuperuserRule:
        """The rule that `superuser` names. Raises ValueError if there is none of that name."""
        try:
            return SUPERUSERS[self.superuser](own)
        except KeyError:
            names = " or ".join(SUPERUSERS)
            raise ValueError(f"superuser = {self.superuser!r}: write {names}") from None
