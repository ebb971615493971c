"""The real programs that interop tests talk to, and the networks those programs get to themselves.

A peer is looked for outside the virtual environment and must look like the real one, so that our own `sup` is never
taken for Debian's. A program with a port of its own runs in a network namespace of the test's own; a real client
reaches our servers on an address of 127/8 that no other test uses.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs
import pytest
from _pytest.outcomes import Skipped


class Missing(Skipped):
    """The machine lacks something an interop test needs; under REQUIRE_INTEROP tests/conftest.py makes it a failure."""


@attrs.frozen
class Program:
    """How to find a real program and to know it for what it says it is."""

    package: str
    banner: str
    """Regular expression: what `arguments` make it print or, without arguments, what the executable contains."""
    arguments: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


PROGRAMS = {
    "sup": Program("sup", r"Need either -s or supfile"),
    "supfilesrv": Program("sup", r"SUP File Server Version"),
    "supscan": Program("sup", r"supscan \[ -"),
    "rpcinfo": Program("rpcbind", r"rpcinfo -p \[host\]", ("-?",)),
    "rpcbind": Program("rpcbind", r"rpcbind \[-", ("-?",)),
    "tshark": Program("tshark", r"TShark \(Wireshark\) \d", ("--version",)),
    "tcpdump": Program("tcpdump", r"tcpdump version \d", ("--version",)),
    "rpcgen": Program("rpcsvc-proto", r"rpcgen \(rpcsvc-proto\)", ("--version",)),
    "cc": Program("gcc", r"(?i)gcc|clang|Free Software Foundation", ("--version",), ("gcc", "cc", "clang")),
    "rsync": Program("rsync", r"rsync +version \d", ("--version",)),
    "chromium": Program(
        "chromium",
        r"Chrom(e|ium) \d",
        ("--version",),
        ("chromium", "chromium-browser", "google-chrome"),
    ),
    "ip": Program("iproute2", r"iproute2", ("-V",)),
    "unshare": Program("util-linux", r"util-linux", ("--version",)),
    "nsenter": Program("util-linux", r"util-linux", ("--version",)),
}


def search_path() -> list[Path]:
    """PATH and the administrator's directories, without any directory of a virtual environment."""
    listed = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    folders = dict.fromkeys([*listed, Path("/usr/sbin"), Path("/sbin"), Path("/usr/local/sbin")])
    own = Path(sys.prefix).resolve() / "bin"
    return [
        folder
        for folder in folders
        if folder.resolve() != own and not (folder.parent / "pyvenv.cfg").exists()
    ]


