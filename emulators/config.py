"""What a lab can be told: typed values, from a TOML file and from the options of `ghostports lab`, which win.

listen = "192.168.7.1"          # else 127.0.0.1
port_base = 0                   # else 10000: each service at 10000 + its historic port
console_port = 9000

[netinfo]
generation = "apple"

[sup]
max_clients = 200
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs.validators import and_, ge, in_, le

from emulators.faults import NO_FAULTS, Faults
from netinfo.access import Guards
from netinfo.generation import GENERATIONS
from netinfo.ports import ANY, DEFAULT_BASE, HISTORIC, Ports
from netinfo.settings import SUPERUSERS
from sup.config import ConfigError, ServerConfig, read
from wire.transport.limits import RpcLimits

CONSOLE_PORT = 8877
HIGHEST_BASE = 65_535 - 1_127
"""Above it the last of the historic numbers would be no port any more."""

DECIDED_BY_THE_LAB = ("listen", "port", "user", "workers", "name_server", "name_port")

__all__ = ["ConfigError", "LabConfig", "NetInfoConfig", "with_options"]


@attrs.frozen(kw_only=True)
class NetInfoConfig:
    """How the lab's domains behave."""

    generation: str = attrs.field(default="next", validator=in_(tuple(GENERATIONS)))
    superuser: str = attrs.field(default="same-user", validator=in_(tuple(SUPERUSERS)))
    """`same-user`, so that a student can write; the servers' own default is `reserved-port` (NETINFO 3.2)."""
    guards: Guards = attrs.Factory(Guards)
    limits: RpcLimits = attrs.Factory(RpcLimits)


@attrs.frozen(kw_only=True)
class LabConfig:
    """Everything about a lab that a person may choose, but for its name and its directory."""

    listen: str = "127.0.0.1"
    """The IPv4 address that every service listens on; 0.0.0.0 for all of this machine's."""
    port_base: int = attrs.field(default=DEFAULT_BASE, validator=and_(ge(0), le(HIGHEST_BASE)))
    """Added to each historic port; 0 takes any free ports."""
    historic_ports: bool = False
    """The historic ports themselves, which need privileges."""
    console: bool = True
    console_port: int = attrs.field(default=CONSOLE_PORT, validator=and_(ge(0), le(65_535)))
    """Where the web console listens, on 127.0.0.1; the next free port if this one is taken."""
    fault: str = ""
    """What the network does wrong, such as ``drop=0.1,delay=50ms,dup=0.05``."""
    netinfo: NetInfoConfig = attrs.Factory(NetInfoConfig)
    sup: ServerConfig = attrs.Factory(ServerConfig)
    """As `supfilesrv --config` has it, but for what the lab itself decides; the sample is served besides."""
    sup_debug_port: bool = True
    """Serve SUP on port 1127 besides, where Debian's `sup -P` looks."""

    def __attrs_post_init__(self) -> None:
        try:
            ipaddress.IPv4Address(self.listen)
        except ValueError:
            raise ConfigError(f"listen: {self.listen!r} is not an IPv4 address") from None
        for key in DECIDED_BY_THE_LAB:
            if getattr(self.sup, key) != getattr(ServerConfig(), key):
                raise ConfigError(f"sup.{key}: it is the lab's to decide; write the lab's own key instead")
        try:
            Faults.parse(self.fault)
        except ValueError as error:
            raise ConfigError(f"fault: {error}") from None

    @property
    def ports(self) -> Ports:
        """Where the services listen."""
        if self.historic_ports:
            return HISTORIC
        return Ports(self.port_base) if self.port_base else ANY

    @property
    def faults(self) -> Faults:
        """What the network does wrong."""
        return Faults.parse(self.fault) if self.fault else NO_FAULTS


def with_options(path: Path | None, options: Mapping[str, Any]) -> LabConfig:
    """The configuration of the file *path*, if there is one, with the *options* that are not None in its place.

    Raises ConfigError, naming the key.
    """
    config = LabConfig() if path is None else read(path, LabConfig)
    try:
        return attrs.evolve(config, **{name: value for name, value in options.items() if value is not None})
    except ValueError as error:
        raise ConfigError(str(error)) from None
