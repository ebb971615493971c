"""nicl's commands: what each takes and does, in a session with a current directory (NETINFO 6.5)."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import attrs

from netinfo.client import editing
from netinfo.client.domain import NAME, Domain
from netinfo.client.errors import NetInfoError
from netinfo.client.looking import View
from netinfo.client.opening import Opener
from netinfo.client.paths import parse_path, parse_x500
from netinfo.commands.options import UsageError, index_in
from netinfo.commands.printing import (
    json_properties,
    out,
    out_json,
    print_parent,
    print_properties,
    print_statistics,
    text,
)
from netinfo.commands.tool import ask_password, directory
from netinfo.flat.model import Dialect
from netinfo.rawformat import load
from wire.formats.netinfo import NiId, NiStatus, Property

NEWEST = 0xFFFFFFFF
HISTORY = 20
"""Changes that `history` shows unless told otherwise."""


class Quit(Exception):
    """The session ends."""


@attrs.define
class Session:
    """An open domain, where one is in it, and how to answer."""

    domain: Domain
    opener: Opener | None
    """None for a database without a server."""
    cwd: bytes = b"/"
    read_only: bool = False
    verbose: bool = False
    as_json: bool = False
    x500: bool = False
    """Directories are named as in X.500, `name=ann,name=users`, always from the root."""
    run_line: Callable[[str], Awaitable[None]] | None = None
    """Runs a command line, for `source`."""

    def resolve(self, path: bytes) -> bytes:
        """An absolute path, from one that may start at the current directory."""
        if self.x500 and path not in (b".", b".."):
            return bytes(parse_x500(path))
        whole = path if path.startswith(b"/") else self.cwd.rstrip(b"/") + b"/" + path
        steps: list[bytes] = []
        for step in parse_path(whole).steps:
            if step.key == NAME and step.value in (b"", b"."):
                continue
            if step.key == NAME and step.value == b"..":
                steps = steps[:-1]
            else:
                steps.append(bytes(step))
        return b"/" + b"/".join(steps)

    async def directory(self, path: bytes) -> NiId:
        """The directory at a path, or of a number."""
        return await directory(self.domain, path if path.isdigit() else self.resolve(path))

    def shown(self, path: bytes) -> bytes:
        """A path as this session prints it."""
        return parse_path(path).to_x500() if self.x500 else path

    def tell(self, line: bytes) -> None:
        """Print a result that is one text."""
        if self.as_json:
            out_json(text(line))
        else:
            out(line)


Words = Sequence[bytes]


# --- reading ----------------------------------------------------------------------------------------------


async def read(session: Session, words: Words) -> None:
    path, *keys = words or (b".",)
    here, properties = await session.domain.read_with_id(await session.directory(path))
    shown = [prop for prop in properties if not keys or prop.name in keys]
    missing = [key for key in keys if key not in {prop.name for prop in properties}]
    if missing:
        raise NetInfoError(NiStatus.NI_NOPROP, text(missing[0]))
    if session.as_json:
        out_json({"id": here.object, "instance": here.instance, "properties": json_properties(shown)})
        return
    if session.verbose:
        children = await session.domain.children(here)
        out(b"Record: %d" % here.object)
        out(b"Serial: %d" % here.instance)
        out(b"Parent: %d" % await session.domain.parent(here))
        out(b"Children: %d" % len(children))
    for title, group in (
        (b"Attributes:", [prop for prop in shown if not prop.name.startswith(b"_")]),
        (b"Meta-attributes:", [prop for prop in shown if prop.name.startswith(b"_")]),
    ):
        if session.verbose:
            out(title)
            print_properties(group, Dialect.APPLE, b"    ")
    if not session.verbose:
        print_properties(shown, Dialect.APPLE)


async def list_children(session: Session, words: Words) -> None:
    path, key = (*words, *(b".", NAME)[len(words) :])
    entries = await session.domain.list(await session.directory(path), key)
    if session.as_json:
        out_json([{"id": entry.id, text(key): list(map(text, entry.names or ()))} for entry in entries])
        return
    for entry in entries:
        out((b"%-10d" % entry.id + b" ".join(entry.names or ())).rstrip())


async def search(session: Session, words: Words) -> None:
    path, least, most, key, *values = words
    if not (least.isdigit() and most.isdigit()):
        raise UsageError("search takes DIRECTORY, the least and the greatest depth, KEY and values")
    start = await session.directory(path)
    bounds = int(least), int(most)
    found: list[dict[str, object]] = []

    async def visit(number: int, properties: Sequence[Property], where: bytes, depth: int) -> None:
        hits = [p for p in properties if p.name == key and (not values or any(v in values for v in p.values))]
        if bounds[0] <= depth and hits:
            shown = session.shown(where)
            if session.as_json:
                found.append({"id": number, "path": text(shown), "properties": json_properties(hits)})
            else:
                out(b"%-10d%s" % (number, shown))
        if depth < bounds[1]:
            async for child, below in view.children(number):
                await visit(child, below, editing.path_below(where, child, below), depth + 1)

    deep = bounds[1] > 1
    view = await View.below(session.domain, start) if deep else View(session.domain, {})
    top = await view.properties(start.object)
    await visit(start.object, top, await editing.path_of(session.domain, start), 0)
    if session.as_json:
        out_json(found)


async def path_of(session: Session, words: Words) -> None:
    here = await session.directory(words[0] if words else b".")
    session.tell(session.shown(await editing.path_of(session.domain, here)))


async def history(session: Session, words: Words) -> None:
    """The latest changes, newest first, which Apple's servers remember (NETINFO 2.3)."""
    count = int(words[0]) if words and words[0].isdigit() else HISTORY
    try:
        newest = await session.domain.self_id(NiId(NEWEST, NEWEST))
    except NetInfoError as error:
        if error.status not in (NiStatus.NI_BADID, NiStatus.NI_NODIR):
            raise
        raise NetInfoError(error.status, "this server keeps no versions (Apple's generation does)") from None
    found: list[dict[str, object]] = []
    for version in range(newest.instance, max(newest.instance - count, -1), -1):
        try:
            changed = await session.domain.self_id(NiId(NEWEST, version))
        except NetInfoError:
            continue  # a later change of the same directory has taken its place
        where = session.shown(await editing.path_of(session.domain, changed))
        if session.as_json:
            found.append({"version": version, "id": changed.object, "path": text(where)})
        else:
            out(b"%-10d%-10d%s" % (version, changed.object, where))
    if session.as_json:
        out_json(found)


