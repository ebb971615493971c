"""Random trees, random edits at the server: after every upgrade with delete the client's tree equals the server's."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.interop.pairs import OURS, PairOfOurServer
from tests.interop.trees import Seen, snapshot

pytestmark = pytest.mark.root

LEAVES = (b"a", b"b b", b"\xff", b"new\nline", b"#x")
NAMES = st.lists(st.sampled_from(LEAVES), min_size=1, max_size=3).map(b"/".join)


class Edits(RuleBasedStateMachine):
    """Changes the server's tree; `mtime` grows, since a change that keeps the time is no change to SUP (SUP 8.1)."""

    pair: PairOfOurServer

    @initialize()
    def begin(self) -> None:
        shutil.rmtree(self.pair.srv, ignore_errors=True)
        self.pair.again()
        self.pair.serve("upgrade data\nrsymlink data\n")
        self.top = os.fsencode(self.pair.srv / "data")
        os.mkdir(self.top)
        self.mtime = 1_700_000_000

    def place(self, name: bytes) -> bytes:
        """The path of `name`, free for something new; what is in the way of it goes."""
        path = self.top
        *above, last = name.split(b"/")
        for part in above:
            path = os.path.join(path, part)
            if not os.path.isdir(path) or os.path.islink(path):
                self.remove_path(path)
                os.mkdir(path)
        path = os.path.join(path, last)
        self.remove_path(path)
        self.mtime += 1
        return path

    def remove_path(self, path: bytes) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    @rule(name=NAMES, content=st.binary(max_size=5000), mode=st.sampled_from([0o644, 0o4755, 0o600, 0o400]))
    def write(self, name: bytes, content: bytes, mode: int) -> None:
        path = self.place(name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        os.utime(path, (self.mtime, self.mtime))

    @rule(name=NAMES)
    def make_directory(self, name: bytes) -> None:
        os.mkdir(self.place(name))

    @rule(name=NAMES, leads_to=st.sampled_from([b"a", b"/etc", b"../x", b"b b/a"]))
    def make_symlink(self, name: bytes, leads_to: bytes) -> None:
        os.symlink(leads_to, self.place(name))

    @rule(name=NAMES, mode=st.sampled_from([0o755, 0o700, 0o1777, 0o2775]))
    def change_mode(self, name: bytes, mode: int) -> None:
        path = os.path.join(self.top, name)
        if os.path.lexists(path) and not os.path.islink(path):
            os.chmod(path, mode)

    @rule(name=NAMES)
    def remove(self, name: bytes) -> None:
        self.remove_path(os.path.join(self.top, name))

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: bytes, new: bytes) -> None:
        source = os.path.join(self.top, old)
        if os.path.isfile(source) and not os.path.islink(source) and not (new + b"/").startswith(old + b"/"):
            kept = os.path.join(os.path.dirname(self.top), b"kept")
            os.rename(source, kept)
            os.rename(kept, self.place(new))

    @invariant()
    def upgrade(self) -> None:
        said = self.pair.sup("-v", "-d", "--no-fsync")
        assert "completed at" in said, said
        assert what_counts(snapshot(self.pair.cli)) == what_counts(snapshot(self.pair.srv)), said


def what_counts(tree: dict[bytes, Seen]) -> dict[bytes, tuple[int, int | None, bytes]]:
    """Names, modes, bytes, and times of files: a directory's is only set when it is listed (SUP 4.6)."""
    return {
        name: (seen.mode, None if stat.S_ISDIR(seen.mode) else seen.mtime, seen.content)
        for name, seen in tree.items()
    }


@pytest.mark.parametrize("pair", [OURS], indirect=True)
def test_random_edits(pair: PairOfOurServer, tmp_path: Path) -> None:
    Edits.pair = pair
    # Each step is a run of the program.
    steps = settings(
        max_examples=4,
        stateful_step_count=8,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Edits, settings=steps)
