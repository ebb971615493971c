"""For those who work on the lessons: ``python -m emulators.lessons record`` plays them, and makes the captures and the
pages of the manual anew; ``retell`` makes the pages anew from the captures that are there.

Run `retell` after a change of a page or of how messages are explained, `record` after a change of what is played.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from emulators.lessons.catalogue import LESSONS, Lesson


def chosen(numbers: Sequence[int]) -> list[Lesson]:
    """The lessons of these numbers; all of them, if there are none."""
    return [lesson for lesson in LESSONS if not numbers or lesson.number in numbers]


@click.group()
def lessons() -> None:
    """Makes the captures and the pages of the lessons."""


@lessons.command()
@click.argument("numbers", nargs=-1, type=int)
def retell(numbers: tuple[int, ...]) -> None:
    """Make the pages anew from their captures."""
    for lesson in chosen(numbers):
        lesson.page.write_text(lesson.told(lesson.capture), encoding="utf-8")


@lessons.command()
@click.argument("numbers", nargs=-1, type=int)
def record(numbers: tuple[int, ...]) -> None:
    """Play the lessons, and make their captures and pages anew."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    async def each(reactor: Any) -> None:
        for lesson in chosen(numbers):
            lesson.page.write_text(await lesson.run(reactor, lesson.capture), encoding="utf-8")
            lesson.capture.chmod(0o644)  # unlike other recordings, it holds no secret of anybody's

    react(lambda reactor: Deferred.fromCoroutine(each(reactor)))


if __name__ == "__main__":
    lessons()
