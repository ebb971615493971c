"""Several processes that serve one port (`supfilesrv --workers N`): start them, restart one that crashes, stop them.

The system spreads connections over the processes (SO_REUSEPORT). What they have in common is the memory in
which places for clients are counted (`sup.service.SharedSlots`). They end with the process that started them, also
where that is killed: else they would share the port with its successor.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends all processes."""
RESTART_AFTER = 1.0
"""Seconds that a process must have run for its crash to be worth a restart."""


def run_workers(number: int, work: Callable[[int], int], ended: Callable[[int], None]) -> int:
    """Run `work(i)` in processes of their own, i from 0, until a signal ends them; the exit code.

    A process that is killed or crashes after it has run for a moment is replaced; before that, or when one
    gives up by itself, all are stopped and its exit code is the result. `ended(i)` hears of every one that
    has ended.
    """
    running: dict[int, tuple[int, float]] = {}
    stopping = False
    result = 0
    parent = os.getpid()

    def start(index: int) -> None:
        # A signal that came before the child is known would end all the others, and then wait for it for ever.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        child = os.fork()
        if child == 0:
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            code = 1
            try:
                _end_with(parent)
                code = work(index)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        running[child] = (index, time.monotonic())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for child in list(running):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for each in SIGNALS:
        signal.signal(each, stop)
    for index in range(number):
        start(index)
    while running:
        child, status = os.wait()
        if child not in running:
            continue
        index, since = running.pop(child)
        ended(index)
        crashed = os.WIFSIGNALED(status) and time.monotonic() - since > RESTART_AFTER
        if stopping:
            continue
        if crashed:
            start(index)
        else:
            result = os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1
            stop()
    return result


def _end_with(parent: int) -> None:
    """Ask the system to end this process when `parent` has ended, where it can be asked."""
    try:
        import pyprctl
    except (ImportError, OSError):
        return
    pyprctl.set_pdeathsig(signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def reserve_port(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket that holds a port for processes that will share it, and its number; 0 is any free one.

    Raises OSError.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held, int(held.getsockname()[1])
