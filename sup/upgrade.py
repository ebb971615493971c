"""The upgrade of one collection: its hosts, one after the other, and again later if none has time (SUP 1.5)."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import define, frozen

from sup.channel import Channel
from sup.client import Aborted, Busy, Counts, Obsolete, Session, Settings, Status, moment
from sup.report import Report
from sup.retry import Backoff, Below
from sup.supfile import Collection
from sup.workspace import NoDirectory, Workspace


class Unreachable(Exception):
    """No connection to a host came about; the text says why."""


class Connect(Protocol):
    """Makes connections to file servers."""

    def __call__(self, host: str, /) -> Awaitable[Channel]:
        """A connection to `host`. Raises Unreachable."""


@frozen
class Network:
    """What an upgrade needs of the world outside, besides files."""

    connect: Connect
    sleep: Callable[[int], Awaitable[None]]
    """Waits so many seconds."""
    below: Below
    is_local: Callable[[str], bool]
    """Whether a host is this machine."""


@define
class Outcome:
    """What came of the upgrade of one collection."""

    collection: Collection
    status: Status
    problems: list[str]
    counts: Counts
    host: str | None = None


async def upgrade(collection: Collection, network: Network, report: Report, settings: Settings) -> Outcome:
    """Upgrades `collection`; whatever goes wrong is in the outcome and has been reported."""
    outcome = Outcome(collection, Status.ABORTED, report.problems, Counts())
    hosts = [host for host in collection.hosts if collection.local or not network.is_local(host)]
    if not hosts:
        report.warning(f"Skipping local collection {collection.title}")
        outcome.status = Status.SKIPPED
        return outcome
    try:
        with Workspace(collection, settings.follow_symlinks) as workspace:
            attempts = _Attempts(network, workspace, report, settings, outcome)
            outcome.status = await attempts.run(hosts)
    except (Aborted, NoDirectory) as error:
        report.problem(str(error))
        report.warning(f"Upgrade of {collection.title} aborted at {moment(settings.clock())}")
    return outcome


@define
class _Attempts:
    """Tries hosts until one has done the upgrade, or time has run out."""

    network: Network
    workspace: Workspace
    report: Report
    settings: Settings
    outcome: Outcome

    async def run(self, hosts: list[str]) -> Status:
        """Raises Aborted."""
        backoff = Backoff(self.outcome.collection.timeout)
        while True:
            reasons = []
            for host in list(hosts):
                self.outcome.host = host
                try:
                    return await self._session(host)
                except Unreachable as error:
                    reasons.append(f"Can't connect to host {host} ({error})")
                except Busy:
                    reasons.append(f"The file server on {host} is busy")
                except Obsolete as error:
                    self.report.warning(f"{host}: {error}")
                    hosts.remove(host)
            self.outcome.host = None
            wait = backoff.next(self.network.below) if hosts else None
            if wait is None:
                for reason in reasons[:-1]:
                    self.report.warning(reason)
                raise Aborted(
                    reasons[-1] if reasons else "No file server speaks a protocol that this one knows"
                )
            self.report.warning(f"Will retry in {wait} seconds")
            await self.network.sleep(wait)

    async def _session(self, host: str) -> Status:
        channel = await self.network.connect(host)
        session = Session(channel, self.outcome.collection, self.workspace, self.report, self.settings)
        self.outcome.counts = session.counts
        ended = False
        try:
            status = await session.run()
            ended = True
        except (Aborted, Busy):
            ended = True
            raise
        finally:
            if ended:
                await channel.finish()
            else:
                channel.abort()
        return status
