"""nidump: a domain's directories as raw text, or as the flat files of Unix (NETINFO 6.3, 6.4)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
from netinfo.client.looking import read_children, read_tree
from netinfo.commands.options import (
    COMMON,
    DOMAINS,
    JSON,
    PATHS,
    Option,
    UsageError,
    describe,
    manual,
    parse_around,
)
from netinfo.commands.printing import DIALECT, dialect_of, json_properties, out, out_json
from netinfo.commands.tool import directory, open_domain, run_tool
from netinfo.flat.formats import FORMATS
from netinfo.flat.model import Dialect, FlatFormat
from netinfo.rawformat import Branch, dump_lines
from wire.formats.netinfo import NiStatus

RAW = Option(("-r",), "raw: DIRECTORY and everything below it, in a form that niload -r reads")
OPTIONS = (RAW, *COMMON, DIALECT, JSON)

HELP = manual(
    """usage: nidump [OPTIONS] FORMAT DOMAIN
       nidump [OPTIONS] -r DIRECTORY DOMAIN""",
    "Prints the directories of a domain as one of Unix's flat files, or as raw text.",
    f"Options:\n{describe(OPTIONS)}",
    f"FORMAT is one of {' '.join(list(FORMATS)[:9])}\n{' '.join(list(FORMATS)[9:])}.",
    DOMAINS,
    PATHS,
    examples="""\
nidump passwd /
nidump --dialect apple hosts -t srv/network     as Mac OS X's nidump printed them
nidump -r / -t srv/network > network.raw        everything; niload -r reads it""",
)


async def nidump(argv: list[str]) -> int:
    """Dump one format or directory."""
    # -t stood before the domain, after the format, in Apple's synopsis; so options may follow the first
    # operand.
    arguments = parse_around(argv, OPTIONS)
    if len(arguments.operands) != 2:
        raise UsageError("a format, or with -r a directory, and a domain are needed")
    what, where = arguments.operands
    dialect = dialect_of(arguments)
    if not arguments.has(RAW) and what not in FORMATS:
        raise UsageError(f"{what} is not a format; -r takes a directory")
    domain = await open_domain(arguments, where)
    if arguments.has(RAW):
        branch = await read_tree(domain, await directory(domain, os.fsencode(what)))
        if arguments.has(JSON):
            out_json(_json(branch))
        else:
            for line in dump_lines(branch):
                out(line)
        return 0
    await _dump_flat(domain, FORMATS[what], dialect, arguments.has(JSON))
    return 0


async def _dump_flat(domain: Domain, form: FlatFormat, dialect: Dialect, as_json: bool) -> None:
    try:
        top = await domain.find(form.directory)
    except NetInfoError as error:
        if error.status != NiStatus.NI_NODIR:
            raise
        if as_json:
            out_json([])
        return  # a domain without the directory has nothing to say
    if form.is_single:
        found = [await domain.read(top)]
    else:
        found = [properties async for _, properties in read_children(domain, top)]
    if as_json:
        out_json([json_properties(properties) for properties in found])
        return
    for line in form.header:
        out(line)
    for properties in found:
        for line in form.dump(properties, dialect):
            out(line)


def _json(branch: Branch) -> dict[str, object]:
    return {
        "properties": json_properties(branch.properties),
        "children": [_json(child) for child in branch.children],
    }


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nidump", HELP, nidump, argv)
