"""What tests/conftest.py promises about every test, seen on small tests of their own in processes of their own.

A pytest takes two seconds to start; tests whose settings agree therefore look at one run of all samples.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent

DEFERREDS = """
import gc
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.python import log

def test_leaves_one():
    deferred = fail(RuntimeError("lost in a Deferred"))
    deferred.cycle = deferred

def test_leaves_none():
    fail(RuntimeError("handled")).addErrback(lambda failure: None)

@pytest_twisted.ensureDeferred
async def test_leaves_one_in_the_reactor():
    done = Deferred()
    reactor.callLater(0, lambda: 1 // 0)
    reactor.callLater(0.01, done.callback, None)
    await done

def test_means_one(unhandled_errors):
    fail(RuntimeError("meant"))
    gc.collect()
    assert len(unhandled_errors) == 1
    unhandled_errors.clear()

def test_logs_one():
    try:
        1 // 0
    except ZeroDivisionError:
        log.err(None, "logged in the old way")

async def nothing(): pass

def test_forgets_to_wait():
    nothing()
"""

SKIPPING = """
import pytest
from tests import peers

@pytest.mark.interop
def test_marked():
    pytest.skip("some reason")

def test_missing(monkeypatch):
    monkeypatch.setattr(peers, "find", lambda name: None)
    peers.peer("tshark")

def test_other():
    pytest.skip("another platform")
"""

SETTINGS = """
from twisted.internet import reactor

def test_rounds(rounds):
    print("rounds:", rounds(2, 200), "of rounds")

def test_reactor():
    print("reactor:", type(reactor).__name__, type(getattr(reactor, "_asyncioEventloop", None)).__module__)

def test_temporary_files(tmp_path):
    (tmp_path / "passed").touch()
"""


@attrs.frozen
class Ran:
    """What one run of the samples said, and the folder that it had for temporary files."""

    said: str
    temporary: Path

    def outcome(self, test: str) -> str:
        """The words before the names of a sample in pytest's closing list, such as `PASSED` or `PASSED ERROR`."""
        lines = [line.split() for line in self.said.splitlines()]
        return " ".join(words[0] for words in lines if len(words) > 1 and words[1].endswith(f"::{test}"))


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs sample tests with the house's conftest in a process of their own."""

    def start(*sources: str, options: tuple[str, ...] = (), **environment: str) -> Ran:
        folder = tmp_path_factory.mktemp("samples")
        temporary = folder / "temporary"
        temporary.mkdir()
        for number, source in enumerate(sources):
            (folder / f"test_{number}.py").write_text(source)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != "REQUIRE_INTEROP" and not name.startswith(("PYTEST_", "COV_"))
        }
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rA"]
        ran = subprocess.run(
            [*command, "-c", ROOT / "pyproject.toml", f"--rootdir={folder}", *options, folder],
            cwd=ROOT,
            env={**inherited, "TMPDIR": str(temporary), **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return Ran(ran.stdout + ran.stderr, temporary)

    return start


@pytest.fixture(scope="module")
def plain(run: Run) -> Ran:
    """All samples, run as `make test` does on a machine without real programs."""
    return run(DEFERREDS, SKIPPING, SETTINGS)


@pytest.fixture(scope="module")
def demanding(run: Run) -> Ran:
    """The samples whose outcome settings change, run as CI does, for long, and on the other reactor."""
    pytest.importorskip("uvloop")
    return run(SKIPPING, SETTINGS, options=("--soak", "--reactor=asyncio"), REQUIRE_INTEROP="1")


def test_an_error_left_in_a_deferred_fails_its_test(plain: Ran) -> None:
    assert plain.outcome("test_leaves_one") == "PASSED ERROR"
    assert "lost in a Deferred" in plain.said
    assert plain.outcome("test_leaves_none") == "PASSED"


def test_an_error_in_the_reactor_fails_its_test(plain: Ran) -> None:
    assert plain.outcome("test_leaves_one_in_the_reactor") == "PASSED ERROR"
    assert "ZeroDivisionError" in plain.said


def test_an_error_that_twisted_logs_in_its_old_way_fails_its_test(plain: Ran) -> None:
    assert plain.outcome("test_logs_one") == "PASSED ERROR"
    assert "logged in the old way" in plain.said


def test_a_test_may_look_at_the_errors_it_meant(plain: Ran) -> None:
    assert plain.outcome("test_means_one") == "PASSED"


def test_a_coroutine_nobody_awaited_fails_its_test(plain: Ran) -> None:
    assert plain.outcome("test_forgets_to_wait") == "FAILED"


def test_without_real_programs_interop_tests_skip_by_name(plain: Ran) -> None:
    assert "install the Debian package tshark" in plain.said
    assert "3 skipped" in plain.said


def test_where_real_programs_are_promised_such_a_skip_is_a_failure(demanding: Ran) -> None:
    assert "skipped, although REQUIRE_INTEROP is set: some reason" in demanding.said
    assert demanding.outcome("test_marked") == demanding.outcome("test_missing") == "FAILED"
    assert "1 skipped" in demanding.said


def test_soak_tests_learn_how_long_to_go_on(plain: Ran, demanding: Ran) -> None:
    assert "rounds: 2 of rounds" in plain.said
    assert "rounds: 200 of rounds" in demanding.said


def test_the_other_reactor_is_uvloops(plain: Ran, demanding: Ran) -> None:
    assert "reactor: AsyncioSelectorReactor uvloop" in demanding.said
    assert "reactor: " in plain.said
    assert "uvloop" not in plain.said


def test_each_session_has_temporary_files_of_its_own_and_leaves_only_those_of_failures(run: Run) -> None:
    failing = """
def test_it(tmp_path):
    (tmp_path / "failed").touch()
    assert False
"""
    ran = run(failing, SETTINGS)
    assert len(list(ran.temporary.glob("ghostports-tests-*/**/failed"))) == 1
    assert not list(ran.temporary.rglob("passed"))


def test_a_session_without_failures_leaves_nothing(run: Run) -> None:
    ran = run(SETTINGS)
    assert ran.outcome("test_temporary_files") == "PASSED"
    assert not list(ran.temporary.iterdir())
