"""What tests/conftest.py promises about every test, seen on small test files of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a test file with the house's conftest in a process of its own, and returns pytest's output."""

    def start(source: str, *arguments: str, **environment: str) -> str:
        file = tmp_path / "test_sample.py"
        file.write_text(source)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != "REQUIRE_INTEROP" and not name.startswith(("PYTEST_", "COV_"))
        }
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rA"]
        ran = subprocess.run(
            [*command, "-c", ROOT / "pyproject.toml", f"--rootdir={tmp_path}", *arguments, file],
            cwd=ROOT,
            env={**inherited, **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return ran.stdout + ran.stderr

    return start


def test_an_error_left_in_a_deferred_fails_its_test(run: Run) -> None:
    said = run("""
from twisted.internet.defer import fail

def test_leaves_one():
    deferred = fail(RuntimeError("lost in a Deferred"))
    deferred.cycle = deferred

def test_leaves_none():
    fail(RuntimeError("handled")).addErrback(lambda failure: None)
""")
    assert "ERROR" in said
    assert "lost in a Deferred" in said
    assert "2 passed, 1 error" in said


def test_an_error_in_the_reactor_fails_its_test(run: Run) -> None:
    said = run("""
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

@pytest_twisted.ensureDeferred
async def test_it():
    done = Deferred()
    reactor.callLater(0, lambda: 1 // 0)
    reactor.callLater(0.01, done.callback, None)
    await done
""")
    assert "ZeroDivisionError" in said
    assert "1 passed, 1 error" in said


def test_a_test_may_look_at_the_errors_it_meant(run: Run) -> None:
    said = run("""
import gc
from twisted.internet.defer import fail

def test_it(unhandled_errors):
    fail(RuntimeError("meant"))
    gc.collect()
    assert len(unhandled_errors) == 1
    unhandled_errors.clear()
""")
    assert "1 passed" in said
    assert "error" not in said.splitlines()[-1]


def test_a_coroutine_nobody_awaited_fails_its_test(run: Run) -> None:
    assert "1 failed" in run("""
async def nothing(): pass

def test_it():
    nothing()
""")


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


def test_without_real_programs_interop_tests_skip_by_name(run: Run) -> None:
    said = run(SKIPPING)
    assert "install the Debian package tshark" in said
    assert "3 skipped" in said


def test_where_real_programs_are_promised_such_a_skip_is_a_failure(run: Run) -> None:
    said = run(SKIPPING, REQUIRE_INTEROP="1")
    assert "skipped, although REQUIRE_INTEROP is set: some reason" in said
    assert "2 failed, 1 skipped" in said


def test_soak_tests_learn_how_long_to_go_on(run: Run) -> None:
    source = """
def test_it(rounds):
    print("rounds:", rounds(2, 200))
"""
    assert "rounds: 2\n" in run(source)
    assert "rounds: 200\n" in run(source, "--soak")


def test_the_other_reactor_is_uvloops(run: Run) -> None:
    pytest.importorskip("uvloop")
    source = """
from twisted.internet import reactor

def test_it():
    print("reactor:", type(reactor).__name__, type(getattr(reactor, "_asyncioEventloop", None)).__module__)
"""
    assert "reactor: AsyncioSelectorReactor uvloop" in run(source, "--reactor=asyncio")
    assert "uvloop" not in run(source).partition("reactor:")[2].splitlines()[0]
