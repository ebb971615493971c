"""niutil: read and change a domain's directories and properties (NETINFO 6.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from netinfo.client import editing
from netinfo.client.domain import Domain
from netinfo.client.errors import CannotConnectError, NetInfoError
from netinfo.commands.options import (
    COMMON,
    DOMAINS,
    JSON,
    PATHS,
    Arguments,
    Option,
    UsageError,
    describe,
    index_in,
    manual,
    parse,
    table,
)
from netinfo.commands.printing import (
    DIALECT,
    dialect_of,
    joined,
    json_properties,
    out,
    out_json,
    print_parent,
    print_properties,
    print_statistics,
    text,
)
from netinfo.commands.tool import ToolError, advised, directory, exit_code, open_domain, opener_of, run_tool
from netinfo.flat.model import Dialect
from wire.formats.netinfo import NiId, NiStatus

RETRY = Option(("-R",), "try again every 5 seconds while the master is busy")
NUMERIC = Option(("-n",), "with -rparent: the address instead of the host's name")
OPTIONS = (*COMMON, RETRY, NUMERIC, DIALECT, JSON)
BUSY_PAUSE = 5.0


@attrs.frozen
class Request:
    """What one operation was asked to do, on an open domain."""

    domain: Domain
    arguments: Arguments
    operands: tuple[bytes, ...]
    """Those after the domain."""
    dialect: Dialect

    @property
    def as_json(self) -> bool:
        return self.arguments.has(JSON)

    async def directory(self) -> NiId:
        return await directory(self.domain, self.operands[0])


# --- reading ----------------------------------------------------------------------------------------------


async def _read(request: Request) -> None:
    here, properties = await request.domain.read_with_id(await request.directory())
    if request.as_json:
        out_json({"id": here.object, "instance": here.instance, "properties": json_properties(properties)})
    else:
        print_properties(properties, request.dialect)


async def _list(request: Request) -> None:
    key = request.operands[1] if len(request.operands) > 1 else b"name"
    entries = await request.domain.list(await request.directory(), key)
    if request.as_json:
        out_json([{"id": entry.id, text(key): list(map(text, entry.names or ()))} for entry in entries])
        return
    for entry in entries:
        names = entry.names or ()
        if request.dialect is Dialect.NEXT:
            out(b"%-8d" % entry.id + joined(names, request.dialect))
        else:
            out(b"%d\t" % entry.id + joined(names, request.dialect))


async def _readprop(request: Request) -> None:
    values = await editing.property_of(request.domain, await request.directory(), request.operands[1])
    if request.as_json:
        out_json(list(map(text, values)))
    else:
        out(b" ".join(values))


async def _readval(request: Request) -> None:
    values = await editing.property_of(request.domain, await request.directory(), request.operands[1])
    index = index_in(request.operands[2])
    if index >= len(values):
        raise NetInfoError(NiStatus.NI_NONAME, f"{text(request.operands[1])}, value {index}")
    if request.as_json:
        out_json(text(values[index]))
    else:
        out(values[index])


async def _statistics(request: Request) -> None:
    await print_statistics(request.domain, request.dialect, as_json=request.as_json)


async def _rparent(request: Request) -> None:
    numeric = request.arguments.has(NUMERIC)
    await print_parent(request.domain, numeric=numeric, as_json=request.as_json)


async def _domainname(request: Request) -> None:
    name = await opener_of(request.domain).name_of(request.domain)
    if request.as_json:
        out_json(text(name))
    else:
        out(name)


async def _resync(request: Request) -> None:
    await request.domain.resync()


# --- changing ---------------------------------------------------------------------------------------------


async def _create(request: Request) -> None:
    await editing.make_path(request.domain, request.operands[0])


async def _destroy(request: Request) -> None:
    await editing.destroy(request.domain, await request.directory())


async def _createprop(request: Request) -> None:
    _, key, *values = request.operands
    await editing.set_property(request.domain, await request.directory(), key, values)


async def _appendprop(request: Request) -> None:
    _, key, *values = request.operands
    await editing.append_values(request.domain, await request.directory(), key, values)


async def _mergeprop(request: Request) -> None:
    _, key, *values = request.operands
    await editing.merge_values(request.domain, await request.directory(), key, values)


async def _insertval(request: Request) -> None:
    _, key, value, where = request.operands
    await editing.insert_value(request.domain, await request.directory(), key, value, index_in(where))


async def _destroyprop(request: Request) -> None:
    here = await request.directory()
    for key in request.operands[1:]:
        here, removed = await editing.remove_properties(request.domain, here, key)
        if not removed:
            raise NetInfoError(NiStatus.NI_NOPROP, text(key))


async def _destroyval(request: Request) -> None:
    _, key, *values = request.operands
    await editing.remove_values(request.domain, await request.directory(), key, values)


async def _renameprop(request: Request) -> None:
    _, old, new = request.operands
    await editing.rename_property(request.domain, await request.directory(), old, new)


# --- the command ------------------------------------------------------------------------------------------


@attrs.frozen
class Operation:
    """One of niutil's operations: the operands after DOMAIN, what it does, and how many operands it takes."""

    operands: str
    doc: str
    work: Callable[[Request], Awaitable[None]]
    least: int
    most: int | None = None
    """As `least` if None; below 0 without bound."""

    def takes(self, count: int) -> bool:
        most = self.least if self.most is None else self.most
        return self.least <= count and (most < 0 or count <= most)


