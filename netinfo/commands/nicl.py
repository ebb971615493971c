"""nicl: a domain's directories at a prompt, or one command at a time (NETINFO 6.5)."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netinfo.client import editing
from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
from netinfo.client.network import run
from netinfo.commands import tool
from netinfo.commands.nicl_commands import BY_NAME, COMMANDS, Quit, Session
from netinfo.commands.options import (
    COMMON,
    DOMAINS,
    JSON,
    PATHS,
    Arguments,
    Option,
    UsageError,
    describe,
    manual,
    parse,
    table,
)
from netinfo.commands.tool import (
    CANNOT_CONNECT,
    STATUS_BASE,
    USAGE,
    ToolError,
    advised,
    complain,
    exit_code,
    open_source,
    opener_of,
    parse_name,
    run_tool,
)
from netinfo.rawformat import RawFormatError
from wire.formats.netinfo import NiStatus
from wire.transport.errors import TransportError

if TYPE_CHECKING:
    from netinfo.events import Changed

CREATE = Option(("-c",), "with -raw: make the database if it does not exist")
READ_ONLY = Option(("-ro",), "refuse every change")
RAW = Option(("-raw",), "DOMAIN is a database file of ours, or a .nidb directory, opened without a server")
VERBOSE = Option(("-v",), "print more")
QUIET = Option(("-q",), "no prompt")
INTERACTIVE = Option(("-i",), "prompt even where stdin is no terminal")
X500 = Option(("-x500",), "name directories as X.500 does, from the root: name=ann,name=users")
OPTIONS = (CREATE, READ_ONLY, RAW, VERBOSE, QUIET, INTERACTIVE, X500, *COMMON, JSON)
PROMPT_LIMIT = 1000
"""Lines of history that are kept."""


_ROWS = table((" ".join([", ".join(c.names), c.operands]).rstrip(), c.doc) for c in COMMANDS)
HELP = manual(
    "usage: nicl [OPTIONS] DOMAIN [COMMAND [OPERAND...]]",
    """Runs one command on a domain, or those on stdin; on a terminal it is a prompt with history
(~/.nicl_history) and completion.""",
    f"Options:\n{describe(OPTIONS)}",
    f"Commands (a leading dash is allowed):\n{_ROWS}",
    DOMAINS
    + """
The :PATH of a URL is the current directory. niserver:TAG[@HOST] and nidomain:PATH[@HOST] are
taken, too.""",
    PATHS,
    examples="""\
nicl . read /users/root
nicl -u ann network@srv append /users/ann mail ann@srv
nicl netinfo://srv/network:/users ls . uid
nicl -raw old-disk/network.nidb ls /users       a database without a server""",
)


async def run_words(session: Session, words: Sequence[str]) -> None:
    """Run one command. Raises `UsageError`, `NetInfoError` and `Quit`."""
    name, *operands = words
    command = BY_NAME.get(name.removeprefix("-"))
    if command is None:
        raise UsageError(f"{name} is not a command; `nicl --help` lists them")
    if len(operands) < command.least or (command.most is not None and len(operands) > command.most):
        raise UsageError(f"{name} takes {command.operands or 'no operands'}")
    if command.changes and session.read_only:
        raise UsageError(f"{name} would change something, which -ro forbids")
    await command.work(session, [os.fsencode(word) for word in operands])


async def run_line(session: Session, line: str) -> None:
    """Run the command on a line; empty lines and comments are none."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise UsageError(f"{line.strip()}: {error}") from None
    if words:
        await run_words(session, words)


# --- the database without a server ------------------------------------------------------------------------


def open_raw(path: Path, create: bool) -> tuple[Domain, bool, Callable[[], None]]:
    """A database's domain, whether it can only be read, and what closes it. Raises `ToolError`."""
    from netinfo import nidb
    from netinfo.client.local import open_local
    from netinfo.domain import Domain as Rules
    from netinfo.store import Store, StoreError

    if path.is_dir():
        try:
            imported = nidb.read(path)
        except nidb.NidbError as error:
            raise ToolError(str(error), CANNOT_CONNECT) from None
        for note in imported.notes:
            complain("nicl", note)
        rules = Rules(path.name.removesuffix(".nidb").encode(), imported.tree)
        return open_local(rules, str(path), lambda changes: None), True, lambda: None
    if not path.exists() and not create:
        raise ToolError(f"{path} does not exist; -c makes it", CANNOT_CONNECT)
    try:
        store = Store(path)
        rules = Rules(path.stem.encode(), store.load())
    except StoreError as error:
        raise ToolError(str(error), CANNOT_CONNECT) from None

    def keep(changes: Sequence[Changed]) -> None:
        try:
            store.save(change.commit for change in changes)
        except StoreError as error:
            status = NiStatus.NI_NOSPACE if error.full else NiStatus.NI_SYSTEMERR
            raise ToolError(f"{error}; nothing was changed", STATUS_BASE + status) from None

    return open_local(rules, str(path), keep), False, store.close