async def statistics(session: Session, words: Words) -> None:
    await print_statistics(session.domain, Dialect.APPLE, as_json=session.as_json)


async def domainname(session: Session, words: Words) -> None:
    if session.opener is None:
        raise NetInfoError(NiStatus.NI_INVALIDDOMAIN, "a database without a server has no name")
    session.tell(await session.opener.name_of(session.domain))


async def rparent(session: Session, words: Words) -> None:
    await print_parent(session.domain, numeric=False, as_json=session.as_json)


async def resync(session: Session, words: Words) -> None:
    await session.domain.resync()


async def flush(session: Session, words: Words) -> None:
    """Nothing is kept on this side, so there is nothing to forget."""


# --- changing ---------------------------------------------------------------------------------------------


async def create(session: Session, words: Words) -> None:
    path, *rest = words
    here = await editing.make_path(session.domain, session.resolve(path))
    if rest:
        await editing.set_property(session.domain, here, rest[0], rest[1:])


async def append(session: Session, words: Words) -> None:
    path, key, *values = words
    await editing.append_values(session.domain, await session.directory(path), key, values)


async def merge(session: Session, words: Words) -> None:
    path, key, *values = words
    await editing.merge_values(session.domain, await session.directory(path), key, values)


async def insert(session: Session, words: Words) -> None:
    path, key, value, where = words
    index = index_in(where)
    await editing.insert_value(session.domain, await session.directory(path), key, value, index)


async def rename(session: Session, words: Words) -> None:
    path, old, new = words
    await editing.rename_property(session.domain, await session.directory(path), old, new)


async def delete(session: Session, words: Words) -> None:
    """A directory with all below it; with a key a property; with values too, these alone."""
    path, *rest = words
    here = await session.directory(path)
    if not rest:
        await editing.destroy(session.domain, here)
        return
    key, *values = rest
    if values:
        await editing.remove_values(session.domain, here, key, values)
        return
    _, removed = await editing.remove_properties(session.domain, here, key)
    if not removed:
        raise NetInfoError(NiStatus.NI_NOPROP, text(key))


async def copy(session: Session, words: Words) -> None:
    source, parent = words
    here = await session.directory(source)
    await editing.copy_tree(session.domain, here, await session.directory(parent))


async def move(session: Session, words: Words) -> None:
    """A copy under the new parent, then the original goes; numbers change. Never into itself."""
    source, parent = words
    here, target = await session.directory(source), await session.directory(parent)
    async for above in editing.upwards(session.domain, target):
        if above.object == here.object:
            raise UsageError(f"{text(source)} cannot be moved below itself")
    await editing.copy_tree(session.domain, here, target)
    await editing.destroy(session.domain, here)


