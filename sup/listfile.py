"""The list file of a collection (SUP 6.1): which files belong to it, and what is special about some of them.

A list file is read in two steps. `parse` takes the text apart, without looking at any file. `expand` then
finds the names its operands stand for, and gives the rules by which `sup.walk` goes through the disk.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

import attrs

from sup import controlfile, patterns
from sup.names import TOP, UnsafeName, normalise
from sup.tree import Tree, closing_fd

LONGEST_LINE = 1999
"""Bytes of a line, as in the original (SUP 6)."""
MAX_INCLUDES = 1000
"""List files that one may include, directly and indirectly."""


class ListFileError(ValueError):
    """A list file that cannot be used; the text is what the client is told in GOAWAY."""


class Keyword(Enum):
    """The commands of a list file (SUP 6.1)."""

    UPGRADE = b"upgrade"
    ALWAYS = b"always"
    OMIT = b"omit"
    OMITANY = b"omitany"
    BACKUP = b"backup"
    NOACCOUNT = b"noaccount"
    SYMLINK = b"symlink"
    RSYMLINK = b"rsymlink"
    EXECUTE = b"execute"
    INCLUDE = b"include"


@attrs.frozen
class Command:
    """One line: the keyword, its operands as written, and for `execute` the shell command."""

    keyword: Keyword
    operands: tuple[bytes, ...]
    shell: bytes = b""


@attrs.frozen
class Rules:
    """What a list file says, with every operand but those of omitany replaced by the names it stands for."""

    upgrade: frozenset[bytes] = frozenset()
    """Where the walk begins."""
    always: frozenset[bytes] = frozenset()
    """Where the walk begins and heeds neither omit nor omitany."""
    omit: frozenset[bytes] = frozenset()
    omitany: re.Pattern[bytes] | None = None
    backup: frozenset[bytes] = frozenset()
    noaccount: frozenset[bytes] = frozenset()
    symlink: frozenset[bytes] = frozenset()
    rsymlink: frozenset[bytes] = frozenset()
    execute: dict[bytes, tuple[bytes, ...]] = attrs.Factory(dict)
    """Shell commands of a name, sorted, without duplicates."""


def parse(text: bytes) -> Iterator[Command]:
    """The commands of a list file, in order. Raises ListFileError for a line that is none (SUP 6.1)."""
    for number, line in controlfile.lines(text):
        if len(line) > LONGEST_LINE:
            raise ListFileError(f"Line {number} of the list file is longer than {LONGEST_LINE} bytes")
        words = controlfile.words(line)
        if not words:
            continue
        try:
            keyword = Keyword(words[0])
        except ValueError:
            raise ListFileError(f"Invalid list file keyword {words[0].decode('utf-8', 'replace')}") from None
        if keyword is Keyword.EXECUTE:
            yield _execute(line)
        else:
            yield Command(keyword, tuple(words[1:]))


def _execute(line: bytes) -> Command:
    """`execute COMMAND (NAME...)`: everything before the first parenthesis is the command."""
    head, opening, tail = line.partition(b"(")
    names, _, _ = tail.partition(b")")
    shell = head.strip(b" \t").removeprefix(Keyword.EXECUTE.value).strip(b" \t")
    if not opening or not shell:
        raise ListFileError("The list file's execute has no command or no (names)")
    return Command(Keyword.EXECUTE, tuple(controlfile.words(names)), shell)


def expand(
    commands: Iterable[Command],
    tree: Tree,
    include: Callable[[bytes], Iterator[bytes]],
    historic: bool = False,
    own: bytes = b"",
) -> Rules:
    """The rules that `commands` make of the files below `tree`.

    `include` gives the texts of the list files that an operand of include stands for. `historic` reads
    patterns as the original does, and leaves names in shell commands unquoted as it does. `own` is the
    directory of control files, which no wildcard stands for (SUP 6.9). Raises ListFileError.
    """
    names: dict[Keyword, set[bytes]] = {keyword: set() for keyword in Keyword}
    execute: dict[bytes, set[bytes]] = {}
    included = 0
    waiting = [iter(commands)]
    while waiting:
        command = next(waiting[-1], None)
        if command is None:
            waiting.pop()
        elif command.keyword is Keyword.INCLUDE:
            for operand in command.operands:
                for text in include(operand):
                    included += 1
                    if included > MAX_INCLUDES:
                        raise ListFileError(f"The list file includes more than {MAX_INCLUDES} files")
                    waiting.append(parse(text))
        elif command.keyword is Keyword.OMITANY:
            names[Keyword.OMITANY].update(command.operands)
        else:
            found = {name for operand in command.operands for name in glob(operand, tree, historic, own)}
            names[command.keyword] |= found
            if command.keyword is Keyword.EXECUTE:
                for name in found:
                    execute.setdefault(name, set()).add(shell_command(command.shell, name, historic))
    return Rules(
        upgrade=frozenset(names[Keyword.UPGRADE]),
        always=frozenset(names[Keyword.ALWAYS]),
        omit=frozenset(names[Keyword.OMIT]),
        omitany=patterns.any_of(sorted(names[Keyword.OMITANY]), historic),
        backup=frozenset(names[Keyword.BACKUP]),
        noaccount=frozenset(names[Keyword.NOACCOUNT]),
        symlink=frozenset(names[Keyword.SYMLINK]),
        rsymlink=frozenset(names[Keyword.RSYMLINK]),
        execute={name: tuple(sorted(shells)) for name, shells in execute.items()},
    )


def glob(operand: bytes, tree: Tree, historic: bool = False, own: bytes = b"") -> Iterator[bytes]:
    """The names of existing files that an operand stands for (SUP 6.1.1), normalised.

    A wildcard never stands for `.`, `..` or the directory `own`. Raises ListFileError for an operand that
    leads out of the collection: an absolute one, `~user`, or one with a `..` component.
    """
    try:
        for alternative in patterns.braces(operand):
            if alternative.startswith(b"~"):
                raise ListFileError(f"The list file's {_shown(operand)} names a home directory")
            if alternative:
                yield from _matches(TOP, normalise(alternative), tree, historic, own)
    except (UnsafeName, patterns.PatternError) as error:
        raise ListFileError(f"The list file cannot use {_shown(operand)}: {error}") from error


def _matches(directory: bytes, pattern: bytes, tree: Tree, historic: bool, own: bytes) -> Iterator[bytes]:
    """Names below `directory` that match `pattern`, which may have several components."""
    fixed: list[bytes] = [] if directory == TOP else [directory]
    components = pattern.split(b"/")
    while components and not patterns.has_wildcard(components[0]):
        fixed.append(components.pop(0))
    place = b"/".join(fixed) or TOP
    if not components:
        try:
            tree.lstat(place)
        except OSError:
            return
        yield place
        return
    expression = patterns.component_expression(components[0], historic)
    hidden = components[0].startswith(b".")
    try:
        with closing_fd(tree.open_directory(place)) as fd, os.scandir(fd) as entries:
            found = [os.fsencode(entry.name) for entry in entries]
    except OSError:
        return
    rest = b"/".join(components[1:])
    for base in found:
        if expression.match(base) and (hidden or not base.startswith(b".")):
            name = b"/".join([*fixed, base])
            if name == own:
                continue
            if rest:
                yield from _matches(name, rest, tree, historic, own)
            else:
                yield name


def shell_command(shell: bytes, name: bytes, historic: bool = False) -> bytes:
    """An execute line's command for one name: its first `%s` is the name, `%%` a percent sign.

    A name that a shell would take apart is quoted, for it may have been made by someone else than the list
    file's author; the original pastes it as it is (`historic`).
    """
    quoted = name if historic else shlex.quote(name.decode("latin-1")).encode("latin-1")
    replaced = iter([quoted])
    return re.sub(rb"%([s%])", lambda sign: b"%" if sign[1] == b"%" else next(replaced, b"%s"), shell)


def _shown(operand: bytes) -> str:
    return operand.decode("utf-8", "replace")
