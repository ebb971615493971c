"""What a master tells its clones and when; when a clone asks. Time is a number here."""

from __future__ import annotations

from typing import Any

from netinfo.domain import Domain
from netinfo.events import Changed
from netinfo.generation import NEXT
from netinfo.hierarchy import Server
from netinfo.rawformat import Branch, plant
from netinfo.replication import Tuning, snapshot
from netinfo.updates import CRASHED, RESYNC, WAITING_LIMIT, Checks, Pace, Send, Updates
from tests.netinfo.base import SU
from wire.formats.netinfo import NI_INDEX_NULL, CreateArgs, NiStatus

ONE, TWO, THREE = (Server(f"10.0.0.{number}", b"network") for number in (1, 2, 3))
AT_ONCE = Tuning(0.0)


class Master:
    """A domain and its updates."""

    def __init__(self, *servers: Server, tuning: Tuning = AT_ONCE) -> None:
        self.domain = Domain(b"network", plant(Branch(), NEXT))
        self.updates = Updates(lambda: self.domain.tree.checksum, tuning, 0.0)
        self.updates.start(servers, 0.0)

    def change(self, now: float) -> Any:
        root = self.domain.tree.directories[0].id
        result = self.domain.call(5, CreateArgs(root, (), NI_INDEX_NULL, None), SU)
        (event,) = self.domain.take()
        assert isinstance(event, Changed)
        self.updates.changed(event, now)
        return event.procedure, event.argument, result

    def due(self, now: float) -> list[Send]:
        return self.updates.due(now)

    def deliver(self, now: float) -> dict[Server, list[str]]:
        sends = self.due(now)
        for send in sends:
            self.updates.sent(send.server)
        return {send.server: [procedure.name for procedure, _ in send.calls] for send in sends}


def test_started_master_tells_its_checksum_once() -> None:
    master = Master(ONE, TWO)
    assert master.updates.next_time() == 0.0
    checksum = master.domain.tree.checksum
    assert master.due(0.0) == [Send(ONE, ((CRASHED, checksum),)), Send(TWO, ((CRASHED, checksum),))]
    master.updates.sent(ONE)
    master.updates.sent(TWO)
    assert master.due(99.0) == []
    assert master.updates.next_time() is None


def test_changes_go_to_every_clone_in_order() -> None:
    master = Master(ONE, TWO)
    master.deliver(0.0)
    first = master.change(1.0)[:2]
    second = master.change(1.0)[:2]
    assert master.updates.waiting == 4
    assert master.due(1.0) == [Send(ONE, (first, second)), Send(TWO, (first, second))]
    third = master.change(1.0)[:2]
    assert master.due(1.0) == []  # both are still being told
    assert master.updates.next_time() is None
    master.updates.sent(ONE)
    assert master.due(1.0) == [Send(ONE, (third,))]


def test_changes_wait_for_others_to_join_them() -> None:
    master = Master(ONE, tuning=Tuning(2.0))
    master.deliver(0.0)
    master.change(1.0)
    master.change(2.5)
    assert master.updates.next_time() == 3.0
    assert master.deliver(2.9) == {}
    assert master.deliver(3.0) == {ONE: ["CREATE", "CREATE"]}


def test_unreachable_clone_is_tried_again_ever_more_rarely() -> None:
    master = Master(ONE)
    now, times = 0.0, []
    for _ in range(9):
        (send,) = master.due(now)
        assert send.calls[-1][0] is CRASHED
        master.updates.failed(ONE, now)
        master.change(now)  # nothing waits for one that cannot be reached
        assert master.updates.waiting == 0
        retry = master.updates.next_time()
        assert retry is not None
        times.append(retry - now)
        assert master.due(retry - 0.001) == []
        now = retry
    assert times == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert master.deliver(now) == {ONE: ["CRASHED"]}
    master.change(now)
    assert master.deliver(now) == {ONE: ["CREATE"]}
    master.change(now)
    master.due(now)
    master.updates.failed(ONE, now)
    assert master.updates.next_time() == now + 1


def test_clone_that_falls_too_far_behind_transfers_instead() -> None:
    master = Master(ONE, tuning=Tuning(5.0))
    master.deliver(0.0)
    event = Changed(None, RESYNC, None)  # type: ignore[arg-type]
    for _ in range(WAITING_LIMIT + 5):
        master.updates.changed(event, 0.0)
    assert master.updates.waiting == 0
    assert master.deliver(1.0) == {ONE: ["CRASHED"]}


