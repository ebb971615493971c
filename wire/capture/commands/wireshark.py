"""`ghostports wireshark`: puts the dissectors for NetInfo, nibind and SUP where Wireshark finds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from wire.capture.wireshark import plugin

FILE = "ghostports.lua"


def plugin_folder() -> Path:
    """The folder from which the user's Wireshark loads Lua plugins: as tshark says, else where it is by custom."""
    tshark = shutil.which("tshark")
    if tshark is not None:
        ran = subprocess.run(
            [tshark, "-G", "folders"], capture_output=True, text=True, timeout=60, check=False
        )
        for line in ran.stdout.splitlines():
            name, _, folder = line.partition(":")
            if name == "Personal Lua Plugins" and folder.strip():
                return Path(folder.strip())
    if os.name == "nt":
        return Path(os.environ.get("APPDATA", "~")).expanduser() / "Wireshark" / "plugins"
    return Path.home() / ".local" / "lib" / "wireshark" / "plugins"


@click.command(short_help="Teach Wireshark to read NetInfo and SUP.")
@click.option("--install", is_flag=True, help="Put the plugin where Wireshark finds it.")
@click.option("--print", "to_stdout", is_flag=True, help="Print it instead.")
def wireshark(install: bool, to_stdout: bool) -> None:
    """Make a Lua plugin for Wireshark and tshark: dissectors netinfo, nibind and sup, for any port.

    Filters such as netinfo.procedure == "LOOKUP", netinfo.status != 0, netinfo.directory == 4, sup.type == "RECV" and
    sup.name contains "etc" then work. The portmapper is Wireshark's own.
    """
    if install == to_stdout:
        raise click.UsageError("Give either --install or --print.")
    if to_stdout:
        sys.stdout.write(plugin())
        return
    folder = plugin_folder()
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(plugin(), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"{path} is in place; start Wireshark anew, or let it reload its Lua plugins (Ctrl-Shift-L).")
