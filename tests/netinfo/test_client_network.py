import asyncio

import pytest

from netinfo.client.network import run


def test_a_coroutine_that_never_waits_is_driven_to_its_end() -> None:
    async def inner() -> int:
        return 6

    async def outer() -> int:
        return await inner() * 7

    assert run(outer()) == 42


def test_its_errors_come_out() -> None:
    async def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(broken())


def test_one_that_waits_for_an_event_loop_is_told_off() -> None:
    async def waits() -> None:
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match=r"waited for an event loop|no running event loop"):
        run(waits())
