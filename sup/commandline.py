"""The command line of `sup`: the historic flags with their meaning (SUP 7.2), and the options added to them.

Flags are single letters, several of which may stand in one word; `=` ends such a word with the names of the
collections it is for: `-de=one,two`. Flags and arguments may be mixed, as Debian's `sup` allows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from sup.supfile import FLAG_SETTINGS, Flags

WINDOW = 64
"""How many files are asked for ahead of their arrival unless told otherwise (SUP 10.2)."""

USAGE = """\
usage: sup [FLAGS] SUPFILE [COLLECTION...]
       sup -s [FLAGS] [COLLECTION...]

Brings collections of files up to date from SUP file servers, as SUPFILE says (`-`: standard input);
only those named, or all of them. It has a line for each collection, such as
  demo host=sup.example.org base=/usr/demo delete

What to do:
  -s                system collections: the supfile coll.list, hosts from coll.host
  -t                only tell when each collection was last upgraded
  -f, --dry-run     only tell what would be done

How, for all collections, or for some in a word such as -de=one,two; the second letter undoes it:
  -a                fetch all files, whatever is here
  -o -O             compare all files with what is here, not only those changed at the server
  -d -D             delete what earlier upgrades brought and the collection no longer has
  -b -B             keep backups where the collection asks for it
  -e -E             run the commands that the collection asks for
  -k -K             keep files that are newer here than at the server
  -z -Z             compress files on their way
  -l                upgrade collections whose host is this machine, too
  -v                tell what is done
  -m                mail what is told, to the user or to the supfile's notify=

For the whole run:
  -M ADDRESS        mail what is told to ADDRESS
  -u                do not give files the times that they have at the server
  -S                tell nothing; failures are still told on standard error
  -N                trace the messages of the protocol on standard error (-NNN: their values too,
                    -NNNN: and the lengths of strings)
  -P                the debugging port 1127
  --port N          another port than 871
  --window N        files asked for ahead of their arrival; 1: one after the other [default: {window}]
  --follow-symlinks follow links to directories that you have made below the base directory
  --no-fsync        leave it to the system when files reach the disk
  --progress, --no-progress   a progress bar [default: on a terminal]
  --json            what came of each collection, as JSON on standard output
  --pcap FILE       record the conversation in FILE, as pcapng, readable by you alone
  --redact          blank names and passwords of logins in the recording
  --version         the version of this program
  --help            this text

-X and -R are accepted and ignored. The exit status is 0 when everything was done, 1 when a collection
failed or was completed with errors, 2 when the command line cannot be understood.

The directory of coll.list, coll.what and coll.host is {supfiles}, or $GHOSTPORTS_SUPFILES.
"""


class UsageError(Exception):
    """A command line that cannot be understood."""


@frozen(kw_only=True)
class Invocation:
    """What the command line asks for. `flags` are in the order given."""

    flags: tuple[Flags, ...] = ()
    supfile: str | None = None
    """The supfile; None with `system`. `-` is standard input."""
    collections: tuple[bytes, ...] = ()
    """The collections named; none means all."""
    system: bool = False
    tell_times: bool = False
    set_times: bool = True
    silent: bool = False
    trace: int = 0
    mail_to: str | None = None
    port: int | None = None
    debug_port: bool = False
    window: int = WINDOW
    follow_symlinks: bool = False
    durable: bool = True
    progress: bool | None = None
    """None: on a terminal."""
    json: bool = False
    pcap: str | None = None
    redact: bool = False
    show: str | None = None
    """`help` or `version`: nothing is to be done."""


@define
class _Reading:
    """A command line that is being read."""

    words: Iterator[str]
    settings: dict[str, Any] = field(factory=dict)
    flags: list[Flags] = field(factory=list)
    arguments: list[str] = field(factory=list)

    def value(self, option: str) -> str:
        """The word after an option."""
        try:
            return next(self.words)
        except StopIteration:
            raise UsageError(f"{option} needs a value") from None


def parse(argv: Sequence[str]) -> Invocation:
    """Reads a command line, the program's name left out. Raises UsageError."""
    reading = _Reading(iter(argv))
    for word in reading.words:
        if word == "--":
            reading.arguments += reading.words
        elif word.startswith("--"):
            _long(reading, word)
        elif word.startswith("-") and word != "-":
            _letters(reading, word)
        else:
            reading.arguments.append(word)
    invocation = Invocation(flags=tuple(reading.flags), **reading.settings)
    arguments = reading.arguments
    if not invocation.system and not invocation.show:
        if not arguments:
            raise UsageError("Need either -s or supfile")
        invocation = evolve(invocation, supfile=arguments.pop(0))
    return evolve(
        invocation, collections=tuple(argument.encode(errors="surrogateescape") for argument in arguments)
    )


_GLOBAL: dict[str, tuple[str, Any]] = {
    "s": ("system", True),
    "t": ("tell_times", True),
    "u": ("set_times", False),
    "S": ("silent", True),
    "P": ("debug_port", True),
}
_IGNORED = "XR"


def _letters(reading: _Reading, word: str) -> None:
    settings: dict[str, bool] = {}
    collections: frozenset[bytes] | None = None
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in FLAG_SETTINGS:
            name, value = FLAG_SETTINGS[letter]
            settings[name] = value
        elif letter in _GLOBAL:
            name, value = _GLOBAL[letter]
            reading.settings[name] = value
        elif letter == "N":
            reading.settings["trace"] = reading.settings.get("trace", 0) + 1
        elif letter == "M":
            settings["mail"] = True
            reading.settings["mail_to"] = letters or reading.value("-M")
            letters = ""
        elif letter == "=":
            names = (letters or reading.value(f"{word[:-1]}=")).split(",")
            collections = frozenset(name.encode(errors="surrogateescape") for name in names if name)
            letters = ""
        elif letter not in _IGNORED:
            raise UsageError(f"Invalid flag -{letter}")
    if settings:
        reading.flags.append(Flags(settings, collections))


def _long(reading: _Reading, word: str) -> None:
    option, equals, value = word.partition("=")
    if option in _VALUES:
        name, convert = _VALUES[option]
        reading.settings[name] = convert(option, value if equals else reading.value(option))
    elif option in _SWITCHES and not equals:
        name, setting = _SWITCHES[option]
        reading.settings[name] = setting
    elif option == "--dry-run" and not equals:
        reading.flags.append(Flags({"list_only": True}))
    else:
        raise UsageError(f"Invalid option {word}")


def _number(low: int, high: int) -> Callable[[str, str], int]:
    def convert(option: str, value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise UsageError(f"{option} needs a number from {low} to {high}, not {value!r}")
        return int(value)

    return convert


def _text(option: str, value: str) -> str:
    if not value:
        raise UsageError(f"{option} needs a value")
    return value


_VALUES: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "--port": ("port", _number(1, 65535)),
    "--window": ("window", _number(1, 1_000_000)),
    "--pcap": ("pcap", _text),
}
_SWITCHES: dict[str, tuple[str, Any]] = {
    "--follow-symlinks": ("follow_symlinks", True),
    "--no-fsync": ("durable", False),
    "--progress": ("progress", True),
    "--no-progress": ("progress", False),
    "--json": ("json", True),
    "--redact": ("redact", True),
    "--help": ("show", "help"),
    "--version": ("show", "version"),
}
