"""`ghostports tour`: both protocols shown, byte by byte, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.emulators.running import environment
from tests.peers import wait_until

TOUR = [sys.executable, "-m", "emulators.cli", "tour"]


def test_the_tour_shows_both_protocols_and_leaves_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        TOUR, capture_output=True, text=True, timeout=120, check=False,
        env=environment(TMPDIR=str(tmp_path)),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = ran.stdout
    for part in (
        "niutil -read", "realname: Ann Example", "GETPORT", "GETREGISTER", "LOOKUP, byte by byte",
        "200100000 (netinfo)", "sup -v --port", "SIGNON", "RECV", "SETUP, byte by byte", '"demo"', "SEND  (",
        "ghostports lab",
    ):  # fmt: skip
        assert part in said, part
    assert said.index("GETPORT") < said.index("GETREGISTER") < said.index("LOOKUP")
    assert ran.stderr == ""
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "my folder"
    folder.mkdir()
    ran = subprocess.run(
        TOUR, capture_output=True, text=True, timeout=60, check=False, env=environment(TMPDIR=str(folder))
    )
    assert (ran.returncode, f"in {folder}: set TMPDIR" in ran.stderr) == (1, True)
    assert "--state" not in ran.stderr


def test_the_tour_needs_no_port_that_others_may_have(tmp_path: Path) -> None:
    """Two at once, as in a class."""
    tours = [
        subprocess.Popen(
            TOUR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(TMPDIR=str(tmp_path))
        )
        for _ in range(2)
    ]
    outputs = [tour.communicate(timeout=120)[0] for tour in tours]
    assert [tour.returncode for tour in tours] == [0, 0], b"\n".join(outputs).decode()


@pytest.mark.parametrize("missing", ["niutil", "sup"])
def test_a_command_that_fails_ends_the_tour(tmp_path: Path, missing: str) -> None:
    """Programs that are not what they should be: the tour says which, and exits with 1."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("niutil", "sup"):
        (bin_ / name).write_text("#!/bin/sh\nexit 3\n" if name == missing else "#!/bin/sh\nexec true\n")
        (bin_ / name).chmod(0o755)
    code = (
        "import sys, emulators.commands.tour as tour\n"
        f"sys.executable = {str(bin_ / 'python')!r}\n"
        "tour._steps = lambda lab, steps=tour._steps: [step for step in steps(lab) if step.command[0] == "
        f"{missing!r}]\n"
        "tour.tour()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    assert ran.returncode == 1
    assert f"{missing} failed with exit code 3" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("later", [0.0, 0.3, 0.8])
def test_ctrl_c_leaves_nothing(tmp_path: Path, later: float) -> None:
    tour = subprocess.Popen(
        TOUR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(TMPDIR=str(tmp_path))
    )
    # Not before: where tempfile first tries the folder with a file, an interruption leaves that.
    wait_until(
        lambda: any(tmp_path.glob("ghostports-tour-*")) or tour.poll() is not None, "the tour to begin"
    )
    time.sleep(later)
    tour.send_signal(signal.SIGINT)
    output, _ = tour.communicate(timeout=60)
    assert tour.returncode != 0
    assert os.listdir(tmp_path) == []
    assert b"Traceback" not in output, output.decode()


def test_a_reader_that_goes_away_ends_the_tour(tmp_path: Path) -> None:
    """As with `ghostports tour 2>&1 | head`: neither stream can be written to any more."""
    tour = subprocess.Popen(
        TOUR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert tour.stdout is not None
    assert tour.stdout.readline()
    tour.stdout.close()
    assert tour.wait(timeout=60) != 0
    assert not list(tmp_path.iterdir())
