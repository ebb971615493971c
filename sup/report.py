"""What a client tells its user about one collection: the original's messages (SUP 8.9), and what went wrong.

The collection's heading appears before its first message only: an upgrade with nothing to say is silent.
"""

import stat
from collections.abc import Callable

Write = Callable[[str], None]
"""Takes one line of text, without its newline."""


def printable(text: bytes) -> str:
    """`text` for a terminal: UTF-8 as it is, everything else and every control character escaped.

    Names, reasons and commands come from the server; a terminal would obey what they hold (SUP 9.3.4).
    """
    decoded = text.decode(errors="backslashreplace")
    return decoded if decoded.isprintable() else "".join(map(_shown, decoded))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def type_name(mode: int) -> str:
    """How the original's messages call a file of this mode."""
    if stat.S_ISREG(mode):
        return "regular file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(mode) else "unknown file"


MOST = 1000
"""Problems that are kept."""


class Report:
    """Messages about one collection, written line by line; `problems` keeps those about what went wrong, the first
    `MOST` of them: a server may make any number.
    """

    def __init__(self, write: Write, heading: str = "", verbose: bool = False) -> None:
        self.problems: list[str] = []
        self._write = write
        self._heading = heading
        self.verbose = verbose

    def note(self, text: str) -> None:
        """Something the user should see in any case."""
        self._say(f"SUP {text}")

    def detail(self, text: str) -> None:
        """Something that only `-v` shows."""
        if self.verbose:
            self.note(text)

    def warning(self, text: str) -> None:
        """Something that did not work, and does not make the upgrade incomplete."""
        self._say(f"SUP: {text}")

    def problem(self, text: str) -> None:
        """Something that makes the upgrade incomplete."""
        if len(self.problems) < MOST:
            self.problems.append(text)
        self.warning(text)

    def _say(self, text: str) -> None:
        if self._heading:
            self._write(self._heading)
            self._heading = ""
        self._write(text)
