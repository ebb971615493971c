"""nidomain: list, make and unmake the domains of a host, through its binder (NETINFO 4.2, 6.5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from netinfo.addresses import to_number
from netinfo.client.errors import NetInfoError, status_text
from netinfo.client.names import BadNameError, Portmapper, TaggedServer, local_portmapper, parse_server
from netinfo.client.servers import call_binder, connect_binder
from netinfo.commands.options import (
    JSON,
    PASSWORD,
    PCAP,
    REDACT,
    TIMEOUT,
    Arguments,
    Option,
    UsageError,
    describe,
    manual,
    parse_around,
    table,
)
from netinfo.commands.printing import out, out_json, text
from netinfo.commands.tool import (
    BAD_SERVER_BASE,
    CANNOT_CONNECT,
    ROOT_USER,
    STATUS_BASE,
    USAGE,
    ToolError,
    network,
    password_for,
    run_tool,
)
from netinfo.credential import credential
from wire.formats.netinfo import NiStatus
from wire.formats.nibind import AddrInfo, CloneArgs, Registration
from wire.formats.portmap import IPPROTO_TCP
from wire.formats.rpc import AUTH_NONE, Auth
from wire.transport.errors import TransportError

LIST = Option(("-l",), "list the host's domains")
GET = Option(("-g",), "show one domain's ports")
MASTER = Option(("-m",), "make a master: a new domain called TAG")
DESTROY = Option(("-d",), "destroy a domain: end its server and delete its database")
UNREGISTER = Option(("-u",), "have the binder forget a tag")
ALIAS = Option(("-a",), "register ALIAS as another tag of the domain served as TAG")
CLONE = Option(("-c",), "make a clone called TAG of the domain that MASTER serves as MASTERTAG")
OPERATIONS = (LIST, GET, MASTER, DESTROY, UNREGISTER, ALIAS, CLONE)
ROOT_PROMPT = Option(("-p",), "give the password of HOST's root, which Apple's binders accept from anywhere")
OPTIONS = (ROOT_PROMPT, PASSWORD, TIMEOUT, PCAP, REDACT, JSON)

HELP = manual(
    """usage: nidomain -l [HOST]
       nidomain -g | -m | -d | -u TAG [HOST]
       nidomain -a TAG ALIAS [HOST]
       nidomain -c TAG MASTER/MASTERTAG [HOST]""",
    "Lists, makes and unmakes the domains of a host, through its binder.",
    f"Operations:\n{table((operation.names[0], operation.doc) for operation in OPERATIONS)}",
    f"Options, after the operation:\n{describe(OPTIONS)}",
    """HOST is a host, or HOST:PMAP for another portmapper port than 111; without it, this host. Only
the host's own superuser may change anything, or, where the binder is Apple's, who knows root's
password. -m, -c: done means begun; -l shows the domain when it is served.""",
    examples="""\
nidomain -l
nidomain -m network                             a new, nearly empty domain on this host
nidomain -c network srv/network                 a clone of the one that srv serves
nidomain -d network -p srv                      as root of srv, from elsewhere""",
)


OPERANDS = {LIST: "", ALIAS: "TAG ALIAS", CLONE: "TAG MASTER/MASTERTAG"}
"""What stands before HOST; else TAG."""


def identity_of(arguments: Arguments) -> Auth:
    """The credential that -p and -P ask for: the root of the binder's host (NETINFO 3.6). Raises `ToolError`."""
    if not (arguments.has(ROOT_PROMPT) or arguments.has(PASSWORD)):
        return AUTH_NONE
    try:
        return credential(0, password_for(ROOT_USER, arguments))
    except ValueError as error:
        raise ToolError(str(error), USAGE) from None


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
    arguments = parse_around(argv[1:], OPTIONS)
    operands = list(arguments.operands)
    wanted = OPERANDS.get(operation, "TAG").split()
    if not len(wanted) <= len(operands) <= len(wanted) + 1:
        raise UsageError(f"{argv[0]} takes {' '.join([*wanted, '[HOST]'])}")
    identity = identity_of(arguments)
    patience = arguments.number(TIMEOUT, 30.0)
    try:
        local = local_portmapper()
        portmapper = host_of(operands[-1], local) if len(operands) > len(wanted) else local
        master = parse_server(operands[1], local.port) if operation is CLONE else None
    except BadNameError as error:
        raise ToolError(str(error), BAD_SERVER_BASE + error.problem) from None
    reached = network(arguments)
    try:
        link = await connect_binder(reached, portmapper, IPPROTO_TCP, patience)
    except (TransportError, NetInfoError) as error:
        raise ToolError(f"no NetInfo binder on {portmapper.host}: {error}", CANNOT_CONNECT) from None

    async def ask(name: str, argument: Any) -> Any:
        return await call_binder(link, name, argument, patience, identity)

    try:
        tag = os.fsencode(operands[0]) if wanted else b""
        if operation is LIST:
            result = await ask("LISTREG", None)
            _check(result.status, operation)
            _show(result.body, arguments.has(JSON))
        elif operation in (GET, ALIAS):
            result = await ask("GETREGISTER", tag)
            _check(result.status, operation)
            if operation is GET:
                _show([Registration(tag, result.body)], arguments.has(JSON))
            else:
                alias = Registration(os.fsencode(operands[1]), result.body)
                _check(await ask("REGISTER", alias), operation)
        elif operation is CLONE:
            assert isinstance(master, TaggedServer)
            address = to_number(await reached.resolve(master.portmapper.host))
            name = os.fsencode(master.portmapper.host)
            _check(await ask("CREATECLONE", CloneArgs(tag, name, address, master.tag)), operation)
        else:
            call = {MASTER: "CREATEMASTER", DESTROY: "DESTROYDOMAIN", UNREGISTER: "UNREGISTER"}[operation]
            _check(await ask(call, tag), operation)
    finally:
        link.close()
    return 0


def _check(status: int, operation: Option) -> None:
    if status != NiStatus.NI_OK:
        sentence = f"{operation.doc.partition(':')[0]}: operation failed - {status_text(status)}"
        if status == NiStatus.NI_PERM:
            sentence += " (only the superuser of that host may; -p gives its root's password)"
        elif status == NiStatus.NI_SYSTEMERR and operation in (MASTER, CLONE):
            sentence += " (a tag is 1 to 64 of A-Z a-z 0-9 . _ -; else the host's log says why)"
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
