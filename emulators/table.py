"""What a person sees when a lab has started: what runs where, accounts, commands to try, and what to know."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulators.hints import hints
from emulators.lab import Lab
from netinfo.starter import PASSWORDS


def show(name: str, lab: Lab) -> None:
    """Print it all on stdout."""
    console = Console(file=sys.stdout, highlight=False)
    console.print(f"[bold]Ghostports lab {name!r}[/]: state in {lab.state.directory}", soft_wrap=True)
    console.print(_services(lab))
    console.print(_accounts())
    console.print(
        "Whoever runs as the account that started the lab is its superuser; SUP's sample needs no account.\n",
        soft_wrap=True,
    )
    console.print("[bold]Try in a second terminal[/]")
    for hint in hints(lab):
        says = f"{hint.says} ({hint.lacks})" if hint.lacks else hint.says
        style = "dim" if hint.lacks else ""
        console.print(Text(f"  # {says}", style="dim"), soft_wrap=True)
        console.print(Text(f"  {hint.command}", style=style), soft_wrap=True)
    console.print()
    for note in lab.notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
    console.print("Each request appears below; Ctrl-C ends the lab.", soft_wrap=True)
    sys.stdout.flush()


def _services(lab: Lab) -> Table:
    table = Table("service", "historic port", "here", "over", "what it is", box=None, header_style="bold")
    for service in lab.services:
        historic = str(service.historic) if service.historic else ""
        table.add_row(service.name, historic, str(service.address), service.transports, service.doc)
    return table


def _accounts() -> Table:
    table = Table("account", "domain", "password", box=None, header_style="bold")
    for tag, accounts in PASSWORDS.items():
        for account, password in accounts.items():
            table.add_row(account.decode(), tag.decode(), password.decode())
    return table