def has_banner(program: Program, executable: str) -> bool:
    """Whether `executable` is the program meant: what it prints, or holds, matches the banner."""
    if not program.arguments:  # a daemon or a program that asks back: read it, do not run it
        content = Path(executable).read_bytes()
        return not content.startswith(b"#!") and re.search(program.banner.encode(), content) is not None
    try:
        ran = subprocess.run(
            [executable, *program.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(program.banner, ran.stdout.decode(errors="replace")) is not None


@functools.cache
def find(name: str) -> str | None:
    """The path of the real program `name`, or None; KeyError for a name that is not in PROGRAMS."""
    program = PROGRAMS[name]
    for candidate in program.names or (name,):
        for folder in search_path():
            executable = shutil.which(candidate, path=str(folder))
            if executable is not None and has_banner(program, executable):
                return executable
    return None


def peer(name: str) -> str:
    """The path of the real program `name`; skips the test, naming the Debian package, where there is none."""
    executable = find(name)
    if executable is None:
        raise Missing(f"no real {name} on this machine: install the Debian package {PROGRAMS[name].package}")
    return executable


def require_account(name: str) -> pwd.struct_passwd:
    """The account `name`; skips the test where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Missing(f"no account {name} on this machine: useradd -r {name}") from None


def user_options(user: str = "root") -> list[str]:
    """Options of a server that works in the tests' own folders.

    Started as root it would become `anon`, who may neither look into those folders nor, perhaps, read our Python.
    """
    return ["--user", user] if os.geteuid() == 0 else []


# ---- addresses and ports ---------------------------------------------------------------------------------------

_hosts = itertools.count(1)


def loopback() -> str:
    """An address of 127/8 that no other test uses, in this process or another, for servers on fixed ports.

    Linux answers on all of 127/8; where only 127.0.0.1 exists the test skips.
    """
    process = os.getpid() % (254 * 254)
    address = f"127.{1 + process // 254}.{1 + process % 254}.{1 + next(_hosts) % 254}"
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            raise Missing(f"{address} is not an address of this machine (Linux has all of 127/8)") from None
    return address


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that is free for UDP and TCP alike at this moment."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((host, 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind((host, port))
                return port
    raise AssertionError(f"no port of {host} is free for UDP and TCP alike")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0, pause: float = 0.02) -> None:
    """Wait until `condition`, asked each `pause` seconds, holds; AssertionError saying `what` did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(pause)


def next_second() -> None:
    """Wait until a second begins that no change so far was made in, so that times tell before from after.

    Two, for the second before the walk is what our server gives as its scan time.
    """
    began = int(time.time())
    while int(time.time()) < began + 2:
        time.sleep(0.02)


# ---- network namespaces ----------------------------------------------------------------------------------------

CLONE_NEWNET = 0x40000000
TCP_LISTEN = "0A"
UDP_BOUND = "07"


def _set_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class NetworkNamespace:
    """A network of the test's own: a loopback of its own, every port free, and an empty /run for daemons.

    It has no name in the file system. A holder process keeps it and ends with its standard input, so nothing is left
    behind even when the test run is killed. Skips the test where the machine does not allow it.
    """

    def __init__(self) -> None:
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or not sys.platform.startswith("linux"):
            raise Missing("a network namespace of the test's own needs root on Linux")
        script = f"mount -t tmpfs tmpfs /run && {peer('ip')} link set lo up && echo ready && exec cat"
        self._holder = subprocess.Popen(
            [peer("unshare"), "--net", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"ready\n":
            reason = self._holder.stderr.read().decode(errors="replace").strip()
            self._end_holder()
            raise Missing(f"no network namespace on this machine: {reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        def emptied() -> bool:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.processes()

        try:
            wait_until(emptied, "processes of the namespace to end")
        finally:
            self._end_holder()

    def _end_holder(self) -> None:
        assert self._holder is not None
        self._holder.communicate(timeout=10)

    @property
    def pid(self) -> int:
        """The holder's process number, by which tools such as `ip link set ... netns PID` name the namespace."""
        assert self._holder is not None, "the namespace has not been entered"
        return self._holder.pid

    def processes(self) -> list[int]:
        """The processes in the namespace other than its holder; those that have ended do not count."""
        mine = os.stat(f"/proc/{self.pid}/ns/net")
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in (self.pid, os.getpid()):
                with contextlib.suppress(OSError):  # it ended meanwhile
                    network = os.stat(entry / "ns/net")
                    if (network.st_dev, network.st_ino) == (mine.st_dev, mine.st_ino):
                        found.append(int(entry.name))
        return found

    def command(self, argv: Sequence[str | os.PathLike[str]], cwd: Path | None = None) -> list[str]:
        """`argv` as a command that runs inside the namespace, in directory `cwd`."""
        enter = [peer("nsenter"), "--net", "--mount", f"--target={self.pid}", f"--wd={cwd or Path.cwd()}"]
        return [*enter, "--", *(os.fspath(argument) for argument in argv)]

    def popen(
        self, argv: Sequence[str | os.PathLike[str]], cwd: Path | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start `argv` inside the namespace; `options` are subprocess.Popen's."""
        return subprocess.Popen(self.command(argv, cwd), **options)

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        cwd: Path | None = None,
        timeout: float = 120.0,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `argv` inside the namespace and capture what it prints; CalledProcessError if it fails and `check`."""
        return subprocess.run(
            self.command(argv, cwd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=check,
            env=env,
        )

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes in the block belong to the namespace, also after the block."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _set_network(there)
            yield
        finally:
            _set_network(home)
            os.close(home)
            os.close(there)

    def connect(self, other: NetworkNamespace, here: str, there: str) -> None:
        """Join two namespaces by a cable; `here` and `there` are the ends' addresses, such as `10.0.0.1/24`."""
        link = f"link add cable netns {self.pid} type veth peer name cable netns {other.pid}"
        subprocess.run([peer("ip"), *link.split()], check=True, timeout=20)
        for end, address in ((self, here), (other, there)):
            end.run([peer("ip"), "addr", "add", address, "dev", "cable"])
            end.run([peer("ip"), "link", "set", "cable", "up"])

    def is_listening(self, port: int, transport: str = "tcp") -> bool:
        """Whether a process in the namespace listens at `port`; does not connect, which would use up a `-d` server."""
        state = TCP_LISTEN if transport == "tcp" else UDP_BOUND
        for table in (transport, f"{transport}6"):
            with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
                for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == state:
                        return True
        return False

    def wait_for_port(self, port: int, transport: str = "tcp") -> None:
        """Wait until a process in the namespace listens at `port`."""
        wait_until(lambda: self.is_listening(port, transport), f"a server at {transport} port {port}")


@pytest.fixture
def namespace() -> Iterator[NetworkNamespace]:
    """A network namespace of the test's own."""
    with NetworkNamespace() as network:
        yield network


# ---- Debian's sup ----------------------------------------------------------------------------------------------

SUP_PORT = 871
SUP_DEBUG_PORT = 1127


@attrs.frozen
class DebianSupfilesrv:
    """Debian's supfilesrv, running in a namespace; its clients run there too, and name it `127.0.0.1`."""

    namespace: NetworkNamespace
    port: int

    @property
    def host(self) -> str:
        """The address at which clients in the namespace reach it."""
        return "127.0.0.1"


@pytest.fixture
def debian_supfilesrv() -> Iterator[Callable[..., DebianSupfilesrv]]:
    """Starts Debian's supfilesrv with the flags given, each in a namespace of its own.

    With `-P` it is at port 1127, else at 871; with `-d` it serves one connection. It serves as account `anon`.
    """
    with contextlib.ExitStack() as stack:

        def start(*flags: str, cwd: Path | None = None) -> DebianSupfilesrv:
            program = peer("supfilesrv")
            require_account("anon")
            namespace = stack.enter_context(NetworkNamespace())
            port = SUP_DEBUG_PORT if "-P" in flags else SUP_PORT
            process = namespace.popen(
                [program, *flags],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            namespace.wait_for_port(port)
            return DebianSupfilesrv(namespace, port)

        yield start


DebianSup = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def debian_sup() -> DebianSup:
    """Runs Debian's `sup -P ARGUMENTS`, in `network` where given, and returns what came of it.

    Its port is 1127 always: our server listens there on an address of `loopback()`, or runs in `network` too. What it
    returns is kept whole, also for a failure: `sup` says what went wrong by its output rather than its exit code.
    A refused connection is tried again after half a minute and more, so the server must listen already.
    """

    def run(
        *arguments: str | os.PathLike[str],
        network: NetworkNamespace | None = None,
        cwd: Path | None = None,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[bytes]:
        command = [peer("sup"), "-P", *(os.fspath(argument) for argument in arguments)]
        if network is not None:
            return network.run(command, cwd, timeout, check=False)
        return subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )

    return run


# ---- Wireshark's tshark, and Chromium --------------------------------------------------------------------------


@pytest.fixture
def tshark(tmp_path: Path) -> Callable[..., str]:
    """Runs tshark with the arguments given and a profile folder of its own, and returns what it prints.

    The folder is `tmp_path / "wireshark"`; a plugin put into its `plugins` folder is loaded.
    CalledProcessError if tshark fails.
    """
    home = tmp_path / "tshark-home"
    configuration = tmp_path / "wireshark"
    plugins = configuration / "plugins"

    def run(*arguments: str | os.PathLike[str], timeout: float = 120.0) -> str:
        home.mkdir(exist_ok=True)
        plugins.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "WIRESHARK_CONFIG_DIR": str(configuration),
            "WIRESHARK_PLUGIN_DIR": str(plugins),
        }
        ran = subprocess.run(
            [peer("tshark"), *(os.fspath(argument) for argument in arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=True,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
        return ran.stdout

    return run


CHROMIUM_FLAGS = ("--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")


def chromium_flags() -> list[str]:
    """Flags under which Chromium runs without a screen and, for root, without its sandbox."""
    return [*CHROMIUM_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
