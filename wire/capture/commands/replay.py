"""`ghostports replay`: has a recorded conversation again with a live server, and shows where its answers differ."""

from __future__ import annotations

import contextlib
import sys
from collections import deque

import attrs
import click

from wire.capture.batch import opening
from wire.capture.commands.capture import AddressType
from wire.capture.conversations import dissect
from wire.capture.files import CaptureError
from wire.capture.messages import Conversation, Message
from wire.capture.replay import SHOWN, Digests, Live, ReplayError, Step, replay
from wire.capture.sup import FileData
from wire.capture.text import duration
from wire.formats.sup import Recv

RESERVED = 1024
"""Ports below this one are the system's own."""


@click.command("replay", short_help="Have a recorded conversation again with a live server.")
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@click.option(
    "--to", "target", metavar="HOST:PORT", type=AddressType(), required=True, help="The live server."
)
@click.option("--follow", metavar="N", multiple=True, type=click.IntRange(1),
              help="Only conversation N, as `ghostports dissect` numbers it; may be repeated. "
                   "[default: all, if they are with one server]")  # fmt: skip
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0.01), default=5.0, show_default=True,
              help="How long to wait for an answer.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print only what differs.")
def replay_command(
    file: str, target: tuple[str, int], follow: tuple[int, ...], timeout: float, quiet: bool
) -> None:
    """Send the client's side of recorded conversations to a live server, and compare its answers.

    Each answer is marked: "=" is the same, "~" differs only where every run differs (xids, process ids, times), "!"
    differs. The exit code is 1 if any is marked "!".
    """
    recording = _recorded(file, follow)
    different = 0
    with contextlib.ExitStack() as stack:
        lives = {}
        for number, conversation in recording.conversations.items():
            reserved = conversation.client[1] < RESERVED
            try:
                lives[number] = live = Live(conversation.transport, *target, timeout, reserved)
            except ReplayError as error:
                raise click.ClickException(str(error)) from error
            stack.callback(live.close)
            if reserved and not live.privileged:
                click.echo(
                    f"Conversation {number} came from a reserved port, which takes root; answers may differ."
                )
        for step in replay(recording.messages, recording.digests, lives):
            different += not step.same
            if not quiet or not step.same:
                _print(step)
    answers = sum(not message.from_client for message in recording.messages)
    click.echo(
        f"{different} of {answers} answers differ" if different else f"all {answers} answers are the same"
    )
    sys.exit(1 if different else 0)


@attrs.define
class _Recording:
    """What is to be replayed: conversations by number, their messages together, and digests of their files."""

    conversations: dict[int, Conversation] = attrs.field(factory=dict)
    messages: list[Message] = attrs.field(factory=list)
    digests: dict[int, deque[str]] = attrs.field(factory=dict)


def _recorded(file: str, follow: tuple[int, ...]) -> _Recording:
    recording = _Recording()
    files: dict[int, Digests] = {}

    def opener(conversation: Conversation, recv: Recv) -> FileData | None:
        return files.setdefault(conversation.number, Digests())(conversation, recv)

    try:
        with opening(file) as opened:
            for message in dissect(opened, opener=opener):
                number = message.conversation.number
                if number and (not follow or number in follow):
                    recording.conversations[number] = message.conversation
                    recording.messages.append(message)
    except CaptureError as error:
        raise click.ClickException(f"{file}: {error}") from error
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}") from error
    if not recording.messages:
        raise click.ClickException(f"{file} holds no such conversation to replay")
    found = recording.conversations
    if len({(one.server, one.transport) for one in found.values()}) > 1 and not follow:
        lines = [
            f"  {number}: {one.protocol} over {one.transport}, {one.ways[1]}" for number, one in found.items()
        ]
        raise click.UsageError("These are with several servers; choose with --follow:\n" + "\n".join(lines))
    recording.digests = {number: kept.found for number, kept in files.items()}
    return recording


def _print(step: Step) -> None:
    message = step.recorded
    what = " ".join(part for part in (message.name, message.status) if part)
    if message.from_client and not step.problem:
        click.echo(f"{message.number:5} > {message.name}")
        return
    if step.problem:
        click.echo(f"{message.number:5} ! {what}: {step.problem}")
        return
    mark = "=" if not step.differences else "~" if step.same else "!"
    times = [one.latency for one in (message, step.live) if one is not None and one.latency is not None]
    spent = f" ({duration(times[0])} then, {duration(times[1])} now)" if len(times) == 2 else ""
    click.echo(f"{message.number:5} {mark} {what}{spent}")
    for difference in step.differences[:SHOWN]:
        sign = "~" if difference.passing else "!"
        click.echo(f"        {sign} {difference.path}: {difference.recorded} then, {difference.live} now")
    if len(step.differences) > SHOWN:
        click.echo(f"        … {len(step.differences) - SHOWN} more differences")
