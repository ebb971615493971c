"""nireport: a table of chosen properties of a directory's children (NETINFO 6.5)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from netinfo.commands.options import (
    COMMON,
    DOMAINS,
    JSON,
    PATHS,
    UsageError,
    describe,
    manual,
    parse,
)
from netinfo.commands.printing import out, out_json, text
from netinfo.commands.tool import directory, open_domain, run_tool

OPTIONS = (*COMMON, JSON)
NO_VALUE = b"#NoValue#"

HELP = manual(
    "usage: nireport [OPTIONS] DOMAIN DIRECTORY PROPERTY...",
    """Prints one line for each child of a directory: the values of each property joined by
commas, a tab after each column, #NoValue# where there is none.""",
    f"Options:\n{describe(OPTIONS)}",
    DOMAINS,
    PATHS,
    examples="""\
nireport / /users name uid home
nireport -t srv/network /machines name ip_address serves""",
)


async def nireport(argv: list[str]) -> int:
    """Print the table."""
    arguments = parse(argv, OPTIONS)
    if len(arguments.operands) < 3:
        raise UsageError("a domain, a directory and at least one property are needed")
    where, path, *names = arguments.operands
    domain = await open_domain(arguments, where)
    here = await directory(domain, os.fsencode(path))
    columns: dict[str, dict[int, tuple[bytes, ...]]] = {}
    numbers: list[int] = []
    for name in names:
        entries = await domain.list(here, os.fsencode(name))
        columns[name] = {entry.id: entry.names or () for entry in entries}
        numbers = [entry.id for entry in entries]
    if arguments.has(JSON):
        out_json(
            [{name: list(map(text, columns[name].get(number, ()))) for name in names} for number in numbers]
        )
        return 0
    for number in numbers:
        cells = (b",".join(columns[name].get(number, ())) or NO_VALUE for name in names)
        out(b"".join(cell + b"\t" for cell in cells))
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nireport", HELP, nireport, argv)
