"""Our own programs as their users run them, for the tests with real ones."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from tests.peers import SUP_DEBUG_PORT, NetworkNamespace, loopback, peer, user_options, wait_until
from wire.transport.account import hidden_from

SUP = [sys.executable, "-c", "import sys; from sup.commands.sup import main; sys.exit(main())"]
SUPFILESRV = [sys.executable, "-c", "from sup.commands.supfilesrv import main; main(prog_name='supfilesrv')"]


@attrs.define
class OurSupfilesrv:
    """Our supfilesrv, at the debug port of an address of its own."""

    host: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """End it as a service manager does; AssertionError if that takes long or it complains."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) in (0, -signal.SIGKILL)

    def logged(self, text: str) -> bool:
        """Whether its log holds `text`."""
        return text in self.log.read_text(errors="replace")


StartServer = Callable[..., OurSupfilesrv]


@contextlib.contextmanager
def starting_supfilesrv(folder: Path) -> Iterator[StartServer]:
    """Starts servers, whose logs are in `folder`, with `-P --user root` and the flags given; ends them afterwards."""
    started: list[OurSupfilesrv] = []

    def start(*flags: str, user: str = "root") -> OurSupfilesrv:
        host = loopback()
        log = folder / f"supfilesrv-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*readable_by(user), *SUPFILESRV, "-P", "--listen", host, *user_options(user), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = OurSupfilesrv(host, process, log)
        started.append(server)
        wait_until(
            lambda: server.logged(f"{host}:{SUP_DEBUG_PORT}") or process.poll() is not None,
            "the server to listen",
        )
        assert process.poll() is None, log.read_text(errors="replace")
        return server

    try:
        yield start
    finally:
        for server in started:
            server.stop()


def readable_by(user: str) -> list[str]:
    """What a command begins with that becomes `user`: where Python is installed in a folder that this account may
    not read, the command sees the folder open, and nobody else does."""
    hidden = hidden_from(pwd.getpwnam(user))
    if hidden is None:
        return []
    layers = f"lowerdir={hidden},upperdir=/mnt/upper,workdir=/mnt/work"
    script = (
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work && "
        f'mount -t overlay -o {layers} overlay {hidden} && chmod 755 {hidden} && exec "$@"'
    )
    return [peer("unshare"), "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


def run_our_sup(
    *arguments: str | os.PathLike[str],
    network: NetworkNamespace | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run our `sup -P ARGUMENTS`, in `network` where given, and return what came of it."""
    command = [*SUP, "-P", *(os.fspath(argument) for argument in arguments)]
    if network is not None:
        return network.run(command, cwd, timeout, check=False)
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
    )
