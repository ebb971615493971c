"""niload: flat files of Unix, or raw text, into a domain's directories (NETINFO 6.3, 6.4)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import attrs

from netinfo.client import editing
from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
from netinfo.commands.options import (
    COMMON,
    DOMAINS,
    Arguments,
    Option,
    UsageError,
    describe,
    manual,
    parse_around,
)
from netinfo.commands.printing import DIALECT, dialect_of
from netinfo.commands.tool import USAGE, ToolError, open_domain, run_tool
from netinfo.flat.formats import FORMATS
from netinfo.flat.model import Dialect, FlatError, Item
from netinfo.properties import values_of
from netinfo.rawformat import RawFormatError, load
from wire.formats.netinfo import LookupArgs, NiId, NiStatus, Property

VERBOSE = Option(("-v",), "say what is done with each item")
DELETE = Option(("-d",), "destroy what is there and not in the input")
MERGE = Option(
    ("-m",), "keep other properties, and values that the input lacks (apple; next keeps properties anyway)"
)
KEY = Option(("-k",), "the property by which items are found again (default name; NeXT's -u)", "KEY")
RAW = Option(("-r",), "raw: the text that nidump -r writes, into DIRECTORY", "DIRECTORY")
OPTIONS = (VERBOSE, DELETE, MERGE, KEY, RAW, *COMMON, DIALECT)
LONG = 3600.0
"""Seconds that a load may wait for one answer, as the original did."""

LOADABLE = [name for name, form in FORMATS.items() if form.load]
HELP = manual(
    """usage: niload [OPTIONS] FORMAT DOMAIN < FILE
       niload [OPTIONS] -r DIRECTORY DOMAIN < FILE""",
    """Loads one of Unix's flat files, or raw text, into a domain.

An item whose name is in the domain already gets the properties of the input: beside those it
has (next), or in their place (apple). With -r the directory's properties and everything below
it are replaced. The whole input is read, and refused if there is a mistake in it, before
anything is changed.""",
    f"Options:\n{describe(OPTIONS)}",
    f"FORMAT is one of {' '.join(LOADABLE[:9])}\n{' '.join(LOADABLE[9:])}.",
    DOMAINS,
    examples="""\
niload -v hosts -t srv/network < /etc/hosts
niload -d passwd -u root / < passwd             and destroy users that the file lacks
niload -r / -t srv/network < network.raw""",
)


@attrs.frozen
class Loading:
    """How items are brought into the directory of a format."""

    domain: Domain
    key: bytes
    dialect: Dialect
    merge: bool
    verbose: bool

    async def load(self, directory: NiId, items: Iterable[Item]) -> frozenset[bytes]:
        """Bring the items in; the keys that occurred."""
        seen = set()
        for item in items:
            value = next(iter(values_of(item.properties, self.key)), b"")
            if not value:
                raise FlatError(f"an item has no {os.fsdecode(self.key)}, by which it could be found again")
            seen.add(value)
            directory = await self._load_one(directory, value, item)
        return frozenset(seen)

    async def _load_one(self, directory: NiId, value: bytes, item: Item) -> NiId:
        found = await self.domain.call("LOOKUP", LookupArgs(directory, self.key, value))
        if found.status == NiStatus.NI_NODIR:
            self._say("create", value)
            return (await self.domain.create(directory, item.properties)).parent
        if found.status != NiStatus.NI_OK:
            raise NetInfoError(found.status, os.fsdecode(value))
        here, old = await self.domain.read_with_id(NiId(found.body.ids[0], 0))
        new = self._changed(old, item)
        if new == tuple(old):
            self._say("keep", value)
            return directory
        self._say("change", value)
        await self.domain.write(here, new)
        return directory

    def _changed(self, old: Sequence[Property], item: Item) -> tuple[Property, ...]:
        """What an existing directory's properties become (NETINFO 6.4, "niload update rules")."""
        given = {prop.name: prop for prop in item.properties}
        if self.dialect is Dialect.NEXT:
            kept = [given.pop(prop.name, prop) for prop in old if prop.name not in item.removed]
            return (*kept, *given.values())
        if not self.merge:
            return item.properties
        merged = []
        for prop in old:
            new = given.pop(prop.name, None)
            if new is not None:
                missing = tuple(value for value in prop.values if value not in new.values)
                prop = Property(prop.name, (*new.values, *missing))
            merged.append(prop)
        return (*merged, *given.values())

    async def delete_others(self, directory: NiId, seen: frozenset[bytes]) -> None:
        """Destroy the children whose key did not occur."""
        for entry in await self.domain.list(directory, self.key):
            names = entry.names or ()
            if seen.isdisjoint(names):
                self._say("destroy", names[0] if names else b"%d" % entry.id)
                directory = await editing.remove_tree(
                    self.domain, await self.domain.self_id(directory), entry.id
                )

    def _say(self, what: str, value: bytes) -> None:
        if self.verbose:
            sys.stderr.write(f"{what} {os.fsdecode(value)}\n")


async def niload(argv: list[str]) -> int:
    """Load stdin."""
    arguments = parse_around(argv, OPTIONS)
    dialect = dialect_of(arguments)
    data = sys.stdin.buffer
    try:
        if arguments.has(RAW):
            if len(arguments.operands) != 1:
                raise UsageError("-r DIRECTORY and a domain are needed")
            await _load_raw(arguments, data.read())
        else:
            await _load_flat(arguments, dialect, data)
    except (FlatError, RawFormatError) as error:
        raise ToolError(f"input: {error}", USAGE) from None
    return 0


async def _load_raw(arguments: Arguments, data: bytes) -> None:
    path = os.fsencode(arguments.get(RAW))
    if not path.startswith(b"/"):
        raise UsageError(f"-r {arguments.get(RAW)}: the directory's path begins with a slash")
    branch = load(data)
    domain = await open_domain(arguments, arguments.operands[0], LONG)
    await editing.load_tree(domain, await editing.make_path(domain, path), branch)


async def _load_flat(arguments: Arguments, dialect: Dialect, lines: Iterable[bytes]) -> None:
    if len(arguments.operands) != 2:
        raise UsageError("a format and a domain are needed")
    what, where = arguments.operands
    form = FORMATS.get(what)
    if form is None or form.load is None:
        raise UsageError(f"{what} cannot be loaded; formats are {' '.join(LOADABLE)}")
    items = list(
        form.load(lines, dialect)
    )  # before anything is changed: a mistake in the last line shows now
    domain = await open_domain(arguments, where, LONG)
    key = os.fsencode(arguments.get(KEY, "name"))
    loading = Loading(domain, key, dialect, arguments.has(MERGE), arguments.has(VERBOSE))
    directory = await editing.make_path(domain, form.directory)
    if arguments.has(DELETE) and dialect is Dialect.APPLE:
        directory = await editing.remove_children(domain, await domain.self_id(directory))
    seen = await loading.load(await domain.self_id(directory), items)
    if arguments.has(DELETE) and dialect is Dialect.NEXT:
        await loading.delete_others(directory, seen)


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("niload", HELP, niload, argv)
