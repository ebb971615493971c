"""An installer at work in a directory of the test's own, without a network: RECVs go in, a tree comes out."""

import grp
import os
import pwd
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve

from sup.durability import NOT_DURABLE, Durability
from sup.execution import Commands
from sup.install import Installer
from sup.owners import Owners
from sup.placement import Context, Placement
from sup.report import Report
from sup.staging import Staging
from sup.supfile import Collection
from sup.writable import WritableTree, identity
from wire.formats.sup import EntryFlag, ListEntry, Recv

T = TypeVar("T")

ME = os.fsencode(pwd.getpwuid(os.getuid()).pw_name)
GROUP = os.fsencode(grp.getgrgid(os.getgid()).gr_name)
MTIME = 1_000_000_000
NEW = int(EntryFlag.NEW)


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


async def _value(function: Callable[[], T]) -> T:
    return function()


def at_once(function: Callable[[], T]) -> Awaitable[T]:
    """An offload that runs the function where it is awaited."""
    return _value(function)


def changed(recv: Recv, **changes: Any) -> Recv:
    """A RECV with some of its fields changed."""
    values: Any = recv  # mypy does not see that messages are attrs classes
    return evolve(values, **changes)  # type: ignore[no-any-return]


def file(name: bytes, mode: int = 0o644, **changes: Any) -> Recv:
    """A RECV of a regular file, whose size is to come with the data."""
    return changed(Recv(name, 0o100000 | mode, NEW, ME, GROUP, MTIME, (), (), 0), **changes)


def update(name: bytes, mode: int = 0o644, **changes: Any) -> Recv:
    """A RECV of a regular file's attributes."""
    flags = NEW | EntryFlag.UPDATE
    return changed(Recv(name, 0o100000 | mode, flags, ME, GROUP, MTIME, (), (), None), **changes)


def directory(name: bytes, mode: int = 0o755, **changes: Any) -> Recv:
    """A RECV of a directory."""
    return changed(Recv(name, 0o040000 | mode, NEW, ME, GROUP, MTIME, (), (), None), **changes)


def symlink(name: bytes, target: bytes, **changes: Any) -> Recv:
    """A RECV of a symbolic link."""
    return changed(Recv(name, 0o120777, NEW, None, None, MTIME, (target,), (), None), **changes)


class Bench:
    """A base directory `top` with control directory, and what is needed to install into it."""

    def __init__(self, room: Path, *, follow: bool = False, **settings: Any) -> None:
        self.top = room / "top"
        self.top.mkdir(exist_ok=True)
        self.outside = room / "outside"
        self.outside.mkdir(exist_ok=True)
        (self.outside / "file").write_text("precious")
        self.control = self.top / "sup/demo"
        self.control.mkdir(parents=True, exist_ok=True)
        self.said: list[str] = []
        self.time = 0.0
        self.known: set[bytes] = set()
        self.requested: dict[bytes, ListEntry] = {}
        self.durability: Durability = settings.pop("durability", NOT_DURABLE)
        self.set_times = settings.pop("set_times", True)
        self.execute = settings.pop("execute", False)
        self.collection = evolve(Collection(b"demo", verbose=True), **settings)
        self.report = Report(self.said.append, verbose=True)
        self.tree = WritableTree(os.fsencode(self.top), follow)
        self.control_fd = os.open(self.control, os.O_RDONLY)
        self.tree.seal(identity(self.control_fd))
        self.staging = Staging(self.control_fd, os.getpid())
        context = Context(
            self.collection, self.requested, self.requested, lambda: self.known, set_times=self.set_times
        )
        owners = Owners((os.getuid(), os.getgid()))
        placement = Placement(
            self.tree, self.staging, context, owners, self.report, self.durability, lambda: self.time
        )
        commands = Commands(os.fsencode(self.top), self.report, at_once, allowed=self.execute)
        self.installer = Installer(
            self.tree,
            self.staging,
            placement,
            context,
            commands,
            self.report,
            self.durability,
            at_once,
            lambda: self.time,
        )

    def receive(self, recv: Recv, data: bytes | Iterable[bytes] = b"", name: bytes | None = None) -> None:
        """One RECV, with its data if it has any."""
        pieces = [data] if isinstance(data, bytes) else list(data)
        if recv.size is not None:
            recv = changed(recv, size=sum(map(len, pieces)))
        key = recv.name if name is None else name
        assert key is not None
        for listed in (key, *(recv.links or ())):
            self.requested.setdefault(listed, ListEntry(listed, recv.mode or 0, NEW, MTIME))

        async def transfer(write: Callable[[bytes], None]) -> None:
            for piece in pieces:
                write(piece)

        finished(self.installer.receive(key, recv, transfer))

    def finish(self) -> None:
        """The end of the upgrade."""
        finished(self.installer.finish())
        self.close()

    def close(self) -> None:
        """Also without an end."""
        self.staging.close()
        self.tree.close()
        os.close(self.control_fd)

    @property
    def problems(self) -> list[str]:
        """What went wrong."""
        return self.report.problems
