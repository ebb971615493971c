"""`ghostports lesson`: plays a lesson's exchange on this machine and tells its story with what has just happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from emulators.lessons.catalogue import LESSONS, Lesson

WIDTH = 100
"""Columns of text; what is generated may be wider."""
ANSWERS = "## Answers\n"


@click.group(short_help="Learn the protocols from exchanges played on this machine.")
def lesson() -> None:
    """Short lessons, each with a real exchange that is played, recorded and explained byte by byte.

    They need no privileges and no preparation, and take a few seconds each.
    """


@lesson.command("list")
def list_lessons() -> None:
    """List the lessons."""
    for each in LESSONS:
        click.echo(f"{each.number:2}  {each.title}")


@lesson.command(short_help="Play a lesson and tell its story.")
@click.argument("number", metavar="N", type=click.IntRange(LESSONS[0].number, LESSONS[-1].number))
@click.option("--out", metavar="DIR", default=".", type=click.Path(file_okay=False, path_type=Path),
              help="Write the capture into this directory [default: the current one].")  # fmt: skip
@click.option("--answers", is_flag=True, help="Print the answers after the questions.")
def run(number: int, out: Path, answers: bool) -> None:
    """Play lesson N, record it, and tell its story with the bytes that were sent."""
    chosen = LESSONS[number - LESSONS[0].number]
    capture = out / f"lesson-{chosen.number}-{chosen.name}.pcapng"
    try:
        out.mkdir(parents=True, exist_ok=True)
        page = _played(chosen, capture)
    except OSError as error:
        raise click.ClickException(f"{error.filename or capture}: {error.strerror or error}") from error
    _show(page, answers)
    click.echo(f"\nThe capture: {capture}")
    click.echo(f"More of it: ghostports dissect --explain {capture}, or open it in Wireshark.")
    if not answers:
        click.echo(f"The answers: ghostports lesson run {number} --answers")


def _played(chosen: Lesson, capture: Path) -> str:
    """Play the lesson under a reactor of its own; the page as it happened. Raises ClickException, OSError."""
    from emulators.lessons.stage import LessonError
    from emulators.state import StateError
    from wire.transport.errors import TransportError

    try:
        return _reacted(lambda reactor: chosen.run(reactor, capture))
    except (LessonError, StateError, TransportError) as error:
        raise click.ClickException(str(error)) from error


def _reacted(begin: Callable[[Any], Awaitable[str]]) -> str:
    """What the coroutine of *begin* gives, run by the reactor; what it raises is raised here."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.logger import globalLogBeginner
    from twisted.python.failure import Failure

    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)  # a story has no log
    running: Any = reactor
    outcome: list[str | Failure] = []

    async def play() -> str:
        return await begin(running)

    def end(result: str | Failure) -> None:
        outcome.append(result)
        running.stop()

    running.callWhenRunning(lambda: Deferred.fromCoroutine(play()).addBoth(end))
    running.run()
    if not outcome:  # Ctrl-C
        raise click.Abort
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    assert isinstance(outcome[0], str)
    return outcome[0]


def _show(page: str, answers: bool) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from emulators.lessons.story import spoken

    shown = page if answers else page.partition(ANSWERS)[0]
    console = Console(highlight=False)
    for text, generated in spoken(shown):
        if generated:
            click.echo(f"\n{text}")
        else:
            console.print(Markdown(text), width=min(WIDTH, console.width))
