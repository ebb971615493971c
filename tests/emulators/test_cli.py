"""`ghostports`: every entry loads and explains itself, and nothing is loaded before it is wanted."""

import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from emulators.cli import COMMANDS, ghostports


@pytest.mark.parametrize("name", COMMANDS)
def test_every_entry_is_a_command_with_help(name: str) -> None:
    command = COMMANDS[name].load()
    assert isinstance(command, click.Command)
    result = CliRunner().invoke(ghostports, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: ghostports {name}")


def test_help_lists_every_entry() -> None:
    result = CliRunner().invoke(ghostports, ["--help"])
    assert result.exit_code == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in result.output
        assert entry.help.split()[0] in result.output


def test_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(ghostports, ["netinfo-d"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_help_imports_nothing_heavy() -> None:
    """It is what completion and curiosity run: 0.2 s, most of which is the interpreter."""
    code = (
        "import sys, emulators.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'twisted', 'construct', 'rich', 'klein', 'cattrs', 'dpkt', 'sqlite3'}))"
    )
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - began < 5


def test_version() -> None:
    result = CliRunner().invoke(ghostports, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("ghostports ")
