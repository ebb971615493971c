"""Runs the ni* tools in the test's own process against a host in another."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.netinfo import served


@attrs.frozen
class Ran:
    """What a tool did."""

    code: int
    out: str
    err: str

    def lines(self) -> list[str]:
        return self.out.splitlines()


class FakeStdin:
    """Standard input with its bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)
        self._text = io.TextIOWrapper(io.BytesIO(data), errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return iter(self._text)

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError("no terminal")


Tool = Callable[..., Ran]


@pytest.fixture(scope="package")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Served]:
    """A host with the sample domains; tests that change something make a domain of their own (`domain`)."""
    with served.process(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture
def tool(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Runs `tool("niutil", "-list", ...)`; `stdin=b"..."` is its input."""
    monkeypatch.delenv("GHOSTPORTS_PORTMAP", raising=False)
    monkeypatch.delenv("NETINFO_PASSWORD", raising=False)

    def run(name: str, *argv: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", FakeStdin(stdin))
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            import_module(f"netinfo.commands.{name}").main(argv)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        code = ended.value.code
        return Ran(
            code if isinstance(code, int) else 0,
            out.decode(errors="surrogateescape"),
            err.decode(errors="replace"),
        )

    return run


_numbers = iter(range(1_000_000))


@pytest.fixture
def domain(host: served.Served, tool: Tool, tmp_path: Path) -> Iterator[str]:
    """A new master domain of the test's own on the host, as HOST:PMAP/TAG for -t."""
    tag = f"d{next(_numbers)}"
    assert tool("nidomain", "-m", tag, host.portmapper) == Ran(0, "", "")
    for _ in range(100):
        if tool("nidomain", "-g", tag, host.portmapper).code == 0:
            break
    yield host.by_tag(tag)
    tool("nidomain", "-d", tag, host.portmapper)
