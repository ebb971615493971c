"""The generated codec against interpreted Construct, on a LOOKUP call and on a LIST reply of 10,000 entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from wire.codec import codec
from wire.formats import netinfo, rpc

CALL = rpc.Message(
    1, rpc.MsgType.CALL, rpc.Call(2, netinfo.NETINFO.number, 2, 10, rpc.AUTH_NONE, rpc.AUTH_NONE)
)
LOOKUP = netinfo.LookupArgs(netinfo.NiId(1, 0), b"name", b"host005000")
LIST = netinfo.Result(
    netinfo.NiStatus.NI_OK,
    netinfo.ListBody(
        tuple(netinfo.Entry(number, (b"host%06d" % number,)) for number in range(10_000)), netinfo.NiId(1, 2)
    ),
)
CASES: dict[str, list[tuple[Any, Any]]] = {
    "LOOKUP call": [(rpc.Message, CALL), (netinfo.LookupArgs, LOOKUP)],
    "LIST reply of 10,000": [(netinfo.NETINFO.by_name["LIST"].result, LIST)],
}


def both_ways(case: str, parse: str, build: str) -> Callable[[], None]:
    """Parse and build all parts of a case, by these two methods of `Codec`."""
    parts = [(codec(kind), value, codec(kind).build(value)) for kind, value in CASES[case]]
    work = [(getattr(made, parse), getattr(made, build), value, raw) for made, value, raw in parts]

    def run() -> None:
        for parsing, building, value, raw in work:
            parsing(raw)
            building(value)

    return run


@pytest.mark.parametrize("way", ["generated", "interpreted"])
@pytest.mark.parametrize("case", CASES)
def test_parse_and_build(case: str, way: str, benchmark: BenchmarkFixture) -> None:
    """The ratio stands in brackets behind the mean; it is to be at least 10."""
    benchmark.group = f"parse + build: {case}"
    methods = ("parse", "build") if way == "generated" else ("interpret", "interpret_build")
    benchmark(both_ways(case, *methods))
