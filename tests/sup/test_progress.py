"""The progress bar: nobody is bothered by it in the first second, and its last state is the truth."""

import pytest

from sup import progress as module
from sup.client import Quiet
from sup.progress import AFTER, EVERY, Bar, progress


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setenv("COLUMNS", "100")
    return made


def test_nobody_watches() -> None:
    with progress("demo", shown=False) as watcher:
        watcher.expect(1)
        watcher.receive()
        watcher.data(5)
    assert isinstance(watcher, Quiet)


def test_a_short_transfer_needs_no_bar(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("demo", shown=True) as watcher:
        watcher.expect(2)
        clock.now += AFTER - 0.01
        watcher.receive()
        watcher.data(5)
    assert capsys.readouterr() == ("", "")


def test_a_long_transfer(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("demo", shown=True) as watcher:
        clock.now += 60  # the server's list took a while
        watcher.expect(3)
        watcher.receive()
        clock.now += AFTER
        watcher.data(1500)
        watcher.receive()
        watcher.data(500)
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.rpartition("demo")[2]
    assert "2/3" in last
    assert "2.0 kB" in last


def test_it_does_not_look_at_every_piece(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Bar("demo")
    bar.expect(1)
    looks = []
    monkeypatch.setattr(bar, "_start", lambda: None)
    monkeypatch.setattr(bar, "_update", lambda: looks.append(clock.now))
    clock.now += AFTER
    for _ in range(1000):
        clock.now += EVERY / 100
        bar.data(1)
    assert len(looks) <= 11


def test_an_upgrade_that_fails_leaves_the_terminal_in_order(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def upgrade() -> None:
        with progress("demo", shown=True) as watcher:
            watcher.expect(3)
            clock.now += AFTER
            watcher.receive()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        upgrade()
    assert "1/3" in capsys.readouterr().err
