"""nifind: in which domains, from the local one up to the root, a directory exists (NETINFO 6.5)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence

from netinfo.client.domain import Domain
from netinfo.client.errors import CommunicationError, NetInfoError
from netinfo.client.names import LOCAL_TAG, TaggedServer
from netinfo.client.opening import Opener
from netinfo.commands.options import (
    DOMAINS,
    JSON,
    PATHS,
    PCAP,
    REDACT,
    TAGGED,
    TIMEOUT,
    Option,
    UsageError,
    describe,
    manual,
    parse_around,
)
from netinfo.commands.printing import json_properties, out, out_json, print_properties, text
from netinfo.commands.tool import open_domain, opener_of, run_tool
from netinfo.flat.model import Dialect
from wire.formats.netinfo import NiId, NiStatus

ALL = Option(("-a",), "search the whole tree of domains below the root, too")
NO_LOCAL = Option(("-n",), "leave out the local domains")
VERBOSE = Option(("-v",), "say where the directory was not found, too")
PRINT = Option(("--print", "-p"), "print the directory")
OPTIONS = (ALL, NO_LOCAL, VERBOSE, PRINT, TAGGED, TIMEOUT, PCAP, REDACT, JSON)
TIMEOUT_DEFAULT = 2.0
DEPTH = 32

HELP = manual(
    "usage: nifind [OPTIONS] DIRECTORY [DOMAIN]",
    "Looks for a directory in DOMAIN, by default the local one, and in every domain above it.",
    f"Options:\n{describe(OPTIONS)}",
    DOMAINS,
    PATHS,
    examples="""\
nifind /users/ann
nifind -v -p /machines/name=srv
nifind -a -n /users/root                        in every domain but the local ones""",
)


async def climbing(how: Opener, start: Domain) -> AsyncIterator[Domain]:
    """A domain and those above it. Ends with the root, or where a parent does not answer."""
    domain = start
    for _ in range(DEPTH):
        yield domain
        try:
            domain = await how.parent(domain)
        except NetInfoError as error:
            if error.status != NiStatus.NI_NETROOT:
                raise
            return


async def whole_tree(how: Opener, domain: Domain, depth: int = 0) -> AsyncIterator[Domain]:
    """A domain and all below it, as their `serves` values name them. Those that do not answer are left
    out."""
    yield domain
    if depth >= DEPTH:
        return
    for name in await how.children(domain):
        try:
            child = await how.child(domain, name)
        except CommunicationError:
            continue
        async for each in whole_tree(how, child, depth + 1):
            yield each


def is_local(domain: Domain) -> bool:
    server = domain.servers[0]
    return isinstance(server, TaggedServer) and server.tag == LOCAL_TAG


async def nifind(argv: list[str]) -> int:
    """Search, and print where the directory is."""
    arguments = parse_around(argv, OPTIONS)
    if not 1 <= len(arguments.operands) <= 2:
        raise UsageError("a directory, and at most a domain, are needed")
    path = os.fsencode(arguments.operands[0])
    where = arguments.operands[1] if len(arguments.operands) > 1 else "."
    start = await open_domain(arguments, where, TIMEOUT_DEFAULT)
    how = opener_of(start)
    if arguments.has(ALL):
        top = (await how.climb(start))[-1]
        domains = whole_tree(how, top)
    else:
        domains = climbing(how, start)
    found = []
    async for domain in domains:
        if arguments.has(NO_LOCAL) and is_local(domain):
            continue
        name = await _name(how, domain)
        try:
            here = await domain.find(path if path.startswith(b"/") else b"/" + path)
        except NetInfoError as error:
            if isinstance(error, CommunicationError):
                raise
            if arguments.has(VERBOSE) and not arguments.has(JSON):
                out(b"%s not found in %s" % (path, name))
            continue
        if arguments.has(JSON):
            properties = json_properties(await domain.read(here))
            found.append(
                {"path": text(path), "domain": text(name), "id": here.object, "properties": properties}
            )
            continue
        out(b"%s found in %s, id = %d" % (path, name, here.object))
        if arguments.has(PRINT):
            await _print(domain, here)
    if arguments.has(JSON):
        out_json(found)
    return 0


async def _name(how: Opener, domain: Domain) -> bytes:
    """A domain's path, or the server that it was reached at where its parents do not tell."""
    try:
        return await how.name_of(domain)
    except NetInfoError:
        return os.fsencode(str(domain))


async def _print(domain: Domain, here: NiId) -> None:
    print_properties(await domain.read(here), Dialect.APPLE)
    out(b"")


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nifind", HELP, nifind, argv)
