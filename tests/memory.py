"""How much memory one of our programs held at most.

What wait4 tells does not answer that: its figure begins with what pytest itself held when it started the program.
"""

from __future__ import annotations

import sys
from pathlib import Path

_CODE = """
import re, resource, sys
from pathlib import Path
from {module} import {function}
try:
    sys.exit({function}())
finally:
    if sys.platform == "linux":
        peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Path({note!r}).write_text(str(peak))
"""


def measured(entry: str, note: Path) -> list[str]:
    """The beginning of a command that runs `entry`, as ``module:function``, and then writes its peak into `note`."""
    module, _, function = entry.partition(":")
    return [sys.executable, "-c", _CODE.format(module=module, function=function, note=str(note))]


def peak(note: Path) -> int:
    """The most that the program held, in bytes."""
    return int(note.read_text())
