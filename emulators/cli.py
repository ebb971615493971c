"""The `ghostports` command: a table of subcommands, each loaded only when it is called or asked for help.

`ghostports --help` and a shell's completion read the table alone, so they cost no import of Twisted or Construct. A
subcommand is a `click.Command`; what it takes and prints is its own module's business.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any

import attrs
import click


@attrs.frozen
class Entry:
    """A subcommand: where its `click.Command` is, as ``module:attribute``, and its line in ``--help``."""

    place: str
    help: str

    def load(self) -> click.Command:
        """Import it."""
        module, _, name = self.place.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command), self.place
        return command


COMMANDS: dict[str, Entry] = {
    "tour": Entry("emulators.commands.tour:tour", "See one lookup and one upgrade, byte by byte."),
    "lab": Entry("emulators.commands.lab:lab", "Run every server on this machine, with samples to try."),
    "netinfod": Entry("netinfo.commands.servers:netinfod", "Serve one NetInfo domain."),
    "nibindd": Entry(
        "netinfo.commands.servers:nibindd", "Serve NetInfo's binder and every domain of this host."
    ),
    "portmap": Entry("netinfo.commands.servers:portmap", "Serve an ONC RPC portmapper."),
    "netinfo": Entry("netinfo.commands.databases:netinfo", "Bring NetInfo databases in, or write them out."),
    "capture": Entry(
        "wire.capture.commands.capture:capture", "Record what passes between two programs, without root."
    ),
    "dissect": Entry("wire.capture.commands.dissect:dissect", "Tell what a packet capture says."),
    "replay": Entry(
        "wire.capture.commands.replay:replay_command",
        "Have a recorded conversation again with a live server.",
    ),
    "wireshark": Entry(
        "wire.capture.commands.wireshark:wireshark", "Teach Wireshark to read NetInfo and SUP."
    ),
    "lesson": Entry(
        "emulators.commands.lesson:lesson", "Learn the protocols from exchanges played on this machine."
    ),
}
"""In the order of ``--help``. An entry stands here only when it works."""


class LazyGroup(click.Group):
    """A group whose commands are the `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else entry.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"ghostports {version('ghostports')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
def ghostports() -> None:
    """NetInfo and SUP, brought back to life: servers, clients, captures and lessons.

    Begin with `ghostports tour`, then `ghostports lab`.
    """


def main(argv: list[str] | None = None) -> Any:
    """The console script. Exit codes: 0 done, 1 the operation failed, 2 wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # arrows in Latin-1, or the name of a file that is not UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    return ghostports(argv, prog_name="ghostports")


if __name__ == "__main__":
    main()
