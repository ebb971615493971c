"""A server and a client of SUP, each with a directory of its own, for the scenarios of SUP 11."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.interop.conftest import OurSupfilesrv
from tests.interop.trees import collection, write
from tests.peers import wait_until

RunSup = Callable[..., subprocess.CompletedProcess[bytes]]
"""Runs a client with arguments, its supfile among them."""


@attrs.define
class Pair:
    """Collection `demo` at our server, in `srv`, and a client that syncs it into `cli`."""

    run: RunSup
    server: OurSupfilesrv
    srv: Path
    cli: Path
    options: str = ""
    """Further options of the supfile line."""

    def line(self, options: str | None = None, name: str = "demo") -> str:
        """A line of the supfile."""
        options = self.options if options is None else options
        return f"{name} host={self.server.host} base={self.cli} hostbase={self.srv} timeout=0 {options}\n"

    def sup(self, *flags: str, options: str | None = None, name: str = "demo", lines: str = "") -> str:
        """Run the client; what it prints, on both streams."""
        supfile = self.cli.parent / f"supfile-{self.cli.name}"
        supfile.write_text(lines or self.line(options, name))
        ran = self.run(*flags, supfile)
        return (ran.stdout + ran.stderr).decode(errors="replace")

    def serve(self, text: str = "upgrade data\n", **files: str) -> None:
        """Make the collection: its list file, and files of `data` by their content."""
        collection(self.srv, text)
        for name, content in files.items():
            write(self.srv, f"data/{name}", content.encode())

    def control(self, file: str, text: str) -> Path:
        """A control file of the collection at the server."""
        path = self.srv / "sup/demo" / file
        path.write_text(text)
        return path

    def when(self, suffix: str = "") -> int | None:
        """The scan time that the client wrote down; None if it has none."""
        path = self.cli / f"sup/demo/when{suffix}"
        return int(path.read_text()) if path.exists() else None

    def last(self, suffix: str = "") -> list[bytes]:
        """The names that the client knows as received."""
        return (self.cli / f"sup/demo/last{suffix}").read_bytes().split(b"\n")[:-1]

    def got(self, name: str) -> str | None:
        """The content of a file of the client's; None if it is no file."""
        path = self.cli / name
        return path.read_text() if path.is_file() else None

    def names(self) -> set[str]:
        """All names at the client, control files left out."""
        found = {str(path.relative_to(self.cli)) for path in self.cli.rglob("*")}
        return {name for name in found if name != "sup" and not name.startswith("sup/")}

    def logged(self, text: str) -> None:
        """Wait until the collection's logfile holds `text`; the server writes it when the client has gone."""
        path = self.srv / "sup/demo/logfile"
        wait_until(lambda: text in path.read_text(), f"{text!r} in the logfile")

    def again(self) -> None:
        """An empty client."""
        shutil.rmtree(self.cli)
        self.cli.mkdir()


def next_second() -> None:
    """Wait until a second begins that no change so far was made in, so that times tell before from after.

    Two, for the second before the walk is what our server gives as its scan time.
    """
    began = int(time.time())
    while int(time.time()) < began + 2:
        time.sleep(0.02)
