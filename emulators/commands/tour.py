"""`ghostports tour`: a lab for half a minute, one lookup and one upgrade in it, and the bytes of a message of each."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import click

from emulators.config import LabConfig
from emulators.state import StateError, open_state
from wire.capture.messages import Message
from wire.capture.text import detail, explained

PATIENCE = 60.0
"""Seconds that a command of the tour may take."""


@attrs.frozen
class Step:
    """A part of the tour: a command against the lab, and which of its messages is shown byte by byte."""

    title: str
    before: str
    command: tuple[str, ...]
    shown: str
    """The name of the client's message to explain, the last of this name."""
    after: str


@click.command(short_help="See one lookup and one upgrade, byte by byte.")
def tour() -> None:
    """Run a small lab on free ports, look a user up in NetInfo, bring a collection over with SUP, and show what
    travelled: every message in a line, and one of each protocol byte by byte.

    It takes some seconds, needs no privileges, and leaves nothing behind.
    """
    from twisted.internet import reactor

    with tempfile.TemporaryDirectory(prefix="ghostports-tour-") as directory:
        walk = _Walk(reactor, Path(directory) / "lab")
        code = walk.run()
    raise SystemExit(code)


class _Walk:
    """One tour: lab up, steps, lab down."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self._reactor = reactor
        self._directory = directory
        self._heard: list[Message] = []
        self._code = 0

    def run(self) -> int:
        """The exit code: 1 also where Ctrl-C ended the tour early."""
        from twisted.internet.defer import CancelledError, Deferred

        ended: Deferred[None] = Deferred()
        ending = False

        def finished(failure: Any) -> None:
            if failure is not None:
                self._code = 1
                with suppress(OSError):  # whoever read the tour may have gone, which is what ended it
                    said = "Ended early." if failure.check(CancelledError) else failure.getErrorMessage()
                    click.echo(said, err=True)
            ended.callback(None)
            if not ending:
                self._reactor.stop()

        def begin() -> None:
            walking = Deferred.fromCoroutine(self._walk())
            walking.addCallbacks(finished, finished)

            def end() -> Deferred[None]:
                nonlocal ending
                ending = True
                walking.cancel()
                return ended

            if not ended.called:
                self._reactor.addSystemEventTrigger("before", "shutdown", end)

        self._reactor.callWhenRunning(begin)
        self._reactor.run()
        return self._code

    async def _walk(self) -> None:
        from emulators.lab import Lab

        try:
            state = open_state(self._directory, "127.0.0.1", fresh=False)
        except StateError as error:
            raise click.ClickException(
                f"A tour cannot keep its files in {tempfile.gettempdir()}: set TMPDIR to a directory that can be "
                "written, and has no blank in its name."
            ) from error
        lab = Lab(self._reactor, LabConfig(port_base=0, sup_debug_port=False), state)
        lab.watcher.listeners.append(self._heard.append)
        try:
            await lab.start()
            click.echo(
                f"{click.style('Ghostports', bold=True)}: two protocols that fell silent, talking again."
            )
            for number, step in enumerate(_steps(lab), 1):
                await self._take(number, step)
        finally:
            await lab.stop()
            state.close()
        click.echo("\nNext: `ghostports lab` keeps such a lab running, and tells what to try in it.")

    async def _take(self, number: int, step: Step) -> None:
        self._heard.clear()
        click.secho(f"\n{number}. {step.title}", bold=True)
        click.echo(f"\n{step.before}\n\n$ {shlex.join(step.command)}")
        output, code = await self._call(step.command)
        click.echo("".join(f"  {line}\n" for line in output.splitlines()), nl=False)
        if code:
            raise click.ClickException(f"{step.command[0]} failed with exit code {code}.")
        click.echo("\nWhat travelled:\n")
        for line, same in groupby(_line(message) for message in self._heard):
            times = len(list(same))
            click.echo(f"  {line}  ({times} times)" if times > 1 else f"  {line}")
        shown = [message for message in self._heard if message.from_client and message.name == step.shown][-1]
        click.echo(f"\nMessage {shown.name}, byte by byte:\n")
        for line in explained(shown):
            click.echo(f"  {line}")
        click.echo(f"\n{step.after}")

    async def _call(self, command: Sequence[str]) -> tuple[str, int]:
        """What a program of ours prints, and its exit code."""
        from twisted.internet.utils import getProcessOutputAndValue

        program = str(Path(sys.executable).parent / command[0])
        calling: Any = getProcessOutputAndValue(program, command[1:], dict(os.environ), reactor=self._reactor)
        out, err, code = await calling.addTimeout(PATIENCE, self._reactor)
        return (out + err).decode(errors="replace"), code


def _line(message: Message) -> str:
    way = "→" if message.from_client else "←"
    what = f"{way} {message.name} {message.status}".rstrip()
    said = detail(message)
    line = f"{message.conversation.service:16} {what:24} {said}".rstrip()
    return line if len(line) <= 110 else line[:109] + "…"


def _steps(lab: Any) -> tuple[Step, ...]:
    return (
        Step(
            "Who is ann? A lookup in NetInfo, once at port 877",
            "The tool asks the portmapper where the binder is, the binder where domain `network` is, and that domain:",
            ("niutil", "-read", "-t", f"{lab.reached('portmapper')}/network", "/users/ann"),
            "LOOKUP",
            "NetInfo knows no paths: a client finds directory after directory by the value of a property.",
        ),
        Step(
            "Files, please. An upgrade with SUP, once at port 871",
            "The client says what it wants and when it last had it; the server lists, the client picks, files follow:",
            ("sup", "-v", "--port", str(lab.reached("supfilesrv").port), str(lab.state.supfile)),
            "SETUP",
            "Between machines of one byte order, SUP's integers travel as they lie in memory.",
        ),
    )
