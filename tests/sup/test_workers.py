"""Several processes on one port: started, replaced, stopped."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from sup.workers import RESTART_AFTER, reserve_port, run_workers
from tests.peers import wait_until


def in_a_process(folder: Path, number: int, work: str) -> int:
    """Run `run_workers` in a process of its own, whose workers leave their process numbers in `folder`."""
    parent = os.fork()
    if parent:
        return parent
    code = 99
    try:

        def one(index: int) -> int:
            (folder / f"{index}.{os.getpid()}").touch()
            if work == "fail":
                return 3
            if work == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            while True:
                signal.pause()

        code = run_workers(number, one, lambda index: (folder / f"ended.{index}").touch())
    finally:
        os._exit(code)


def exit_code(process: int) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError("the workers did not end")


def workers(folder: Path) -> dict[int, int]:
    """Process numbers of workers by index, the latest of each."""
    found = sorted(folder.glob("[0-9]*.*"), key=lambda path: path.stat().st_ctime_ns)
    return {int(path.name.split(".")[0]): int(path.name.split(".")[1]) for path in found}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_them_all(tmp_path: Path, number: int) -> None:
    parent = in_a_process(tmp_path, 3, "wait")
    wait_until(lambda: len(workers(tmp_path)) == 3, "three workers")
    os.kill(parent, number)
    assert exit_code(parent) == 0
    for process in workers(tmp_path).values():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert len(list(tmp_path.glob("ended.*"))) == 3


def test_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    parent = in_a_process(tmp_path, 2, "wait")
    wait_until(lambda: len(workers(tmp_path)) == 2, "two workers")
    before = workers(tmp_path)
    time.sleep(RESTART_AFTER + 0.1)
    os.kill(before[1], signal.SIGKILL)
    wait_until(lambda: workers(tmp_path)[1] != before[1], "another worker")
    assert workers(tmp_path)[0] == before[0]
    assert (tmp_path / "ended.1").exists()
    os.kill(parent, signal.SIGTERM)
    assert exit_code(parent) == 0


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can be asked to end a process with its parent"
)
def test_they_end_with_their_parent(tmp_path: Path) -> None:
    parent = in_a_process(tmp_path, 2, "wait")
    wait_until(lambda: len(workers(tmp_path)) == 2, "two workers")
    processes = workers(tmp_path).values()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        wait_until(lambda: not any(map(is_running, processes)), "their end", seconds=20)
    finally:
        for process in filter(is_running, processes):
            os.kill(process, signal.SIGKILL)


def is_running(process: int) -> bool:
    """Whether there is such a process, and not only what is left of it until somebody asks."""
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("work", "code"), [("fail", 3), ("crash", 1)])
def test_those_that_cannot_start_are_not_tried_again(tmp_path: Path, work: str, code: int) -> None:
    assert exit_code(in_a_process(tmp_path, 2, work)) == code
    started = list(tmp_path.glob("[0-9]*.*"))
    assert 1 <= len(started) == len(workers(tmp_path))  # the second may be stopped before it leaves a trace


def test_a_port_is_held_for_those_who_share_it() -> None:
    held, port = reserve_port("127.0.0.1", 0)
    with held, socket.socket() as sharing, socket.socket() as other:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", port))
        sharing.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            sharing.accept()[0].close()
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"):
            reserve_port("127.0.0.1", taken.getsockname()[1])
