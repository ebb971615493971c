"""How `make docs` builds the manual: Markdown through myst-parser, furo's theme, warnings as errors."""

import tomllib
from pathlib import Path
from typing import Any

from wire.reference import expand

project = "Ghostports"
author = "The Ghostports authors"
copyright = "2026, The Ghostports authors"
release = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Ghostports {release}"


def put_tables_in(app: Any, name: str, source: list[str]) -> None:
    """Replace the places that a page leaves for the tables of messages (`wire.reference`)."""
    source[0] = expand(source[0])


def setup(app: Any) -> None:
    app.connect("source-read", put_tables_in)
