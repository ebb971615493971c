"""nigrep: search a domain for a regular expression in names and values (NETINFO 6.5)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence

from netinfo.client import editing
from netinfo.client.looking import Found, View
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
from wire.formats.netinfo import Property

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

Hit = tuple[int, bytes, Property]
"""A directory's number and path, and a property of it."""


async def search(view: View, here: Found, path: bytes, pattern: re.Pattern[bytes]) -> AsyncIterator[Hit]:
    """The properties of a directory and those below it in which the pattern occurs, with where they are."""
    number, properties = here
    for prop in properties:
        if pattern.search(prop.name) or any(map(pattern.search, prop.values)):
            yield number, path, prop
    async for child in view.children(number):
        async for hit in search(view, child, editing.path_below(path, *child), pattern):
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
        view = await View.below(domain, here)
        top = here.object, await view.properties(here.object)
        async for number, path, prop in search(view, top, await editing.path_of(domain, here), pattern):
            if arguments.has(JSON):
                values = list(map(text, prop.values))
                found.append({"id": number, "path": text(path), "name": text(prop.name), "values": values})
            else:
                out(b"%d %s:  %s" % (number, path, b" ".join((prop.name, *prop.values))))
    if arguments.has(JSON):
        out_json(found)
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nigrep", HELP, nigrep, argv)
