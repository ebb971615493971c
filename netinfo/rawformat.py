"""The raw text format of `nidump -r` and `niload -r` (NETINFO 6.3), in and out.

Text knows no numbers and no instances: it is a tree of property lists, `Branch`. A backslash is written as two, which
the original writer did not do; both its way and ours are read, so that every value survives a round trip here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from netinfo.generation import NEXT, Generation
from netinfo.limits import LIMITS
from netinfo.tree import Directory, Tree, c_strings
from wire.formats.netinfo import NI_INDEX_NULL, Property

DEPTH_LIMIT = LIMITS.depth
"""Deepest nesting that is read (NETINFO 8)."""
TOO_LARGE = (
    f"a server does not take a directory of this size: a name may have {LIMITS.name} bytes, a value {LIMITS.value},"
    f" a property {LIMITS.values} values, a directory {LIMITS.properties} properties and {LIMITS.directory} bytes"
)

TOKEN = re.compile(
    rb"""\s*(?: (?P<mark>[{}(),;=])
          | "(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"
          | (?P<word>(?:\\.|[^\s{}(),;"=\\])(?:\\.|[^\s{}(),;"\\])*) )""",
    re.VERBOSE | re.DOTALL,
)
BLANKS = re.compile(rb"\s*")
QUOTED_ESCAPE = re.compile(rb'\\(["\\])')
WORD_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class RawFormatError(ValueError):
    """Text that is not in the raw format; the sentence names the line."""


@attrs.frozen
class Branch:
    """A directory as text has it: properties and children."""

    properties: tuple[Property, ...] = ()
    children: tuple[Branch, ...] = ()


# --- writing ------------------------------------------------------------------------------------------------


def quote(value: bytes) -> bytes:
    """A name or value as the format writes it."""
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def dump_property(prop: Property) -> bytes:
    """`"name" = ( "value", "value" );`, or `( )` without values."""
    values = b", ".join(quote(value) for value in prop.values)
    return quote(prop.name) + (b" = ( " + values + b" );" if prop.values else b" = ( );")


def dump_lines(branch: Branch, indent: bytes = b"", end: bytes = b"") -> Iterator[bytes]:
    """The lines of a branch without their newlines; *end* follows the closing brace."""
    inner = indent + b"  "
    yield indent + b"{"
    for prop in branch.properties:
        yield inner + dump_property(prop)
    if branch.children:
        yield inner + b"CHILDREN = ("
        last = len(branch.children) - 1
        for index, child in enumerate(branch.children):
            yield from dump_lines(child, inner + b"  ", b"" if index == last else b",")
        yield inner + b")"
    yield indent + b"}" + end


def dump(branch: Branch) -> bytes:
    """A branch and all below it as text."""
    return b"\n".join(dump_lines(branch)) + b"\n"


# --- reading ------------------------------------------------------------------------------------------------


class Reader:
    """A cursor over the tokens of a text; each token is (kind, bytes), kind `mark`, `quoted`, `word` or `end`."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.position = 0
        self.start = 0
        self.kind = ""
        self.token = b""
        self.directories = 0
        self.advance()

    def advance(self) -> None:
        match = TOKEN.match(self.text, self.position)
        if match is None:
            blanks = BLANKS.match(self.text, self.position)
            self.start = blanks.end() if blanks else self.position
            if self.text[self.start : self.start + 1] == b'"':
                raise self.error("a quoted string has no end")
            if self.start < len(self.text):
                raise self.error("a backslash at the end of the text escapes nothing")
            self.kind, self.token = "end", b""
            return
        self.kind = match.lastgroup or ""
        self.token = match[self.kind]
        self.start = match.start(self.kind)
        self.position = match.end()
        if b"\\" in self.token:
            # In quotes, the original writer left a lone backslash as it was; its reader dropped it.
            escape = QUOTED_ESCAPE if self.kind == "quoted" else WORD_ESCAPE
            self.token = escape.sub(rb"\1", self.token)

    def error(self, sentence: str) -> RawFormatError:
        line = self.text.count(b"\n", 0, self.start) + 1
        return RawFormatError(f"line {line}: {sentence}")

    def at(self, mark: bytes) -> bool:
        return self.kind == "mark" and self.token == mark

    def skip(self, mark: bytes) -> bool:
        """Step over *mark* if it stands here."""
        if not self.at(mark):
            return False
        self.advance()
        return True

    def expect(self, mark: bytes) -> None:
        if not self.skip(mark):
            found = (
                self.token.decode("utf-8", "backslashreplace")
                if self.kind != "end"
                else "the end of the text"
            )
            raise self.error(f"expected {mark.decode()} but found {found}")

    def is_name(self) -> bool:
        return self.kind in ("word", "quoted")

    def take(self) -> bytes:
        token = self.token
        self.advance()
        return token

    def words(self) -> tuple[bytes, ...]:
        """Words up to whatever is neither word nor comma; the commas are optional (NETINFO 6.3)."""
        values = []
        while True:
            if self.is_name():
                values.append(self.take())
            elif not self.skip(b","):
                return tuple(values)

    def properties(self) -> tuple[Property, ...]:
        """Properties up to a closing brace, CHILDREN or the end."""
        found = []
        while self.is_name() and not (self.kind == "word" and self.token == b"CHILDREN"):
            found.append(self.property())
        return tuple(found)

    def property(self) -> Property:
        name = self.take()
        self.expect(b"=")
        if self.skip(b"("):
            values = self.words()
            self.expect(b")")
        else:
            values = self.words()
            if not values:
                raise self.error(f"property {name.decode('utf-8', 'backslashreplace')} has no value after =")
        self.expect(b";")
        return Property(name, values)

    def branch(self, depth: int = 0) -> Branch:
        if depth > DEPTH_LIMIT:
            raise self.error(f"directories are nested deeper than {DEPTH_LIMIT}")
        self.directories += 1
        if self.directories > LIMITS.directories:
            raise self.error(f"there are more than {LIMITS.directories} directories")
        braced = self.skip(b"{")
        properties: tuple[Property, ...] = ()
        children: list[Branch] = []
        while self.is_name():
            properties += self.properties()
            if not LIMITS.admit(properties):
                raise self.error(TOO_LARGE)
            if self.kind == "word" and self.token == b"CHILDREN":
                self.advance()
                self.expect(b"=")
                children += self.children(depth)
        if braced:
            self.expect(b"}")
        return Branch(properties, tuple(children))

    def children(self, depth: int) -> Iterable[Branch]:
        bracketed = self.skip(b"(")
        found = []
        while not bracketed or not self.at(b")"):
            if not (self.at(b"{") or self.is_name()):
                raise self.error("expected a directory")
            found.append(self.branch(depth + 1))
            if not self.skip(b","):
                break
        if bracketed:
            self.expect(b")")
        self.skip(b";")
        return found


def load(text: bytes) -> Branch:
    """The branch that a text describes. Raises RawFormatError, which names the line, on anything else."""
    reader = Reader(text)
    branch = reader.branch()
    if reader.kind != "end":
        raise reader.error(f"{reader.token.decode('utf-8', 'backslashreplace')} does not belong here")
    return branch


# --- trees --------------------------------------------------------------------------------------------------


def branch_of(tree: Tree, directory: Directory) -> Branch:
    """A directory of a domain and all below it."""
    return Branch(
        directory.properties,
        tuple(branch_of(tree, child) for child in tree.children(directory)),
    )


def plant(branch: Branch, generation: Generation = NEXT) -> Tree:
    """A new domain with *branch* as its root, its ids those that CREATE would have given one after the other."""
    tree = Tree(generation)
    tree.create_root()
    tree.write(tree.directories[0], tuple(map(c_strings, branch.properties)))
    stack = [(0, child) for child in reversed(branch.children)]
    while stack:
        parent, here = stack.pop()
        made, _ = tree.create(tree.directories[parent], tuple(map(c_strings, here.properties)), NI_INDEX_NULL)
        stack.extend((made.number, child) for child in reversed(here.children))
    return tree