def file_or_stdin(files: Words) -> bytes:
    """The content of the file named, or of stdin."""
    return Path(os.fsdecode(files[0])).read_bytes() if files else sys.stdin.buffer.read()


async def load_file(session: Session, words: Words) -> None:
    """Raw text, as `niload -r` takes it, into a directory; from a file, or stdin."""
    path, *files = words
    branch = load(file_or_stdin(files))
    await editing.load_tree(
        session.domain, await editing.make_path(session.domain, session.resolve(path)), branch
    )


# --- the session ------------------------------------------------------------------------------------------


async def cd(session: Session, words: Words) -> None:
    path = words[0] if words else b"/"
    if path.isdigit():
        session.cwd = await editing.path_of(session.domain, await session.directory(path))
        return
    await session.directory(path)
    session.cwd = session.resolve(path)


async def pwd(session: Session, words: Words) -> None:
    session.tell(session.shown(session.cwd))


async def echo(session: Session, words: Words) -> None:
    out(b" ".join(words))


async def auth(session: Session, words: Words) -> None:
    """Call as a user from now on; asks for the password if it is not given."""
    user = words[0] if words else b"root"
    password = words[1] if len(words) > 1 else ask_password(text(user))
    await session.domain.authenticate(user, password)


async def source(session: Session, words: Words) -> None:
    assert session.run_line is not None
    for line in file_or_stdin(words).splitlines():
        await session.run_line(os.fsdecode(line))


async def quit_session(session: Session, words: Words) -> None:
    raise Quit


@attrs.frozen
class Command:
    """One command: its names, the operands it takes and how many, whether it changes anything."""

    names: tuple[str, ...]
    operands: str
    work: Callable[[Session, Words], Awaitable[None]]
    least: int
    most: int | None
    doc: str
    changes: bool = False


def _command(
    names: str,
    operands: str,
    work: Callable[[Session, Words], Awaitable[None]],
    counts: tuple[int, int | None],
    doc: str,
    *,
    changes: bool = False,
) -> Command:
    return Command(tuple(names.split()), operands, work, *counts, doc, changes)


_change = partial(_command, changes=True)

COMMANDS = (
    _command("read cat", "[PATH [KEY...]]", read, (0, None), "print properties"),
    _command("list ls", "[PATH [KEY]]", list_children, (0, 2), "print the children"),
    _command(
        "search",
        "PATH MIN MAX KEY [VALUE...]",
        search,
        (4, None),
        "find directories, MIN to MAX levels below",
    ),
    _command("path", "[PATH|ID]", path_of, (0, 1), "print the path of a directory"),
    _command("history hist", "[COUNT]", history, (0, 1), "print the latest changes (Apple's servers)"),
    _command("statistics stats", "", statistics, (0, 0), "print the server's figures"),
    _command("domainname", "", domainname, (0, 0), "print the domain's path from the root domain"),
    _command("rparent", "", rparent, (0, 0), "print a server of the parent domain"),
    _change("create mk", "PATH [KEY [VALUE...]]", create, (1, None), "make a directory, or a property of it"),
    _change("append", "PATH KEY VALUE...", append, (3, None), "append values"),
    _change("merge", "PATH KEY VALUE...", merge, (3, None), "append the values that are not there yet"),
    _change("insert", "PATH KEY VALUE INDEX", insert, (4, 4), "insert a value"),
    _change("rename", "PATH OLD NEW", rename, (3, 3), "rename a property"),
    _change(
        "delete rm", "PATH [KEY [VALUE...]]", delete, (1, None), "destroy a directory, a property, or values"
    ),
    _change("copy cp", "PATH PARENT", copy, (2, 2), "copy a directory and all below it under another"),
    _change("move mv", "PATH PARENT", move, (2, 2), "move a directory and all below it under another"),
    _change("load", "PATH [FILE]", load_file, (1, 2), "replace a directory by raw text"),
    _change("resync", "", resync, (0, 0), "have the clones compare with the master"),
    _command("flush", "", flush, (0, 0), "forget what is remembered (nothing is)"),
    _command("echo", "[WORD...]", echo, (0, None), "print words"),
    _command("source", "FILE", source, (1, 1), "run the commands in a file"),
    _command("cd", "[PATH|ID]", cd, (0, 1), "change the current directory"),
    _command("pwd", "", pwd, (0, 0), "print the current directory"),
    _command("auth su", "[USER [PASSWORD]]", auth, (0, 2), "call as a user"),
    _command("quit exit q", "", quit_session, (0, 0), "end the session"),
)
BY_NAME = {name: command for command in COMMANDS for name in command.names}
