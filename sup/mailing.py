"""`sup -m`: what was told about a collection, mailed with the system's `mail` program (SUP 7.2)."""

from __future__ import annotations

import getpass
import subprocess


class NotSent(Exception):
    """The mail could not be sent; the text says why."""


def send(address: str | None, subject: str, text: str) -> None:
    """Mail *text* to *address*, by default to the user who runs this. Raises NotSent."""
    to = address or getpass.getuser()
    if to.startswith("-"):
        raise NotSent(f"{to} is no mail address")
    try:
        done = subprocess.run(
            ["mail", "-s", subject, to], input=f"{text}\n", text=True, errors="surrogateescape", check=False
        )
    except OSError as error:
        raise NotSent(f"can't mail to {to}: the program `mail` cannot be run ({error.strerror})") from error
    if done.returncode != 0:
        raise NotSent(f"can't mail to {to}: `mail` ended with status {done.returncode}")
