"""What is postponed is not loaded before it is used, and then is what it always was."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def printed(code: str) -> str:
    """What *code* prints, run by a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True, capture_output=True, text=True
    ).stdout


def test_twisted_and_construct_do_without() -> None:
    code = "import wire, construct, twisted.internet.reactor, sys; print({'urllib.request', 'cmd'} & {*sys.modules})"
    assert printed(code) == "set()\n"
    assert (
        printed(code.replace("import wire, ", "import ")) != "set()\n"
    )  # or there is nothing to be won any more


@pytest.mark.parametrize(
    "use",
    [
        "from http.cookiejar import CookieJar as it",
        "import http.cookiejar; it = http.cookiejar.CookieJar",
        "from http import cookiejar; it = cookiejar.CookieJar",
        "import twisted.internet.reactor; from http.cookiejar import CookieJar as it",
        "from pdb import Pdb as it",
        "import pdb; it = pdb.Pdb",
    ],
)
def test_whoever_uses_it_gets_it(use: str) -> None:
    code = f"import wire; {use}; import sys; print(it is vars(sys.modules[it.__module__])[it.__name__])"
    assert printed(code) == "True\n"


def test_what_is_loaded_already_stays() -> None:
    assert (
        printed("import pdb, sys; import wire; print(sys.modules['pdb'] is pdb, pdb.Pdb.__name__)")
        == "True Pdb\n"
    )


def test_what_is_left_at_the_end_is_not_gone_through_again() -> None:
    code = """
from wire.lean import collect_seldom
class Loud:
    def __del__(self):
        print('gone')
collect_seldom()
circle = [Loud()]
circle.append(circle)
import atexit
atexit.register(print, 'end')
"""
    assert printed(code) == "end\n"
