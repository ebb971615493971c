"""The manual: it builds without a warning, and what the package needs of it is in the wheel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from emulators.lessons.catalogue import LESSONS

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None,
    reason="the manual is built with Sphinx: install ghostports[docs]",
)
def test_manual_builds_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "docs",
        str(tmp_path),
    ]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    messages = (tmp_path / "protocol" / "messages-netinfo.html").read_text()
    assert "LOOKUPREAD" in messages
    assert "<!-- messages" not in messages
    assert (tmp_path / "lessons" / "2-one-call.html").exists()


def test_wheel_holds_what_lesson_run_tells(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for lesson in LESSONS:
            inside = "emulators/lessons/pages"
            assert archive.read(f"{inside}/{lesson.page.name}") == lesson.page.read_bytes()
            assert archive.read(f"{inside}/captures/{lesson.capture.name}") == lesson.capture.read_bytes()
