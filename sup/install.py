"""Installing what a server sends (SUP 8.3), so that at any moment each file is either old or new.

A file is written under a temporary name, gets its owner and mode there, is brought to the disk, gets its time
and at last its name, in place of the old file. Directories are made when they are needed and get owner, mode
and time at the end, children before parents, when nothing more will change in them.
"""

import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import define

from sup.durability import Durability
from sup.execution import Commands, Offload
from sup.filedata import GzipError, GzipWriter, PlainWriter, Writer
from sup.names import TOP, UnsafeName, normalise
from sup.placement import Context, Placement, why
from sup.report import Report, printable
from sup.staging import Staging
from sup.writable import Blocked, WritableTree
from wire.formats.sup import EntryFlag, Recv

BATCH_FILES, BATCH_BYTES, BATCH_SECONDS = 500, 64 << 20, 1.0
"""A batch of files is brought to the disk when it has reached one of these."""

Transfer = Callable[[Callable[[bytes], None]], Awaitable[None]]
"""Hands the data of the file that is being received to a function, piece by piece, until it is complete."""

_BACKUP = int(EntryFlag.BACKUP)


class UnknownType(Exception):
    """A server sent something that is neither a file nor a directory nor a symbolic link."""

    def __init__(self, mode: int) -> None:
        super().__init__(f"Unknown file type {stat.S_IFMT(mode):o}")


class Receiver(Protocol):
    """What becomes of the files that a server sends."""

    async def receive(self, name: bytes, recv: Recv, data: Transfer) -> None:
        """Takes one RECV that was asked for: its name in plain form, and a way to its data if it has any.

        Raises UnknownType, and what `data` raises.
        """

    async def flush(self) -> None:
        """Installs whatever has been received completely."""

    async def finish(self) -> None:
        """Called after the last RECV. Raises OSError if the disk does not take what was sent."""


@define
class _Staged:
    """A file that is complete under a temporary name."""

    name: bytes
    recv: Recv
    temp: bytes


