"""What the ni* tools have in common: their options, opening a domain, exit codes, output (NETINFO 6.5).

Their syntax is the original's (`niutil -read -t HOST/TAG PATH`), with single dashes and options before
operands, which no ordinary parser reads; so it is read here, in a page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import attrs

from netinfo.client.blocking import BlockingNetwork
from netinfo.client.domain import Domain, Options
from netinfo.client.errors import CannotConnectError, NetInfoError
from netinfo.client.names import (
    BadNameError,
    DirectServer,
    NameProblem,
    TaggedServer,
    local_portmapper,
    parse_server,
)
from netinfo.client.network import run
from netinfo.client.opening import Opener
from netinfo.client.sources import Source, parse_tool_source
from wire.formats.netinfo import NI_INDEX_NULL, NiId, NiStatus, Property
from wire.transport.errors import TransportError

USAGE = 1
STATUS_BASE = 100
FAILED = 199
CANNOT_CONNECT = 200
BAD_SERVER_BASE = 216
"""Exit codes; 100 and 216 have the status or the kind of problem added (NETINFO 6.5)."""
LONGEST_NUMBER = 20
"""Digits that are looked at; any number of so many is too large for a directory."""
PASSWORD_VARIABLE = "NETINFO_PASSWORD"  # noqa: S105 - its name
ROOT_USER = "root"


class UsageError(Exception):
    """The command line cannot be understood; the text says why."""


class ToolError(Exception):
    """A tool cannot do what it was asked; `code` is its exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


# --- the command line -------------------------------------------------------------------------------------


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
HELP = Option(("-h", "-help", "--help"), "show this help")
PCAP = Option(("--pcap",), "record what is sent and received, secrets included, as pcapng", "FILE")
COMMON = (TAGGED, USER, PROMPT, PASSWORD, TIMEOUT, PCAP)


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
            return float(text) if text else default
        except ValueError:
            raise UsageError(f"{option.names[0]} takes a number, not {text!r}") from None


def parse(argv: Sequence[str], known: Iterable[Option]) -> Arguments:
    """Take options up to the first operand, or up to `--`. Raises `UsageError`."""
    by_name = {name: option for option in (*known, HELP) for name in option.names}
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


def describe(options: Iterable[Option]) -> str:
    """The options as lines of a help text."""
    return table((", ".join(o.names) + (f" {o.value}" if o.value else ""), o.doc) for o in (*options, HELP))


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


# --- opening ----------------------------------------------------------------------------------------------


_closing = ExitStack()
"""What a tool closes at its end."""


def network(arguments: Arguments) -> BlockingNetwork:
    """A network, recorded if the options say so. Raises `ToolError`."""
    if not arguments.has(PCAP):
        return BlockingNetwork()
    from wire.capture.writer import Recorder

    path = Path(arguments.get(PCAP))
    try:
        recorder = Recorder(path)
    except OSError as error:
        raise ToolError(f"{path} cannot be written: {error.strerror}", USAGE) from None
    _closing.callback(recorder.close)
    return BlockingNetwork([recorder])


def opener_of(domain: Domain) -> Opener:
    """How to reach more domains as this one was reached."""
    server = domain.servers[0]
    portmapper = server.portmapper if isinstance(server, TaggedServer) else local_portmapper()
    return Opener(domain.network, portmapper, domain.options)


async def open_domain(arguments: Arguments, name: str, default_timeout: float = 30.0) -> Domain:
    """The domain that an operand names, with the credentials that options ask for.

    Raises `UsageError`, and `ToolError` with the original's exit codes.
    """
    source = parse_name(arguments, name)
    if source.directory:
        raise UsageError(f"{name} names a directory, which has an operand of its own here")
    return await open_source(arguments, source, name, default_timeout)


def parse_name(arguments: Arguments, name: str) -> Source:
    """What a DOMAIN operand means, with -t or without. Raises `UsageError`, and `ToolError` with the original's exit
    codes."""
    try:
        local = local_portmapper()
    except BadNameError as error:
        raise UsageError(str(error)) from None
    try:
        if arguments.has(TAGGED):
            return Source(parse_server(name, local.port))
        return parse_tool_source(name, local)
    except BadNameError as error:
        raise ToolError(str(error), BAD_SERVER_BASE + error.problem) from None


async def open_source(
    arguments: Arguments, source: Source, name: str, default_timeout: float = 30.0
) -> Domain:
    """A domain as `parse_name` gave it; *name* is what messages call it. Raises as `open_domain`."""
    timeout = arguments.number(TIMEOUT, default_timeout)
    options = Options(timeout, max(timeout, 60.0))
    how = Opener(network(arguments), source.portmapper or local_portmapper(), options)
    parsed = source.domain
    if isinstance(parsed, (TaggedServer, DirectServer)):
        host = parsed.host if isinstance(parsed, DirectServer) else parsed.portmapper.host
        try:
            await how.network.resolve(host)
        except TransportError as error:
            raise ToolError(str(error), BAD_SERVER_BASE + NameProblem.UNKNOWN_HOST) from None
    try:
        domain = await how.open(parsed)
    except CannotConnectError as error:
        raise ToolError(f"can't connect to domain {name}: {error.reason}", CANNOT_CONNECT) from None
    except NetInfoError as error:
        raise ToolError(f"can't connect to domain {name}: {advised(error, name)}", CANNOT_CONNECT) from None
    await authenticate(domain, arguments, source)
    return domain


