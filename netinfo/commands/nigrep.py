"""nigrep: search a domain for a regular expression in names and values (NETINFO 6.5)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence

from netinfo.client import editing
from netinfo.client.domain import Domain
from netinfo.commands.options import (
    COMMON,
    DOMAINS,
    JSON,
    PATHS,
    UsageError,
    describe,
    manual,
    parse_around,
)
from netinfo.commands.printing import out, out_json, text
from netinfo.commands.tool import directory, open_domain, run_tool
from wire.formats.netinfo import NiId, Property

OPTIONS = (*COMMON, JSON)

HELP = manual(
    "usage: nigrep [OPTIONS] REGEXP DOMAIN [DIRECTORY...]",
    """Prints every property whose name or one of whose values matches an extended regular
expression (Python's kind), from the root or from the directories given, depth first.""",
    f"Options:\n{describe(OPTIONS)}",
    DOMAINS,
    PATHS,
    examples=r"""
nigrep '^192\.42' / /machines
nigrep -t '/bin/csh$' srv/network /users""".lstrip(),
)

Hit = tuple[NiId, bytes, Property]


async def search(domain: Domain, here: NiId, path: bytes, pattern: re.Pattern[bytes]) -> AsyncIterator[Hit]:
    """The properties below a directory in which the pattern occurs, with where they are."""
    for prop in await domain.read(here):
        if pattern.search(prop.name) or any(map(pattern.search, prop.values)):
            yield here, path, prop
    async for child, properties in editing.read_children(domain, here):
        name = next((p.values[0] for p in properties if p.name == b"name" and p.values), None)
        step = b"dir: %d" % child.object if name is None else name
        async for hit in search(domain, child, path.rstrip(b"/") + b"/" + step, pattern):
            yield hit


async def nigrep(argv: list[str]) -> int:
    """Search, and print what was found."""
    arguments = parse_around(argv, OPTIONS)
    if len(arguments.operands) < 2:
        raise UsageError("a regular expression and a domain are needed")
    expression, where, *starts = arguments.operands
    try:
        pattern = re.compile(os.fsencode(expression))
    except re.error as error:
        raise UsageError(f"{expression!r} is not a regular expression: {error}") from None
    domain = await open_domain(arguments, where)
    found = []
    for start in starts or ["/"]:
        here = await directory(domain, os.fsencode(start))
        async for found_in, path, prop in search(domain, here, await editing.path_of(domain, here), pattern):
            if arguments.has(JSON):
                values = list(map(text, prop.values))
                found.append(
                    {"id": found_in.object, "path": text(path), "name": text(prop.name), "values": values}
                )
            else:
                out(b"%d %s:  %s" % (found_in.object, path, b" ".join((prop.name, *prop.values))))
    if arguments.has(JSON):
        out_json(found)
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nigrep", HELP, nigrep, argv)
