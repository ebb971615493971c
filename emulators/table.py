"""What a person sees when a lab has started: what runs where, accounts, commands to try, and what to know."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulators.hints import hints
from emulators.lab import Lab
from netinfo.starter import PASSWORDS


def show(name: str, lab: Lab, console_url: str | None) -> None:
    """Print it all on stdout."""
    console = Console(file=sys.stdout, highlight=False)

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)  # never broken: commands are to be copied

    say(f"Ghostports lab {name}: its state is in {lab.state.directory}\n", "bold")
    console.print(_services(lab))
    say("")
    console.print(_accounts())
    say("")
    if lab.superusers:
        say(f"Commands run by {' or '.join(lab.superusers)} write to NetInfo without a password.")
    say("SUP's sample needs no account.")
    if console_url is not None:
        say(f"Watch it in a browser: {console_url}")
    say("\nTry in a second terminal:", "bold")
    for hint in hints(lab):
        say(f"  # {hint.says} ({hint.lacks})" if hint.lacks else f"  # {hint.says}", "dim")
        say(f"  {hint.command}", "dim" if hint.lacks else "")
    for note in lab.notes:
        say(f"\nNote: {note}", "yellow")
    say("\nEach request appears below; Ctrl-C ends the lab.")
    sys.stdout.flush()


def _services(lab: Lab) -> Table:
    table = Table("service", "once", "now", "what it is", box=None, padding=(0, 2), header_style="bold")
    for service in lab.services:
        historic = str(service.historic) if service.historic else ""
        table.add_row(service.name, historic, f"{service.address} {service.transports}", service.doc)
    return table


def _accounts() -> Table:
    table = Table("account", "domain", "password", box=None, padding=(0, 2), header_style="bold")
    for tag, accounts in PASSWORDS.items():
        for account, password in accounts.items():
            table.add_row(account.decode(), tag.decode(), password.decode())
    return table
