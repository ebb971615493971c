"""A server and a client of SUP, each with a directory of its own, for the scenarios of SUP 11.

The same scenario runs in several pairings of Debian's programs and ours: a test that takes the fixture `pair` of
tests/interop/conftest.py runs in all of PAIRINGS, one marked `our_server` or `our_client` in those it is about.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
import pytest

from tests.interop.programs import OurSupfilesrv, run_our_sup
from tests.interop.trees import collection, write
from tests.peers import NetworkNamespace, wait_until

RunSup = Callable[..., subprocess.CompletedProcess[bytes]]
"""Runs a client with arguments, its supfile among them."""

REAL_CLIENT, REAL_SERVER, OURS = "real client", "real server", "ours"
PAIRINGS = (REAL_CLIENT, REAL_SERVER, OURS)
our_server = pytest.mark.parametrize("pair", [REAL_CLIENT, OURS], indirect=True)
our_client = pytest.mark.parametrize("pair", [REAL_SERVER, OURS], indirect=True)


class Server(Protocol):
    """A SUP server that clients reach at `host`."""

    @property
    def host(self) -> str: ...


@attrs.define(kw_only=True)
class Pair:
    """Collection `demo` at a server, in `srv`, and a client that syncs it into `cli`."""

    run: RunSup
    server: Server
    srv: Path
    cli: Path
    options: str = ""
    """Further options of the supfile line."""
    network: NetworkNamespace | None = None
    """Where the client runs, if not here."""

    def line(self, options: str | None = None, name: str = "demo") -> str:
        """A line of the supfile."""
        options = self.options if options is None else options
        return f"{name} host={self.server.host} base={self.cli} hostbase={self.srv} timeout=0 {options}\n"

    @property
    def real_client(self) -> bool:
        """Whether the client is Debian's."""
        return self.run is not run_our_sup

    def sup(self, *flags: str, options: str | None = None, name: str = "demo", lines: str = "") -> str:
        """Run the client; what it prints, on both streams."""
        supfile = self.cli.parent / f"supfile-{self.cli.name}"
        supfile.write_text(lines or self.line(options, name))
        ran = self.run(*flags, supfile, network=self.network)
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


@attrs.define(kw_only=True)
class PairOfOurServer(Pair):
    """A pair whose server is ours."""

    server: OurSupfilesrv