class _Arriving:
    """A file whose data is arriving; after an error it takes the rest of the data without writing it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._error: Exception | None = None

    def write(self, data: bytes) -> None:
        if self._error is None:
            try:
                self._writer.write(data)
            except (OSError, GzipError) as error:
                self._error = error

    def finish(self) -> None:
        """Raises what has gone wrong: OSError or GzipError."""
        if self._error is not None:
            raise self._error
        self._writer.finish()


def discard(_: bytes) -> None:
    """Takes data that is not wanted."""


class Installer:
    """Installs files, directories and links; what goes wrong is reported, and the next one is taken.

    `offload` runs what blocks, and `clock` gives seconds since 1970; both are the caller's.
    """

    def __init__(
        self,
        tree: WritableTree,
        staging: Staging,
        placement: Placement,
        context: Context,
        commands: Commands,
        report: Report,
        durability: Durability,
        offload: Offload,
        clock: Callable[[], float],
    ) -> None:
        self._tree = tree
        self._staging = staging
        self._placement = placement
        self._context = context
        self._commands = commands
        self._report = report
        self._durability = durability
        self._offload = offload
        self._clock = clock
        self._batch: list[_Staged] = []
        self._batch_bytes = 0
        self._batch_since = 0.0
        self._syncing: tuple[list[_Staged], Awaitable[None]] | None = None
        self._directories: dict[bytes, tuple[Recv, bool]] = {}

    async def receive(self, name: bytes, recv: Recv, data: Transfer) -> None:
        mode = recv.mode or 0
        if stat.S_ISDIR(mode):
            self._receive_directory(name, recv)
            return  # its commands wait until it is complete
        if stat.S_ISLNK(mode):
            self._receive_link(name, recv)
        elif not stat.S_ISREG(mode):
            raise UnknownType(mode)
        elif recv.size is None:
            self._update(name, recv)
        else:
            await self._receive_file(name, recv, data)
        if recv.commands:
            await self.flush()
            await self._commands.run(recv.commands)

    # --- regular files ----------------------------------------------------------------------------------

    async def _receive_file(self, name: bytes, recv: Recv, data: Transfer) -> None:
        try:
            self._placement.prepare(name)
            fd, temp = self._staging.create()
        except OSError as error:
            self._report.problem(f"Can't create {printable(name)} or temp file for it ({why(error)})")
            await data(discard)
            return
        if self._report.verbose:
            self._report.detail(f"Receiving file {printable(name)}")
        arriving = _Arriving(GzipWriter(fd) if self._context.collection.compress else PlainWriter(fd))
        try:
            await data(arriving.write)
        except BaseException:
            os.close(fd)
            self._staging.discard(temp)
            raise
        if self._complete(fd, arriving, name, recv):
            await self._stage(_Staged(name, recv, temp))
        else:
            self._staging.discard(temp)

    def _complete(self, fd: int, arriving: _Arriving, name: bytes, recv: Recv) -> bool:
        """Closes a file; whether all of its data could be stored. Then it has its owner and mode."""
        try:
            try:
                arriving.finish()
                self._placement.claim(fd, recv)
                if self._durability.barrier is None and self._durability.sync is not None:
                    self._durability.sync(fd)
            finally:
                os.close(fd)  # where some file systems tell that the disk is full
        except GzipError as error:
            self._report.problem(f"Error in uncompressing file {printable(name)} ({error})")
        except OSError as error:
            self._report.problem(f"Error in storing data in {printable(name)} ({why(error)})")
        else:
            return True
        return False

    async def _stage(self, staged: _Staged) -> None:
        if self._durability.barrier is None:
            self._name(staged)
            return
        if not self._batch:
            self._batch_since = self._clock()
        self._batch.append(staged)
        self._batch_bytes += staged.recv.size or 0
        if (
            len(self._batch) >= BATCH_FILES
            or self._batch_bytes >= BATCH_BYTES
            or self._clock() - self._batch_since >= BATCH_SECONDS
        ):
            await self._turn_over()

    async def _turn_over(self) -> None:
        """Names the files that were being brought to the disk, and begins to bring the next batch there."""
        if self._syncing is not None:
            batch, synced = self._syncing
            self._syncing = None
            try:
                await synced
            except OSError as error:
                self._report.problem(f"Can't bring {len(batch)} files to the disk ({why(error)})")
                for staged in batch:
                    self._staging.discard(staged.temp)
            else:
                for staged in batch:
                    self._name(staged)
        barrier = self._durability.barrier
        if self._batch and barrier is not None:
            fd = self._staging.fd
            self._syncing = self._batch, self._offload(partial(barrier, fd))
            self._batch, self._batch_bytes = [], 0

    async def flush(self) -> None:
        while self._batch or self._syncing is not None:
            await self._turn_over()

    def _name(self, staged: _Staged) -> None:
        """Gives a complete file its time and its name, then its other names."""
        name, recv = staged.name, staged.recv
        try:
            self._placement.stamp(staged.temp, recv.mtime or 0)
            if (recv.flags or 0) & _BACKUP and self._context.collection.backup:
                self._placement.back_up(name)
            self._placement.put(staged.temp, name, stat.S_IFREG)
        except OSError as error:
            self._report.problem(f"Can't create {printable(name)} from temp file ({why(error)})")
            self._staging.discard(staged.temp)
        else:
            self._link(name, recv)

    def _update(self, name: bytes, recv: Recv) -> None:
        """Attributes alone (SUP 8.3.5)."""
        shown = printable(name)
        found = self._tree.lstat(name)
        if found is None or not stat.S_ISREG(found.st_mode):
            self._report.problem(f"Can't update {shown}: there is no such file here")
            return
        self._report.detail(f"Updating file {shown}")
        try:
            self._placement.set_attributes(name, recv)
        except OSError as error:
            self._report.problem(f"Can't set owner, mode or time of {shown} ({why(error)})")
        self._link(name, recv)

    def _link(self, leader: bytes, recv: Recv) -> None:
        """Makes the hard links of a file (SUP 4.4), if the listing knows them."""
        for link in sorted(recv.links or ()):
            try:
                name = normalise(link)
            except UnsafeName as error:
                self._report.problem(f"Unable to create link ({error})")
                continue
            if name in self._context.listed:
                self._placement.link(leader, name)
            else:
                self._report.problem(f"Unable to create link {printable(name)} (it is not in the list)")

    # --- directories and symbolic links -----------------------------------------------------------------

    def _receive_directory(self, name: bytes, recv: Recv) -> None:
        try:
            self._directories[name] = recv, self._placement.make_directory(name)
        except OSError as error:
            self._report.problem(f"Can't create directory {printable(name)} ({why(error)})")

    def _receive_link(self, name: bytes, recv: Recv) -> None:
        shown = printable(name)
        if not recv.links:
            self._report.problem(f"Missing linkname for symbolic link {shown}")
            return
        target = recv.links[0]
        self._tree.distrusted.add(name)
        try:
            if self._placement.put_symlink(name, target, recv.mtime or 0):
                self._report.detail(f"Created symbolic link {shown} to {printable(target)}")
        except OSError as error:
            self._report.problem(f"Unable to create symbolic link {shown} ({why(error)})")

    # --- the end ----------------------------------------------------------------------------------------

    async def finish(self) -> None:
        await self.flush()
        for name in sorted(self._directories, reverse=True):
            recv, made = self._directories[name]
            self._finish_directory(name, recv, made)
            if recv.commands:
                await self._commands.run(recv.commands)
        self._tree.relock()
        await self._settle()

    def _finish_directory(self, name: bytes, recv: Recv, made: bool) -> None:
        shown = printable(name)
        try:
            if made or not self._placement.is_as_sent(name, recv):
                self._placement.set_attributes(name, recv)
                self._report.detail(f"{'Created' if made else 'Updated'} directory {shown}")
        except OSError as error:
            self._report.problem(f"Can't set owner, mode or time of {shown} ({why(error)})")

    async def _settle(self) -> None:
        """Brings the new names and attributes to the disk, and what was deleted."""
        sync, barrier = self._durability.sync, self._durability.barrier
        if sync is None or not self._tree.changed:
            return
        for name in [TOP] if barrier is not None else sorted(self._tree.changed):
            try:
                fd = self._tree.open_directory(name)
            except (FileNotFoundError, Blocked):  # what changed in it was that it went
                continue
            try:
                if barrier is not None:
                    await self._offload(partial(barrier, fd))
                else:
                    sync(fd)
            finally:
                os.close(fd)