def test_resync_reads_the_list_of_clones_anew() -> None:
    master = Master(ONE, TWO)
    master.deliver(0.0)
    master.change(1.0)
    master.updates.resync([TWO, THREE], AT_ONCE, 1.0)
    assert master.deliver(1.0) == {TWO: ["CREATE", "RESYNC"], THREE: ["CRASHED", "RESYNC"]}
    master.change(2.0)
    assert master.deliver(2.0) == {TWO: ["CREATE"], THREE: ["CREATE"]}
    master.updates.failed(ONE, 2.0)  # one that is gone meanwhile
    master.updates.sent(ONE)
    assert master.updates.next_time() is None


def test_resync_does_not_wait_for_a_retry() -> None:
    master = Master(ONE)
    master.due(0.0)
    master.updates.failed(ONE, 0.0)
    master.updates.resync([ONE], AT_ONCE, 0.5)
    assert master.deliver(0.5) == {ONE: ["CRASHED", "RESYNC"]}


def test_only_so_many_clones_are_told_at_a_time() -> None:
    master = Master(ONE, TWO, THREE, tuning=Tuning(0.0, subthreads=2))
    assert [send.server for send in master.due(0.0)] == [ONE, TWO]
    assert master.updates.sending == 2
    assert master.updates.next_time() is None
    assert master.due(0.0) == []
    master.updates.sent(ONE)
    assert [send.server for send in master.due(0.0)] == [THREE]


def test_periodic_resync() -> None:
    master = Master(ONE)
    assert master.updates.periodic_at() == 1800.0
    master.updates.resync([ONE], Tuning(0.0, cleanup_wait=60.0), 100.0)
    assert master.updates.periodic_at() == 160.0
    master.updates.resync([ONE], Tuning(0.0, cleanup_wait=None), 100.0)
    assert master.updates.periodic_at() is None


def test_root_made_on_demand_is_told_to_nobody() -> None:
    master = Master(ONE)
    master.deliver(0.0)
    master.updates.changed(Changed(None), 0.0)  # type: ignore[arg-type]
    assert master.updates.waiting == 0


def test_told_clone_has_the_masters_domain() -> None:
    master = Master(ONE)
    master.deliver(0.0)
    clone = Domain(b"network", plant(Branch(), NEXT))
    for number in range(20):
        master.change(float(number))
        for send in master.due(float(number)) if number % 3 == 0 else ():
            for procedure, argument in send.calls:
                assert clone.call(procedure.number, argument, SU).status == NiStatus.NI_OK
            master.updates.sent(ONE)
    for send in master.due(99.0):
        for procedure, argument in send.calls:
            assert clone.call(procedure.number, argument, SU).status == NiStatus.NI_OK
    assert list(snapshot(clone.tree)) == list(snapshot(master.domain.tree))


# --- a clone's side ---------------------------------------------------------------------------------------------


def test_pace_lets_one_through_and_keeps_the_next() -> None:
    pace = Pace()
    assert not pace.take(0.0)
    assert pace.next_time() is None
    pace.want(0.0, 10.0)
    assert pace.take(0.0)
    pace.want(1.0, 10.0)
    pace.want(2.0, 10.0)
    assert pace.next_time() == 10.0
    assert not pace.take(9.9)
    pace.want(3.0, 1.0)  # one that may come sooner
    assert pace.take(3.0)
    assert pace.next_time() is None
    assert not pace.take(99.0)


def test_clone_checks_strangers_words_rarely_and_its_masters_soon() -> None:
    checks = Checks()
    checks.want(100.0, trusted=False)
    assert checks.begin(100.0)
    assert not checks.begin(100.0)
    checks.want(100.5, trusted=False)
    assert checks.next_time() is None  # while one is under way
    checks.finished(101.0, reached=True)
    assert checks.next_time() == 110.0
    checks.want(101.0, trusted=True)
    assert checks.begin(101.0)
    checks.finished(102.0, reached=True)
    assert checks.next_time() is None


def test_clone_tries_again_when_its_master_is_away() -> None:
    checks = Checks()
    checks.want(0.0, trusted=True)
    now, waits = 0.0, []
    for _ in range(8):
        assert checks.begin(now)
        checks.finished(now, reached=False)
        again = checks.next_time()
        assert again is not None
        waits.append(again - now)
        now = again
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert checks.begin(now)
    checks.finished(now, reached=True)
    assert checks.next_time() is None


def test_update_during_a_transfer_makes_a_clone_check_again() -> None:
    checks = Checks()
    checks.updated()
    checks.want(0.0, trusted=True)
    assert checks.begin(0.0)
    checks.updated()
    checks.finished(3.0, reached=True)
    assert checks.next_time() == 3.0
    assert checks.begin(3.0)
    checks.finished(4.0, reached=True)
    assert checks.next_time() is None
