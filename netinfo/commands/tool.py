"""How an ni* tool runs: a domain opened as its command line says, errors told, the original's exit codes (NETINFO
6.5)."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from netinfo.client.blocking import BlockingNetwork
from netinfo.client.domain import Domain, Options
from netinfo.client.errors import CannotConnectError, NetInfoError
from netinfo.client.names import (
    PORTMAP_VARIABLE,
    PORTMAPPER_PORT,
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
from netinfo.commands.options import (
    LONGEST_NUMBER,
    PASSWORD,
    PASSWORD_VARIABLE,
    PCAP,
    PROMPT,
    REDACT,
    SHOW_HELP,
    TAGGED,
    TIMEOUT,
    USER,
    Arguments,
    UsageError,
)
from netinfo.commands.printing import text
from wire.formats.netinfo import NI_INDEX_NULL, NiId, NiStatus
from wire.transport.errors import TransportError

USAGE = 1
STATUS_BASE = 100
FAILED = 199
CANNOT_CONNECT = 200
BAD_SERVER_BASE = 216
"""Exit codes; 100 and 216 have the status or the kind of problem added (NETINFO 6.5)."""
ROOT_USER = "root"
ELSEWHERE = f"a lab's portmapper is not at port {PORTMAPPER_PORT}: {PORTMAP_VARIABLE}=127.0.0.1:10111 says where it is"
"""What to do where nobody answers at the historic place."""


class ToolError(Exception):
    """A tool cannot do what it was asked; `code` is its exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


# --- opening ----------------------------------------------------------------------------------------------


_closing = ExitStack()
"""What a tool closes at its end."""


def network(arguments: Arguments) -> BlockingNetwork:
    """A network, recorded if the options say so. Raises `ToolError`."""
    if not arguments.has(PCAP):
        return BlockingNetwork()
    from click import ClickException

    from wire.capture.recording import Recording

    recording = Recording(Path(arguments.get(PCAP)), arguments.has(REDACT))
    try:
        return BlockingNetwork(_closing.enter_context(recording.taps()))
    except ClickException as error:
        raise ToolError(error.format_message(), USAGE) from None


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
        asked = parsed.portmapper if isinstance(parsed, TaggedServer) else how.portmapper
        historic = asked.port == PORTMAPPER_PORT and not isinstance(parsed, DirectServer)
        advice = f" ({ELSEWHERE})" if historic else ""
        raise ToolError(f"can't connect to domain {name}: {error.reason}{advice}", CANNOT_CONNECT) from None
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


# --- running ----------------------------------------------------------------------------------------------


def run_tool(
    name: str, help_text: str, body: Callable[[list[str]], Awaitable[int]], argv: Sequence[str] | None = None
) -> NoReturn:
    """Run a tool over a blocking network, tell its errors on stderr, and exit with its code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if any(word in SHOW_HELP.names for word in args[:2]):
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
    except KeyboardInterrupt:
        code = 130
    except NetInfoError as error:
        complain(name, advised(error))
        code = exit_code(error)
    except TransportError as error:
        complain(name, error)
        code = FAILED
    except RecursionError:
        complain(name, "the server's directories are nested without end")
        code = FAILED
    except OSError as error:
        code = _without_output(name, error)
    finally:
        _closing.close()
    sys.exit(code)


def _without_output(name: str, error: OSError) -> int:
    """What remains to be done when the output cannot be written; the exit code. Who reads no further, such as `head`,
    has all that was wanted."""
    # For Python, which tries once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 0
    complain(name, f"the output cannot be written: {error.strerror}")
    return USAGE


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
