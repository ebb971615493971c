"""Keeps strangers from filling the log: what they cause is told now and then, however often they cause it."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

PAUSE = 10.0
"""Seconds between two lines of a kind."""


@attrs.define
class Seldom:
    """`if seldom(): log.warn(...)`."""

    clock: Callable[[], float] = time.monotonic
    _next: float = attrs.field(default=float("-inf"), init=False)

    def __call__(self) -> bool:
        """True at most once in `PAUSE` seconds."""
        now = self.clock()
        if now < self._next:
            return False
        self._next = now + PAUSE
        return True
