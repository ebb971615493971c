"""`sup`: brings collections of files up to date from SUP file servers (SUP 7).

What it tells goes to standard output, as the original's does; which collections failed, and why, to standard error, and
the exit status tells the truth: 0 all done, 1 a collection failed or was completed with errors, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from attrs import asdict, define, evolve, field

from sup.commandline import USAGE, WINDOW, Invocation, UsageError, parse
from sup.supfile import Collection, SupfileError, apply_flags, parse_hosts
from sup.supfile import parse as parse_supfile
from wire.lean import collect_seldom

if TYPE_CHECKING:
    from sup.upgrade import Outcome
    from wire.transport.tap import Tap

SUPFILES = "/usr/lib/supfiles"
"""Where coll.list, coll.what and coll.host are (SUP 6.7), unless $GHOSTPORTS_SUPFILES names another directory."""
PORT, DEBUG_PORT = 871, 1127
DONE, FAILED, USAGE_ERROR = 0, 1, 2
SHOWN = 3
"""Problems of one collection that the closing line on standard error names."""


class NoCollections(Exception):
    """What to upgrade cannot be learned; the text says why."""


class NoRecording(Exception):
    """The file of `--pcap` cannot be written; the text says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sup`; the exit status."""
    collect_seldom()
    try:
        invocation = parse(sys.argv[1:] if argv is None else argv)
        if invocation.show:
            _show(invocation.show)
            return DONE
        collections = chosen(invocation)
    except UsageError as error:
        sys.stderr.write(f"sup: {error}\nTry `sup --help`.\n")
        return USAGE_ERROR
    except (NoCollections, SupfileError) as error:
        sys.stderr.write(f"sup: {error}\n")
        return FAILED
    if invocation.tell_times:
        return tell_times(collections)
    try:
        return run(invocation, collections)
    except NoRecording as error:
        sys.stderr.write(f"sup: {error}\n")
        return FAILED


def _show(what: str) -> None:
    if what == "version":
        from importlib.metadata import version

        sys.stdout.write(f"sup (Ghostports) {version('ghostports')}\n")
    else:
        sys.stdout.write(USAGE.format(window=WINDOW, supfiles=SUPFILES))


# --- what to upgrade ------------------------------------------------------------------------------------------------


def supfiles() -> Path:
    """The directory of the system's supfiles."""
    return Path(os.environ.get("GHOSTPORTS_SUPFILES", SUPFILES))


def chosen(invocation: Invocation) -> tuple[Collection, ...]:
    """The collections to upgrade, with the flags that apply to each, and their hosts.

    Raises NoCollections, SupfileError, and UsageError for a collection that the supfile does not have.
    """
    if invocation.system:
        source = str(supfiles() / ("coll.what" if invocation.tell_times else "coll.list"))
    else:
        source = invocation.supfile or ""
    collections = parse_supfile(_read(source, "supfile"), source)
    if invocation.collections:
        known = {collection.name for collection in collections}
        for name in invocation.collections:
            if name not in known:
                raise UsageError(f"{source} has no collection {os.fsdecode(name)}")
        collections = tuple(each for each in collections if each.name in invocation.collections)
    collections = apply_flags(collections, invocation.flags)
    return collections if invocation.tell_times else _with_hosts(collections)


def _with_hosts(collections: Sequence[Collection]) -> tuple[Collection, ...]:
    """Hosts for the collections whose line names none, from coll.host."""
    if all(collection.hosts for collection in collections):
        return tuple(collections)
    source = supfiles() / "coll.host"
    known = parse_hosts(_read(str(source), "file of hosts"), str(source)) if source.exists() else {}
    found = []
    for collection in collections:
        hosts = collection.hosts or known.get(collection.name, ())
        if not hosts:
            raise NoCollections(
                f"no host for collection {collection.title}: add host= to its line, or it to {source}"
            )
        found.append(evolve(collection, hosts=hosts))
    return tuple(found)


def _read(source: str, what: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise NoCollections(f"can't open {what} {source}: {error.strerror}") from error


def tell_times(collections: Iterable[Collection]) -> int:
    """`-t`: when each collection was last upgraded (SUP 7.2)."""
    from sup.client import moment
    from sup.workspace import NoDirectory, Workspace

    status = DONE
    for collection in collections:
        try:
            with Workspace(collection) as workspace:
                when = workspace.control.read_when()
        except (NoDirectory, OSError) as error:
            sys.stderr.write(f"sup: {collection.title}: {error}\n")
            status = FAILED
            continue
        said = f"Last update occurred at {moment(when)} for" if when else "No update has occurred yet for"
        sys.stdout.write(f"SUP {said} collection {collection.title}\n")
    return status


# --- the upgrades ---------------------------------------------------------------------------------------------------


def put(text: str, stream: TextIO) -> bool:
    """Write *text* to standard output. Where that is not possible (a full disk, a reader that has gone), the upgrades
    go on all the same: this is said on standard error, once, and what comes after is dropped. False then.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.stderr.write(f"sup: can't write to standard output: {error.strerror}\n")
        return False
    return True


@define
class Output:
    """Where the lines about collections go: standard output, a mail, or nowhere. A heading comes before the first."""

    invocation: Invocation
    source: str
    mail: list[str] = field(factory=list)
    begun: bool = False

    def line(self, collection: Collection, text: str) -> None:
        """One line about *collection*."""
        if self.invocation.silent:
            return
        begun = bool(self.mail) if collection.mail else self.begun
        lines = (
            [text] if begun else [f"SUP 8.26 (4.3 BSD) for file {self.source} at {time.ctime()[4:]}", text]
        )
        if collection.mail:
            self.mail += lines
        else:
            self.begun = True
            put("".join(f"{line}\n" for line in lines), sys.stderr if self.invocation.json else sys.stdout)

    def send(self, collection: Collection) -> None:
        """Mail what was told about *collection*, if it is to be mailed and there is anything."""
        text, self.mail = "\n".join(self.mail), []
        if not text:
            return
        from sup.mailing import NotSent, send

        try:
            send(self.invocation.mail_to or collection.notify, f"SUP Upgrade of {collection.title}", text)
        except NotSent as error:
            sys.stderr.write(f"sup: {error}\n{text}\n")


def run(invocation: Invocation, collections: Sequence[Collection]) -> int:
    """Upgrade *collections*, one after the other; the exit status."""
    from twisted.internet import reactor
    from twisted.internet.defer import CancelledError, Deferred

    outcomes: list[Outcome] = []
    failures: list[BaseException] = []

    def failed(failure: Any) -> None:
        failures.append(failure.value)

    with _recording(invocation) as taps:
        working = Deferred.fromCoroutine(upgrade_all(reactor, invocation, collections, taps, outcomes))
        working.addErrback(failed)
        working.addBoth(lambda _: _stop(reactor))
        any_reactor: Any = reactor
        any_reactor.addSystemEventTrigger("before", "shutdown", working.cancel)
        if not working.called:
            any_reactor.run()
    if failures and not isinstance(failures[0], CancelledError):
        raise failures[0]
    told = not invocation.json or print_json(outcomes)
    status = tell_failures(outcomes) if told else FAILED
    if failures:
        sys.stderr.write(
            "sup: interrupted; each file is the old one or the new one, and the next run goes on from there\n"
        )
    return FAILED if failures else status


def _stop(reactor: Any) -> None:
    from twisted.internet.error import ReactorNotRunning

    with suppress(ReactorNotRunning):  # nothing had to be waited for, or it is stopping already
        reactor.stop()


@contextmanager
def _recording(invocation: Invocation) -> Iterator[Sequence[Tap]]:
    """The taps of `--pcap`. Raises NoRecording."""
    if invocation.pcap is None:
        yield ()
        return
    from click import ClickException

    from wire.capture.recording import Recording

    with ExitStack() as stack:
        try:
            taps = stack.enter_context(Recording(Path(invocation.pcap), invocation.redact).taps())
        except ClickException as error:
            raise NoRecording(error.format_message()) from error
        yield taps


async def upgrade_all(
    reactor: Any,
    invocation: Invocation,
    collections: Sequence[Collection],
    taps: Sequence[Tap],
    outcomes: list[Outcome],
) -> None:
    """The upgrades; each outcome is appended to *outcomes* as it is known."""
    from sup.client import Settings
    from sup.commands.network import Connections, offload, outside
    from sup.durability import NOT_DURABLE, durable
    from sup.progress import progress
    from sup.report import Report
    from sup.upgrade import upgrade

    source = invocation.supfile or str(supfiles() / "coll.list")
    output = Output(invocation, "Standard Input" if source == "-" else source)
    port = invocation.port or (DEBUG_PORT if invocation.debug_port else PORT)
    world = outside(reactor, Connections(reactor, port, taps, invocation.trace, sys.stderr))
    settings = Settings(
        durability=durable() if invocation.durable else NOT_DURABLE,
        offload=offload,
        window=invocation.window,
        set_times=invocation.set_times,
        follow_symlinks=invocation.follow_symlinks,
        command_output=sys.stderr.fileno() if invocation.json or invocation.silent else None,
    )
    for collection in collections:
        heading = f"SUP Upgrade of {collection.title} at {time.ctime()}"
        report = Report(partial(output.line, collection), heading, collection.verbose)
        with progress(collection.title, _wants_progress(invocation, collection)) as watcher:
            outcomes.append(await upgrade(collection, world, report, evolve(settings, progress=watcher)))
        output.send(collection)


def _wants_progress(invocation: Invocation, collection: Collection) -> bool:
    """A bar on a terminal, unless each file is told anyway."""
    if invocation.progress is not None:
        return invocation.progress
    return sys.stderr.isatty() and not (invocation.silent or collection.verbose or collection.list_only)


# --- what came of it ------------------------------------------------------------------------------------------------


def tell_failures(outcomes: Iterable[Outcome]) -> int:
    """Which collections failed, and why, on standard error; the exit status."""
    from sup.client import Status

    status = DONE
    for outcome in outcomes:
        if outcome.status in (Status.ABORTED, Status.ERRORS):
            status = FAILED
            why = "; ".join(outcome.problems[:SHOWN]) or "see above"
            more = f"; and {len(outcome.problems) - SHOWN} more" if len(outcome.problems) > SHOWN else ""
            sys.stderr.write(f"sup: {outcome.collection.title}: {outcome.status.value}: {why}{more}\n")
    return status


def print_json(outcomes: Iterable[Outcome]) -> bool:
    """What came of each collection, as a JSON list on standard output; False where it cannot be written."""
    import json

    rows = [
        {
            "collection": outcome.collection.title,
            "host": outcome.host,
            "status": outcome.status.value,
            "problems": outcome.problems,
            **asdict(outcome.counts),
        }
        for outcome in outcomes
    ]
    return put(json.dumps(rows, indent=2) + "\n", sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
