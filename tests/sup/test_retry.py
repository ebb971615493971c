"""The waits of SUP 1.5."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup.retry import Backoff
from sup.supfile import FOREVER


def waits(timeout: int, random_part: str, limit: int = 20) -> list[int]:
    backoff = Backoff(timeout)
    found: list[int] = []
    while len(found) < limit:
        wait = backoff.next((lambda _: 0) if random_part == "low" else (lambda end: end - 1))
        if wait is None:
            break
        found.append(wait)
    return found


def test_the_first_wait_is_one_to_two_minutes_and_each_doubles_up_to_sixteen() -> None:
    assert waits(FOREVER, "low", 7) == [60, 120, 240, 480, 960, 960, 960]
    assert waits(FOREVER, "high", 3) == [119, 239, 479]


@pytest.mark.parametrize(("timeout", "expected"), [(0, []), (2, [2]), (60, [60]), (100, [60, 40])])
def test_the_budget_is_kept(timeout: int, expected: list[int]) -> None:
    assert waits(timeout, "low") == expected


@given(st.integers(0, 20_000), st.integers())
def test_all_of_the_budget_is_used_and_no_more(timeout: int, seed: int) -> None:
    backoff, draw = Backoff(timeout), random.Random(seed)
    total = 0
    while (wait := backoff.next(draw.randrange)) is not None:
        assert wait > 0
        total += wait
    assert total == timeout
