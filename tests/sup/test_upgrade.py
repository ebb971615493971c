"""Hosts, one after the other, and waiting when none has time (SUP 1.5)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sup.channel import Channel
from sup.client import Settings, Status
from sup.durability import NOT_DURABLE
from sup.report import Report
from sup.supfile import Collection
from sup.upgrade import Network, Outcome, Unreachable, upgrade
from tests.sup.installing import at_once, file, finished
from tests.sup.scripted_server import ScriptedServer, opening, session
from tests.sup.test_client import entry
from wire.formats.sup import Goaway, SetupAck, SetupCode, SignonAck

A = file(b"a", size=1)
GOOD = session([entry(A)], [A, b"a"])
BUSY = [*opening()[:1], SetupAck(SetupCode.BUSY)]
OLD = [SignonAck(3, 1, b"", 1)]
GIVES_UP = [Goaway(b"no")]
REFUSES = "connection refused"


class World:
    """Hosts that answer with scripts, one after the other; a text instead of a script is why they do not."""

    def __init__(self, hosts: dict[str, list[Any]], local: tuple[str, ...] = ()) -> None:
        self.hosts = hosts
        self.local = local
        self.tried: list[str] = []
        self.slept: list[int] = []
        self.channels: list[ScriptedServer] = []

    async def connect(self, host: str, /) -> Channel:
        self.tried.append(host)
        answer = self.hosts[host].pop(0)
        if isinstance(answer, str):
            raise Unreachable(answer)
        self.channels.append(ScriptedServer(answer))
        return self.channels[-1]

    async def sleep(self, seconds: int) -> None:
        self.slept.append(seconds)

    def network(self) -> Network:
        return Network(self.connect, self.sleep, lambda _: 0, self.local.__contains__)


Go = Callable[..., tuple[Outcome, list[str]]]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    def run(world: World, **settings: Any) -> tuple[Outcome, list[str]]:
        said: list[str] = []
        values: Any = {"hosts": tuple(sorted(world.hosts)), "base": os.fsencode(tmp_path), **settings}
        how = Settings(durability=NOT_DURABLE, offload=at_once, window=64)
        outcome = finished(
            upgrade(Collection(b"demo", **values), world.network(), Report(said.append, verbose=True), how)
        )
        assert all(channel.finished for channel in world.channels)
        return outcome, said

    return run


def test_the_first_host_that_can(go: Go) -> None:
    world = World({"a": [REFUSES], "b": [BUSY], "c": [OLD], "d": [GOOD], "e": []})
    outcome, _ = go(world)
    assert (outcome.status, outcome.host, outcome.problems) == (Status.DONE, "d", [])
    assert world.tried == ["a", "b", "c", "d"]
    assert world.slept == []
    assert (outcome.counts.received, outcome.counts.bytes) == (1, 1)


def test_all_are_tried_again_after_a_while(go: Go) -> None:
    world = World({"a": [REFUSES, BUSY, GOOD], "b": [BUSY, REFUSES]})
    outcome, said = go(world)
    assert outcome.status is Status.DONE
    assert world.tried == ["a", "b", "a", "b", "a"]
    assert world.slept == [60, 120]
    assert "SUP: Will retry in 60 seconds" in said


@pytest.mark.parametrize(("timeout", "slept"), [(0, []), (3, [3])])
def test_until_the_time_is_used_up(go: Go, timeout: int, slept: list[int]) -> None:
    world = World({"a": [REFUSES] * 2, "b": [BUSY] * 2})
    outcome, said = go(world, timeout=timeout)
    assert outcome.status is Status.ABORTED
    assert world.slept == slept
    assert outcome.problems == ["The file server on b is busy"]
    assert "SUP: Can't connect to host a (connection refused)" in said
    assert said[-1].startswith("SUP: Upgrade of demo aborted at ")


def test_a_server_that_gives_up_ends_it(go: Go) -> None:
    world = World({"a": [GIVES_UP], "b": []})
    outcome, _ = go(world)
    assert outcome.status is Status.ABORTED
    assert world.tried == ["a"]
    assert outcome.problems == ["SCM GOAWAY no", "Error reading signon reply from file server"]


def test_servers_that_are_too_old_are_not_tried_again(go: Go) -> None:
    world = World({"a": [OLD], "b": [REFUSES, GOOD]})
    assert go(world)[0].status is Status.DONE
    assert world.tried == ["a", "b", "b"]
    outcome, _ = go(World({"a": [OLD]}))
    assert outcome.problems == ["No file server speaks a protocol that this one knows"]


def test_this_machine_is_left_out(go: Go) -> None:
    outcome, said = go(World({"here": [GOOD]}, local=("here",)))
    assert outcome.status is Status.SKIPPED
    assert outcome.problems == []
    assert said == ["SUP: Skipping local collection demo"]
    outcome, _ = go(World({"here": [], "there": [GOOD]}, local=("here",)))
    assert outcome.host == "there"
    assert go(World({"here": [GOOD]}, local=("here",)), local=True)[0].status is Status.DONE


def test_a_base_that_does_not_exist(go: Go) -> None:
    world = World({"a": [GOOD]})
    outcome, said = go(world, base=b"/no/such/directory")
    assert outcome.status is Status.ABORTED
    assert world.tried == []
    assert said[0] == "SUP: Can't change to base directory /no/such/directory (No such file or directory)"


def test_an_error_of_our_own_does_not_look_like_an_end(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise AssertionError("a mistake in the client")

    monkeypatch.setattr("sup.client.Session._denied", broken)
    world = World({"a": [GOOD]})
    with pytest.raises(AssertionError, match="a mistake"):
        go(world)
    assert world.channels[0].aborted
