"""Lesson 7: a SUP upgrade from the probe to DONE, and a second one that has only one file to bring."""

from __future__ import annotations

import os

from emulators.lessons.stage import Stage, expect
from emulators.samples import COLLECTION, TIME

FILE = "notes/1994-05-27"


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    served, client = lab.state.collections / COLLECTION, stage.directory / "client"
    await stage.pause(
        1.1
    )  # what was made in the second of an upgrade counts as new at the next one, too (SUP 2.8)
    await stage.upgrade(client)
    expect((client / FILE).read_bytes() == (served / FILE).read_bytes(), f"{FILE} did not arrive")

    await stage.pause(1.1)
    (served / FILE).write_bytes(b"Both ports answer again.\n")
    os.utime(served / FILE, (TIME + 60, TIME + 60))
    await stage.upgrade(client)
    expect(
        (client / FILE).read_bytes() == b"Both ports answer again.\n", f"{FILE} was not brought up to date"
    )
