"""Lesson 2: one RPC call, byte by byte: the LOOKUP that finds a directory by its name."""

from __future__ import annotations

from emulators.lessons.stage import Stage, expect
from wire.formats.netinfo import NETINFO, LookupArgs, NiId, NiStatus


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    client = await stage.tcp(lab.reached("domain network"), NETINFO)
    result = await client.call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"users"))
    expect(result.status == NiStatus.NI_OK, f"LOOKUP gave {result.status!r}")
