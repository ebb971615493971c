"""The command lines of the ni* tools: their options and operands, and their help texts (NETINFO 6.5).

Their syntax is the original's (`niutil -read -t HOST/TAG PATH`), with single dashes and options before
operands, which no ordinary parser reads; so it is read here, in a page.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import attrs

LONGEST_NUMBER = 20
"""Digits that are looked at; any number of so many is beyond everything."""
LONGEST_WAIT = 86_400.0
"""Seconds: a day."""
PASSWORD_VARIABLE = "NETINFO_PASSWORD"  # noqa: S105 - its name


class UsageError(Exception):
    """The command line cannot be understood; the text says why."""


@attrs.frozen
class Option:
    """One option: its names with their dashes, and what it takes, if anything."""

    names: tuple[str, ...]
    doc: str
    value: str = ""


TAGGED = Option(("-t",), "DOMAIN is HOST/TAG, HOST:PMAP/TAG (another portmapper port) or HOST:PORT")
USER = Option(("-u",), "call as this user; asks for the password, or takes it from NETINFO_PASSWORD", "USER")
PROMPT = Option(("-p",), "call as root, or as the user of -u, and ask for the password")
PASSWORD = Option(("-P",), "the password itself; others can see it while the tool runs", "PASSWORD")
TIMEOUT = Option(("-T",), "seconds to wait for a server (default 30)", "SECONDS")
JSON = Option(("--json",), "print JSON")
SHOW_HELP = Option(("-h", "-help", "--help"), "show this help")
PCAP = Option(("--pcap",), "record what is sent and received as pcapng, readable by you alone", "FILE")
REDACT = Option(("--redact",), "blank passwords and machine names in the recording")
COMMON = (TAGGED, USER, PROMPT, PASSWORD, TIMEOUT, PCAP, REDACT)


@attrs.define
class Arguments:
    """A command line taken apart: options by their first name, and the operands after them."""

    options: dict[str, str]
    operands: list[str]

    def has(self, option: Option) -> bool:
        return option.names[0] in self.options

    def get(self, option: Option, default: str = "") -> str:
        return self.options.get(option.names[0], default)

    def number(self, option: Option, default: float) -> float:
        """An option's value as a number of seconds. Raises `UsageError`."""
        text = self.get(option)
        try:
            seconds = float(text) if text else default
        except ValueError:
            seconds = 0.0
        if not 0.0 < seconds <= LONGEST_WAIT:
            raise UsageError(f"{option.names[0]} takes seconds, up to {LONGEST_WAIT:.0f}, not {text!r}")
        return seconds


def parse(argv: Sequence[str], known: Iterable[Option]) -> Arguments:
    """Take options up to the first operand, or up to `--`. Raises `UsageError`."""
    by_name = {name: option for option in (*known, SHOW_HELP) for name in option.names}
    options: dict[str, str] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        option = by_name.get(word)
        if option is None:
            raise UsageError(f"{word} is not an option here")
        if option.value and not rest:
            raise UsageError(f"{word} takes {option.value}")
        options[option.names[0]] = rest.pop(0) if option.value else ""
    return Arguments(options, rest)


def parse_around(argv: Sequence[str], known: Sequence[Option]) -> Arguments:
    """As `parse`, with options also after the first operand, where Apple's tools had -t. Raises
    `UsageError`."""
    before = parse(argv, known)
    if not before.operands:
        return before
    after = parse(before.operands[1:], known)
    return Arguments({**before.options, **after.options}, [before.operands[0], *after.operands])


def index_in(word: bytes) -> int:
    """An operand that is a position. Raises `UsageError`."""
    if not word.isdigit():
        raise UsageError(f"an index is a number from 0, not {os.fsdecode(word)!r}")
    return int(word[:LONGEST_NUMBER])


def describe(options: Iterable[Option]) -> str:
    """The options as lines of a help text."""
    return table(
        (", ".join(o.names) + (f" {o.value}" if o.value else ""), o.doc) for o in (*options, SHOW_HELP)
    )


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns as lines of a help text."""
    listed = list(rows)
    width = max(len(left) for left, _ in listed)
    return "\n".join(f"  {left:<{width}}  {right}".rstrip() for left, right in listed)


DOMAINS = """DOMAIN is a path of domains (. the local one, .. its parent, / the root, /name below it),
HOST:PORT, TAG@HOST, PATH@HOST or netinfo://[USER@]HOST[/DOMAIN]; with -t it is HOST/TAG,
or HOST:PMAP/TAG where the portmapper is at another port than 111."""
PATHS = r"""A directory is a path such as /users/ann or /users/uid=101 (\/ and \= are the characters
themselves), or a directory's number."""
SURROUNDINGS = f"""Environment: GHOSTPORTS_PORTMAP=HOST:PORT stands in for 127.0.0.1:111,
{PASSWORD_VARIABLE} is the password that -u and -p would ask for.

Exit code: 0 done, 1 wrong usage, 100 + the NetInfo status (102 stale, 104 permission denied,
105 no such directory, 106 no such property), 199 no answer, 200 no connection, 217 to 221
a server's name that cannot be read or resolved."""


def manual(usage: str, purpose: str, *sections: str, examples: str) -> str:
    """A tool's help text: how it is called, what it does, its options and the rest, and examples."""
    shown = "Examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines())
    return "\n\n".join([usage, purpose, *sections, SURROUNDINGS, shown]) + "\n"
