"""nidomain: list, make and unmake the domains of a host, through its binder (NETINFO 4.2, 6.5)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from netinfo.addresses import to_number
from netinfo.client.errors import NetInfoError, status_text
from netinfo.client.names import BadNameError, Portmapper, TaggedServer, local_portmapper, parse_server
from netinfo.client.servers import call_binder, connect_binder
from netinfo.commands.tool import (
    BAD_SERVER_BASE,
    CANNOT_CONNECT,
    JSON,
    PCAP,
    STATUS_BASE,
    TIMEOUT,
    Option,
    ToolError,
    UsageError,
    describe,
    network,
    out,
    out_json,
    parse,
    run_tool,
    text,
)
from wire.formats.netinfo import NiStatus
from wire.formats.nibind import AddrInfo, CloneArgs, Registration
from wire.formats.portmap import IPPROTO_TCP
from wire.transport.errors import TransportError

LIST = Option(("-l",), "list the host's domains")
GET = Option(("-g",), "show one domain's ports")
MASTER = Option(("-m",), "make a master: a new domain called TAG")
DESTROY = Option(("-d",), "destroy a domain: end its server and delete its database")
UNREGISTER = Option(("-u",), "have the binder forget a tag")
CLONE = Option(("-c",), "make a clone called TAG of the domain that MASTER serves as MASTERTAG")
OPERATIONS = (LIST, GET, MASTER, DESTROY, UNREGISTER, CLONE)
OPTIONS = (TIMEOUT, PCAP, JSON)

HELP = f"""usage: nidomain -l [HOST]
       nidomain -g | -m | -d | -u TAG [HOST]
       nidomain -c TAG MASTER/MASTERTAG [HOST]

Operations:
{describe(OPERATIONS)}

Options, after the operation:
{describe(OPTIONS)}

HOST is a host, or HOST:PMAP for another portmapper port; without it, this host. Only this host's superuser
may change anything.
"""


def host_of(name: str, local: Portmapper) -> Portmapper:
    """The portmapper of a HOST or HOST:PMAP operand."""
    server = parse_server(f"{name}/any", local.port)
    assert isinstance(server, TaggedServer)
    return server.portmapper


async def nidomain(argv: list[str]) -> int:
    """Run one operation."""
    names = {name: operation for operation in OPERATIONS for name in operation.names}
    if not argv or argv[0] not in names:
        raise UsageError("an operation comes first, such as -l")
    operation = names[argv[0]]
    arguments = parse(argv[1:], OPTIONS)
    operands = list(arguments.operands)
    wanted = {LIST: 0, CLONE: 2}.get(operation, 1)
    if not wanted <= len(operands) <= wanted + 1:
        raise UsageError(
            f"{argv[0]} takes {('no', 'a', 'a tag and a master')[wanted]} operand and at most a host"
        )
    patience = arguments.number(TIMEOUT, 30.0)
    try:
        local = local_portmapper()
        portmapper = host_of(operands[wanted], local) if len(operands) > wanted else local
        master = parse_server(operands[1], local.port) if operation is CLONE else None
    except BadNameError as error:
        raise ToolError(str(error), BAD_SERVER_BASE + error.problem) from None
    reached = network(arguments)
    try:
        link = await connect_binder(reached, portmapper, IPPROTO_TCP, patience)
    except (TransportError, NetInfoError) as error:
        raise ToolError(f"no NetInfo binder on {portmapper.host}: {error}", CANNOT_CONNECT) from None
    try:
        tag = os.fsencode(operands[0]) if operands and wanted else b""
        if operation is LIST:
            result = await call_binder(link, "LISTREG", None, patience)
            _check(result.status, operation)
            _show(result.body, arguments.has(JSON))
        elif operation is GET:
            result = await call_binder(link, "GETREGISTER", tag, patience)
            _check(result.status, operation)
            _show([Registration(tag, result.body)], arguments.has(JSON))
        elif operation is CLONE:
            assert isinstance(master, TaggedServer)
            address = to_number(await reached.resolve(master.portmapper.host))
            name = os.fsencode(master.portmapper.host)
            _check(
                await call_binder(link, "CREATECLONE", CloneArgs(tag, name, address, master.tag), patience),
                operation,
            )
        else:
            call = {MASTER: "CREATEMASTER", DESTROY: "DESTROYDOMAIN", UNREGISTER: "UNREGISTER"}[operation]
            _check(await call_binder(link, call, tag, patience), operation)
    finally:
        link.close()
    return 0


def _check(status: int, operation: Option) -> None:
    if status != NiStatus.NI_OK:
        sentence = f"{operation.doc.partition(':')[0]}: operation failed - {status_text(status)}"
        raise ToolError(sentence, min(STATUS_BASE + status, 255))


def _show(registrations: Sequence[Registration], as_json: bool) -> None:
    if as_json:
        out_json([{"tag": text(r.tag), **_ports(r.addresses)} for r in registrations])
        return
    for registration in registrations:
        ports = registration.addresses
        out(b"tag=%s udp=%d tcp=%d" % (registration.tag, ports.udp_port, ports.tcp_port))


def _ports(addresses: AddrInfo) -> dict[str, int]:
    return {"udp": addresses.udp_port, "tcp": addresses.tcp_port}


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nidomain", HELP, nidomain, argv)
