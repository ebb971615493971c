"""How long a client waits before it tries a busy or unreachable server again (SUP 1.5)."""

from collections.abc import Callable

from attrs import define

from sup.supfile import FOREVER

_UNIT = 30
_FIRST, _LAST = 2, 32

Below = Callable[[int], int]
"""A random number from 0 to below its argument, such as `random.randrange`."""


@define
class Backoff:
    """The waits of one collection; `budget` is its `timeout`, the seconds all waits may take together."""

    budget: int
    _factor: int = _FIRST

    def next(self, below: Below) -> int | None:
        """Seconds to wait now; None when the budget is used up."""
        if self.budget == 0:
            return None
        unit = _UNIT * self._factor
        self._factor = min(self._factor * 2, _LAST)
        wait = unit + below(unit)
        if self.budget != FOREVER:
            wait = min(wait, self.budget)
            self.budget -= wait
        return wait
