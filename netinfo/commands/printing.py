"""What the ni* tools print, as NeXT's or Apple's did, or as JSON (NETINFO 6.5)."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from netinfo.addresses import to_text
from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
from netinfo.commands.options import Arguments, Option, UsageError
from netinfo.flat.model import Dialect
from wire.formats.netinfo import NiStatus, Property

DIALECT = Option(("--dialect",), "print as this generation's tools did: next (default) or apple", "NAME")


def dialect_of(arguments: Arguments) -> Dialect:
    """The dialect of --dialect. Raises `UsageError`."""
    name = arguments.get(DIALECT, Dialect.NEXT.value)
    try:
        return Dialect(name)
    except ValueError:
        raise UsageError(f"--dialect is next or apple, not {name!r}") from None


def out(line: bytes) -> None:
    """Print a line; names are bytes, and leave as they are."""
    sys.stdout.buffer.write(line + b"\n")


def out_json(value: Any) -> None:
    """Print a value as JSON; bytes that are no UTF-8 are escaped as surrogates."""
    import json  # here, as other imports in this module: a tool that does not need it starts faster

    out(json.dumps(value, indent=2).encode())


def text(name: bytes) -> str:
    """A name as text that gives the same bytes back."""
    return os.fsdecode(name)


def json_properties(properties: Iterable[Property]) -> list[dict[str, Any]]:
    """Properties in order; a list, because their names need not differ."""
    return [
        {"name": text(prop.name), "values": [text(value) for value in prop.values]} for prop in properties
    ]


def joined(values: Sequence[bytes], dialect: Dialect) -> bytes:
    """Values as niutil prints them: Apple's put a blank before each, NeXT's one more after the last."""
    end = b" " if dialect is Dialect.NEXT else b""
    return b"".join(b" " + value for value in values) + end


def print_properties(properties: Sequence[Property], dialect: Dialect, indent: bytes = b"") -> None:
    for prop in properties:
        out(indent + prop.name + b":" + joined(prop.values, dialect))


async def print_statistics(domain: Domain, dialect: Dialect, *, as_json: bool) -> None:
    """The server's figures."""
    properties = await domain.statistics()
    if as_json:
        out_json({text(prop.name): list(map(text, prop.values)) for prop in properties})
    else:
        print_properties(properties, dialect)


async def print_parent(domain: Domain, *, numeric: bool, as_json: bool) -> None:
    """A server of the parent domain, by its host's name if there is one and it is not to be *numeric*."""
    try:
        binding = await domain.rparent()
    except NetInfoError as error:
        if error.status != NiStatus.NI_NETROOT:
            raise
        if as_json:
            out_json(None)
        else:
            out(b"root domain: no parent")
        return
    host = address = to_text(binding.address)
    if as_json:
        out_json({"address": address, "tag": text(binding.tag)})
        return
    if not numeric:
        with suppress(OSError):  # without a name the number will do
            host = socket.gethostbyaddr(address)[0]
    out(host.encode() + b"/" + binding.tag)
