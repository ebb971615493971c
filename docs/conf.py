"""How `make docs` builds the manual: Markdown through myst-parser, furo's theme, warnings as errors."""

import tomllib
from pathlib import Path

project = "Ghostports"
author = "The Ghostports authors"
copyright = "2026, The Ghostports authors"
release = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Ghostports {release}"