ANY_NUMBER = -1
OPERATIONS = {
    "create": Operation("PATH", "make a directory, and those above it", _create, 1),
    "destroy": Operation("PATH", "destroy a directory and all below it", _destroy, 1),
    "createprop": Operation(
        "PATH KEY [VALUE...]", "make or overwrite a property", _createprop, 2, ANY_NUMBER
    ),
    "appendprop": Operation("PATH KEY VALUE...", "append values", _appendprop, 3, ANY_NUMBER),
    "mergeprop": Operation("PATH KEY VALUE...", "append the values not there yet", _mergeprop, 3, ANY_NUMBER),
    "insertval": Operation("PATH KEY VALUE INDEX", "insert a value before another", _insertval, 4),
    "destroyprop": Operation("PATH KEY...", "remove properties", _destroyprop, 2, ANY_NUMBER),
    "destroyval": Operation("PATH KEY VALUE...", "remove values", _destroyval, 3, ANY_NUMBER),
    "renameprop": Operation("PATH OLD NEW", "rename a property", _renameprop, 3),
    "read": Operation("PATH", "print a directory's properties", _read, 1),
    "list": Operation("PATH [KEY]", "print the children by name, or by another property", _list, 1, 2),
    "readprop": Operation("PATH KEY", "print a property's values", _readprop, 2),
    "readval": Operation("PATH KEY INDEX", "print one value", _readval, 3),
    "rparent": Operation("", "print a server of the parent domain", _rparent, 0),
    "resync": Operation("", "have the clones compare with the master", _resync, 0),
    "statistics": Operation("", "print the server's figures", _statistics, 0),
    "domainname": Operation("", "print the domain's path from the root domain", _domainname, 0),
}
ALIASES = {"stat": "statistics"}


_ROWS = table((f"-{name} DOMAIN {each.operands}".rstrip(), each.doc) for name, each in OPERATIONS.items())
HELP = manual(
    "usage: niutil -OPERATION [OPTIONS] DOMAIN [OPERANDS]",
    "Reads and changes a domain's directories and properties.",
    f"Operations:\n{_ROWS}",
    f"Options, after the operation:\n{describe(OPTIONS)}",
    DOMAINS,
    PATHS,
    examples="""\
niutil -list . /users                           the local domain's users
niutil -read / /machines/srv                    a machine, in the root domain
niutil -createprop -t srv/network /users/ann shell /bin/csh
niutil -createprop -u ann -t srv/network /users/ann passwd anABErWqW8xEs
niutil -statistics 127.0.0.1:10877              the server at that port""",
)


async def niutil(argv: list[str]) -> int:
    """Run one operation."""
    if not argv or not argv[0].startswith("-"):
        raise UsageError("an operation comes first, such as -list")
    name = argv[0].lstrip("-")
    operation = OPERATIONS.get(ALIASES.get(name, name))
    if operation is None:
        raise UsageError(f"{argv[0]} is not an operation; the operation comes first, options after it")
    arguments = parse(argv[1:], OPTIONS)
    dialect = dialect_of(arguments)
    if not arguments.operands or not operation.takes(len(arguments.operands) - 1):
        raise UsageError(f"-{name} takes DOMAIN {operation.operands}".rstrip())
    where, *operands = arguments.operands
    domain = await open_domain(arguments, where)
    request = Request(
        domain, arguments, tuple(word.encode("utf-8", "surrogateescape") for word in operands), dialect
    )
    while True:
        try:
            await operation.work(request)
            return 0
        except CannotConnectError:
            raise
        except NetInfoError as error:
            if error.status != NiStatus.NI_MASTERBUSY or not arguments.has(RETRY):
                about = ":".join([where, *operands[:1]])
                why = advised(error, "".join(operands[:1]))
                raise ToolError(f"can't {name} {about}: {why}", exit_code(error)) from error
        await domain.network.sleep(BUSY_PAUSE)


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("niutil", HELP, niutil, argv)