# --- the shell --------------------------------------------------------------------------------------------


def complete_words(session: Session, line: str, word: str) -> list[str]:
    """What a word that has been begun could become: a command, or a child of the directory it names."""
    before = line[: len(line) - len(word)] if word else line
    if not before.strip():
        return [name + " " for name in BY_NAME if name.startswith(word)]
    parent, slash, begun = word.rpartition("/")
    try:
        here = run(session.directory(os.fsencode(parent + slash) or b"."))
        entries = run(session.domain.list(here, b"name"))
    except (NetInfoError, TransportError):
        return []
    names = (os.fsdecode(entry.names[0]) for entry in entries if entry.names)
    return [parent + slash + name for name in names if name.startswith(begun)]


def prompted_lines(session: Session, prompt: bool) -> Iterator[str]:
    """Lines of stdin; at a prompt with history and completion."""
    if not prompt:
        yield from sys.stdin
        return
    readline: Any = None
    with suppress(ImportError):
        import readline
    history = Path("~/.nicl_history").expanduser()
    if readline is not None:
        _prepare(readline, session, history)
    try:
        while True:
            try:
                line = input(f"{os.fsdecode(session.shown(session.cwd))} > ")
            except KeyboardInterrupt:  # the line is given up, not the session
                sys.stdout.write("\n")
                continue
            if readline is not None and tells_password(line):
                readline.remove_history_item(readline.get_current_history_length() - 1)
            yield line
    except EOFError:
        sys.stdout.write("\n")
    finally:
        if readline is not None:
            with suppress(OSError):  # a home that cannot be written to keeps no history
                readline.set_history_length(PROMPT_LIMIT)
                readline.write_history_file(history)
                history.chmod(0o600)


def tells_password(line: str) -> bool:
    """Whether a line holds a password, which no history shall keep."""
    name, *operands = line.split() or [""]
    return BY_NAME.get(name.removeprefix("-")) is BY_NAME["auth"] and len(operands) > 1


def _prepare(lines: Any, session: Session, history: Path) -> None:
    with suppress(OSError):  # the first time there is none
        lines.read_history_file(history)
    lines.set_completer_delims(" \t")
    lines.parse_and_bind("tab: complete")

    def complete(word: str, state: int) -> str | None:
        found = complete_words(session, lines.get_line_buffer()[: lines.get_endidx()], word)
        return found[state] if state < len(found) else None

    lines.set_completer(complete)


async def nicl(argv: list[str]) -> int:
    """Run one command, or those of stdin."""
    arguments = parse(argv, OPTIONS)
    if not arguments.operands:
        raise UsageError("a domain is needed")
    where, *words = arguments.operands
    read_only, directory = arguments.has(READ_ONLY), b""
    if arguments.has(RAW):
        domain, frozen, close = open_raw(Path(where), arguments.has(CREATE))
        session = Session(domain, None, read_only=read_only or frozen)
    else:
        named = parse_name(arguments, where)
        directory = named.directory
        domain = await open_source(arguments, named, where)
        close = domain.close
        session = Session(domain, opener_of(domain), read_only=read_only)
    session.verbose, session.as_json = arguments.has(VERBOSE), arguments.has(JSON)
    session.x500 = arguments.has(X500)
    session.run_line = lambda line: run_line(session, line)
    try:
        if directory:
            session.cwd = await editing.path_of(domain, await tool.directory(domain, directory))
        if words:
            await run_words(session, words)
            return 0
        return await _shell(session, arguments)
    except Quit:
        return 0
    except RawFormatError as error:
        raise ToolError(f"input: {error}", USAGE) from None
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        close()


def _unreadable(error: OSError) -> ToolError:
    """A file named in a command that cannot be read; an error of the output, which no file has, is passed on."""
    if error.filename is None:
        raise error
    return ToolError(f"{error.filename}: {error.strerror}", USAGE)


async def _shell(session: Session, arguments: Arguments) -> int:
    """Run line after line; at a prompt errors are told and the session goes on, otherwise the last one
    counts."""
    prompt = arguments.has(INTERACTIVE) or (sys.stdin.isatty() and not arguments.has(QUIET))
    code = 0
    for line in prompted_lines(session, prompt):
        try:
            await run_line(session, line)
        except KeyboardInterrupt:
            if not prompt:
                raise
            complain("nicl", "interrupted; what was under way may have been done in part")
        except ToolError as error:
            complain("nicl", error)
            code = error.code
        except (UsageError, RawFormatError) as error:
            complain("nicl", error)
            code = USAGE
        except OSError as error:
            complain("nicl", _unreadable(error))
            code = USAGE
        except NetInfoError as error:
            complain("nicl", advised(error))
            code = exit_code(error)
        sys.stdout.flush()
    return 0 if prompt else code


def main(argv: Sequence[str] | None = None) -> None:
    run_tool("nicl", HELP, nicl, argv)