async def authenticate(domain: Domain, arguments: Arguments, source: Source) -> None:
    """Use the user and password of -u, -p and -P, a URL, the environment or the terminal (NETINFO 6.5)."""
    if not (any(map(arguments.has, (USER, PROMPT, PASSWORD))) or source.user is not None):
        return
    user = arguments.get(USER) or source.user or ROOT_USER
    try:
        await domain.authenticate(os.fsencode(user), password_for(user, arguments, source.password))
    except ValueError as error:
        raise ToolError(str(error), USAGE) from None


def password_for(user: str, arguments: Arguments, known: str | None = None) -> str:
    """The password of -P, a *known* one, that of the environment, or what the terminal answers. Raises `ToolError`."""
    password = arguments.get(PASSWORD) if arguments.has(PASSWORD) else known
    if password is None:
        password = os.environ.get(PASSWORD_VARIABLE)
    return ask_password(user) if password is None else password


def ask_password(user: str) -> str:
    """What the terminal answers. Raises `ToolError` where there is none."""
    import getpass
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # never read one that everybody sees
            return getpass.getpass(f"Password for {user}: ")
    except (OSError, EOFError, getpass.GetPassWarning):
        raise ToolError(f"nobody can be asked for a password: set {PASSWORD_VARIABLE}", USAGE) from None


async def directory(domain: Domain, path: bytes) -> NiId:
    """The directory at a path from the root, or of a number where the path is all digits."""
    if not path.isdigit():
        return await domain.find(path if path.startswith(b"/") else b"/" + path)
    number = int(path[:LONGEST_NUMBER])
    if number > NI_INDEX_NULL:
        raise NetInfoError(NiStatus.NI_BADID, f"directory {text(path)}")
    return await domain.self_id(NiId(number, 0))


# --- output -----------------------------------------------------------------------------------------------


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


# --- running ----------------------------------------------------------------------------------------------


def run_tool(
    name: str, help_text: str, body: Callable[[list[str]], Awaitable[int]], argv: Sequence[str] | None = None
) -> NoReturn:
    """Run a tool over a blocking network, tell its errors on stderr, and exit with its code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if any(word in HELP.names for word in args[:2]):
        sys.stdout.write(help_text)
        sys.exit(0)
    try:
        code = _run(body, args)
        sys.stdout.flush()
    except UsageError as error:
        complain(name, error)
        sys.stderr.write(f"{_synopsis(help_text)}`{name} --help` says more.\n")
        code = USAGE
    except ToolError as error:
        complain(name, error)
        code = error.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 130
    except NetInfoError as error:
        complain(name, advised(error))
        code = exit_code(error)
    except TransportError as error:
        complain(name, error)
        code = FAILED
    finally:
        _closing.close()
    sys.exit(code)


def _run(body: Callable[[list[str]], Awaitable[int]], args: list[str]) -> int:
    async def whole() -> int:
        return await body(args)

    return run(whole())


def _synopsis(help_text: str) -> str:
    """A help text's usage lines: all before its first empty line."""
    return help_text.partition("\n\n")[0] + "\n"


def complain(name: str, problem: object) -> None:
    """Say on stderr what is wrong; what is no text in a name, or would steer a terminal, is shown as \\xff."""
    shown = os.fsencode(str(problem)).decode(errors="backslashreplace")
    printable = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in shown)
    sys.stderr.write(f"{name}: {printable}\n")


ADVICE = {
    NiStatus.NI_STALE: "somebody else changed it meanwhile; try again",
    NiStatus.NI_NOSPACE: "it would pass a limit of the server, or its disk is full",
    NiStatus.NI_PERM: "-u USER calls as a user who may",
    NiStatus.NI_RDONLY: "a clone takes changes from its master alone; or the directory is _locked",
    NiStatus.NI_AUTHERROR: "the password is another, or there were too many wrong ones just now",
    NiStatus.NI_MASTERBUSY: "try again later",
    NiStatus.NI_NOTAG: "`nidomain -l HOST` lists the tags of a host",
    NiStatus.NI_NORESPONSE: "no host that may serve the parent domain answers",
}
"""What a person can do about a status, where its sentence does not say."""


def advised(error: NetInfoError, where: str = "") -> str:
    """An error's sentence, with what can be done about it; without what it is about if that is *where*."""
    sentence = str(error).removeprefix(f"{where}: ") if where else str(error)
    try:
        return f"{sentence} ({ADVICE[NiStatus(error.status)]})"
    except (KeyError, ValueError):
        return sentence


def exit_code(error: NetInfoError) -> int:
    """100 and the status; 199 for a communication failure, 200 when no connection came about (NETINFO
    6.5)."""
    if isinstance(error, CannotConnectError):
        return CANNOT_CONNECT
    if error.status == NiStatus.NI_FAILED:
        return FAILED
    return min(STATUS_BASE + error.status, 255)
