"""The rules of the house that no other check sees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("wire", "netinfo", "sup", "emulators")


def imported(source: Path) -> set[str]:
    """The top-level modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_formats_import_construct_and_attrs_alone() -> None:
    sources = sorted((ROOT / "wire" / "formats").glob("*.py"))
    assert sources
    for source in sources:
        outside = {
            name
            for name in imported(source)
            if name.partition(".")[0] not in sys.stdlib_module_names
            and not f"{name}.".startswith(("wire.formats.", "construct.", "attrs."))
        }
        assert not outside, f"{source.name} imports {outside}"


@pytest.mark.parametrize("package", ["netinfo", "sup"])
def test_rules_of_the_protocols_have_no_reactor_at_import(package: str) -> None:
    """A reactor installed by an import can no longer be chosen by the program that wants uvloop below it."""
    code = f"import {package}, sys; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(source.relative_to(ROOT))
        for package in PACKAGES
        for source in (ROOT / package).rglob("*.py")
        if source.read_text().strip() and ast.get_docstring(ast.parse(source.read_text())) is None
    ]
    assert not silent


def test_every_package_publishes_its_types() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").exists()] == []


def test_every_command_of_pyproject_starts() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    code = (
        "import importlib, sys\n"
        "for script in sys.argv[1:]:\n"
        "    module, function = script.split(':')\n"
        "    assert callable(getattr(importlib.import_module(module), function)), script\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *scripts.values()],
        cwd=ROOT,
        timeout=120,
        check=False,
        capture_output=True,
    )
    assert ran.returncode == 0, ran.stderr.decode()


def test_lock_has_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links", lock)
    pinned = re.findall(r"^[a-z0-9._-]+==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)*", lock, re.MULTILINE)
    assert len(pinned) > 40
    assert all("--hash=" in entry for entry in pinned)


def test_lock_pins_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    lock = (ROOT / "requirements.lock").read_text()
    for requirement in wanted:
        name = re.split(r"[<>=~;\[ ]", requirement)[0]
        assert re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE), (
            f"{name} is not in requirements.lock: make lock"
        )
        assert "<" in requirement, f"{requirement} has no upper bound"
