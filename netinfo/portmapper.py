"""The portmapper, ONC RPC program 100000 version 2: the service that NetInfo clients ask first (NETINFO 1.1,
4.4).

`PortmapTable` is the rules: which program listens where. `PortmapperService` answers calls from it, and
passes on the few harmless calls of the NetInfo binder that may come wrapped in CALLIT.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.logger import Logger

from netinfo.addresses import is_loopback
from netinfo.seldom import Seldom
from wire.codec import codec
from wire.formats.errors import FormatError
from wire.formats.nibind import NIBIND
from wire.formats.portmap import IPPROTO_TCP, IPPROTO_UDP, PORTMAP, CallitArgs, CallitResult, Mapping
from wire.formats.rpc import Procedure
from wire.transport.errors import TransportError
from wire.transport.rpc_server import NO_REPLY, IncomingCall

log = Logger()

CALLIT_PROCEDURES = frozenset({"PING", "GETREGISTER", "BIND"})
"""The binder's procedures that CALLIT passes on; anything else would make the portmapper a reflector (NETINFO
4.4)."""
CALLIT_LIMIT = 64
"""Calls passed on at the same time; more are dropped, as a lost datagram would be."""
MAPPINGS_LIMIT = 1024
"""Most mappings held; SET is refused beyond."""

Forward = Callable[[int, Procedure, Any], Awaitable[Any]]
"""Calls a procedure of the binder at a UDP port of this host, once, and gives its result; raises
`TransportError`."""


class PortmapTable:
    """Program, version and protocol -> port (RFC 1833 3)."""

    def __init__(self) -> None:
        self._ports: dict[tuple[int, int, int], int] = {}

    def set(self, mapping: Mapping) -> bool:
        """Register. False where the same program, version and protocol has another port already."""
        key = (mapping.program, mapping.version, mapping.protocol)
        if key not in self._ports and len(self._ports) >= MAPPINGS_LIMIT:
            return False
        return self._ports.setdefault(key, mapping.port) == mapping.port

    def unset(self, program: int, version: int) -> bool:
        """Forget a program's version on every protocol. False where there was none."""
        gone = [key for key in self._ports if key[:2] == (program, version)]
        for key in gone:
            del self._ports[key]
        return bool(gone)

    def port(self, program: int, version: int, protocol: int) -> int:
        """The port, 0 if none.

        Where only another version is registered its port is given: its server answers with the versions that
        it has (RFC 1833 3.2, PMAPPROC_GETPORT).
        """
        exact = self._ports.get((program, version, protocol))
        if exact is not None:
            return exact
        others = (port for key, port in self._ports.items() if key[0] == program and key[2] == protocol)
        return next(others, 0)

    def mappings(self) -> tuple[Mapping, ...]:
        """All mappings, oldest first."""
        return tuple(Mapping(*key, port) for key, port in self._ports.items())


@attrs.define
class PortmapperService:
    """Program 100000: `table` to the outside, SET and UNSET for this host alone."""

    table: PortmapTable
    forward: Forward
    program = PORTMAP
    _forwarding: int = attrs.field(default=0, init=False)
    _telling: Seldom = attrs.field(factory=Seldom, init=False)

    def serve(self, call: IncomingCall) -> Any:
        name, argument = call.procedure.name, call.argument
        if name == "GETPORT":
            return self.table.port(argument.program, argument.version, argument.protocol)
        if name == "CALLIT":
            return self._callit(argument)
        if name == "DUMP":
            return self.table.mappings()
        if name == "NULL":
            return None
        if not is_loopback(call.peer.host):
            if self._telling():
                log.warn(
                    "{name} from {peer} refused: only this host may change the table",
                    name=name,
                    peer=call.peer,
                )
            return False
        if name == "SET":
            return self.table.set(argument)
        return self.table.unset(argument.program, argument.version)

    async def _callit(self, args: CallitArgs) -> Any:
        """Every failure is silent: the call is normally a broadcast, and only who can help may speak (NETINFO
        4.4)."""
        procedure = NIBIND.by_number.get(args.procedure)
        port = self.table.port(args.program, args.version, IPPROTO_UDP)
        if (args.program, args.version) != (NIBIND.number, NIBIND.version) or procedure is None:
            return NO_REPLY
        if procedure.name not in CALLIT_PROCEDURES or not port or self._forwarding >= CALLIT_LIMIT:
            return NO_REPLY
        self._forwarding += 1
        try:
            argument, _ = codec(procedure.argument).parse(args.arguments)
            result = await self.forward(port, procedure, argument)
            return CallitResult(port, codec(procedure.result).build(result))
        except (TransportError, FormatError):
            return NO_REPLY
        finally:
            self._forwarding -= 1


def register_itself(table: PortmapTable, port: int) -> None:
    """A portmapper is the first entry of its own table, as `rpcinfo -p` shows it."""
    for protocol in (IPPROTO_TCP, IPPROTO_UDP):
        table.set(Mapping(PORTMAP.number, PORTMAP.version, protocol, port))
