"""What holds for every test: the reactor, Hypothesis's profiles, no silent Deferred error, no silent skip.

Nothing here may import the reactor before pytest_configure: `--reactor=asyncio` puts uvloop below Twisted.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from zope.interface import implementer

pytest_plugins = ("tests.peers",)

settings.register_profile("default", deadline=None, max_examples=50, print_blob=True)
settings.register_profile(
    "fuzz", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

STRICT_MARKS = ("interop", "root")


def interop_required() -> bool:
    """Whether the machine promises every real program: then a skipped interop test is a failure."""
    return os.environ.get("REQUIRE_INTEROP", "") not in ("", "0")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--soak`."""
    parser.addoption("--soak", action="store_true", help="repeat the tests marked soak for long")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Install uvloop below Twisted for `--reactor=asyncio`, before pytest-twisted installs plain asyncio.

    And listen to Ctrl-C: a shell's background job is started deaf to it, and so would be the programs it tests.
    """
    # Hundreds of programs are started here: each of them would compile everything anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    give_temporary_folder(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("reactor") == "asyncio":
        from wire.transport.endpoint import install_reactor

        if not install_reactor():
            raise pytest.UsageError("--reactor=asyncio runs on uvloop, which is not installed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors: much of what tests do is wait, for seconds to pass and programs to answer."""
    return (os.cpu_count() or 1) + 1


TEMPORARY = pytest.StashKey[Path]()


def give_temporary_folder(config: pytest.Config) -> None:
    """Give the session a folder of its own below which `tmp_path` lies, unless --basetemp names one.

    pytest's default is one folder an account, which each session that starts closes to all other accounts: the servers
    of a session that runs already, which have become `anon`, would lose sight of their files.
    """
    if config.option.basetemp is None:  # a worker of xdist is told one
        config.stash[TEMPORARY] = Path(tempfile.mkdtemp(prefix="ghostports-tests-"))
        config.option.basetemp = str(config.stash[TEMPORARY])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After a failure leave the folder where it is, with the files of the tests that failed."""
    if exitstatus == pytest.ExitCode.TESTS_FAILED and TEMPORARY in session.config.stash:
        del session.config.stash[TEMPORARY]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind otherwise."""
    if TEMPORARY in config.stash:
        shutil.rmtree(config.stash[TEMPORARY], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests that repeat themselves untraced: traced they take twice the time."""
    for item in items:
        if any(item.get_closest_marker(mark) is not None for mark in ("hypothesis", "soak")):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Keep what was imported out of the collections below: each then costs a millisecond, not fifty."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip by name what needs root where the tests do not run as root."""
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs root: run `make test` as root")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Give a Hypothesis test its function back after each of its parameters: pytest-twisted wraps it again for the
    next one, and would wait for the reactor from within the reactor."""
    handle = getattr(pyfuncitem.obj, "hypothesis", None)
    inner = getattr(handle, "inner_test", None)
    try:
        return (yield)
    finally:
        if handle is not None:
            handle.inner_test = inner


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under REQUIRE_INTEROP, turn the skip of a test that needs a real peer into its failure."""
    from tests.peers import (
        Missing,
    )  # here, so that pytest loads that plugin itself and rewrites its assertions

    report = yield
    if report.skipped and interop_required() and call.excinfo is not None:
        marked = any(item.get_closest_marker(mark) is not None for mark in STRICT_MARKS)
        if marked or call.excinfo.errisinstance(Missing):
            report.outcome = "failed"
            report.longrepr = f"skipped, although REQUIRE_INTEROP is set: {call.excinfo.value}"
    return report


@pytest.fixture(autouse=True)
def unhandled_errors() -> Iterator[list[LogEvent]]:
    """Fail a test that leaves an error in a Deferred, or one that Twisted logged and nobody saw.

    A test that means to cause one asks for this fixture and clears the list after looking at it.
    """
    errors: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        namespace = str(event.get("log_namespace", ""))
        by_err = namespace == "log_legacy" and event.get("isError")  # twisted.python.log.err
        if by_err or ("log_failure" in event and namespace.startswith("twisted.")):
            errors.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield errors
        gc.collect()  # an error in a Deferred is logged when the Deferred is collected
    finally:
        globalLogPublisher.removeObserver(observe)
    if errors:
        traces = "\n".join(
            eventAsText(event, includeTimestamp=False, includeSystem=False) for event in errors
        )
        pytest.fail(f"{len(errors)} unhandled error(s) in Twisted:\n{traces}", pytrace=False)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often a test marked soak repeats itself: `rounds(in_test, in_soak)`."""
    soaking = bool(request.config.getoption("--soak"))
    return lambda in_test, in_soak: in_soak if soaking else in_test
