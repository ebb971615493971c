"""The limits of one directory, each just kept and just passed. (Those of a domain: test_domain.)"""

from __future__ import annotations

import pytest

from netinfo.limits import LIMITS, Limits
from tests.netinfo.base import prop
from wire.formats.netinfo import Property


@pytest.mark.parametrize(
    ("kept", "passed"),
    [
        ([prop("n" * 1024)], [prop("n" * 1025)]),
        ([prop("n", "v" * 65_535)], [prop("n", "v" * 65_536)]),
        ([prop("n", *["v"] * 4096)], [prop("n", *["v"] * 4097)]),
        ([prop("n")] * 1024, [prop("n")] * 1025),
        ([prop("n", *["v" * 32_768] * 31)], [prop("n", *["v" * 32_768] * 32)]),
    ],
    ids=["name", "value", "values", "properties", "directory"],
)
def test_limits_of_a_directory(kept: list[Property], passed: list[Property]) -> None:
    assert LIMITS.admit(kept)
    assert not LIMITS.admit(passed)


def test_defaults_hold_what_is_promised() -> None:
    assert LIMITS.directories == LIMITS.children == 1_000_000
    assert LIMITS.depth == 128
    assert Limits() == LIMITS
