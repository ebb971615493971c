"""Putting one name into place: its path, its owner and mode and time, what stood there before, its other names.

Everything goes through `WritableTree`, so nothing here leaves the base directory; what stood in the way is
removed only if it came from the collection. The order of things, and batches, are `sup.install`'s.
"""

import errno
import os
import stat
from collections.abc import Callable, Container, Mapping

from attrs import frozen

from sup.deletion import clear_directory
from sup.durability import Durability
from sup.filedata import write_all
from sup.names import TOP
from sup.needs import to_int32
from sup.owners import Owner, Owners
from sup.report import Report, printable, type_name
from sup.staging import Staging, sweep
from sup.supfile import Collection
from sup.writable import Blocked, WritableTree, beneath
from wire.formats.sup import EntryFlag, ListEntry, Recv

_NEW, _BACKUP, _NOACCOUNT = int(EntryFlag.NEW), int(EntryFlag.BACKUP), int(EntryFlag.NOACCOUNT)
# Owners, modes and times that this user or file system cannot set: the original goes on without (SUP 8.3).
_TOLERATED = {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
# What systems answer to a hard link that cannot be made.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_PIECE = 1 << 20


@frozen
class Context:
    """What is known about an upgrade before its first file comes."""

    collection: Collection
    requested: Mapping[bytes, ListEntry]
    """The names asked for and not denied, in plain form."""
    listed: Container[bytes]
    """All names of the listing."""
    known: Callable[[], Container[bytes]]
    """The names that earlier upgrades brought; asked for only when a directory is in the way."""
    set_times: bool = True


def why(error: OSError) -> str:
    """What an error says, without the number and the name."""
    return error.strerror or str(error)


class Placement:
    """Puts names into `tree`, from `staging`. Methods raise OSError unless they say that they report."""

    def __init__(
        self,
        tree: WritableTree,
        staging: Staging,
        context: Context,
        owners: Owners,
        report: Report,
        durability: Durability,
        clock: Callable[[], float],
    ) -> None:
        self._tree = tree
        self._staging = staging
        self._context = context
        self._owners = owners
        self._report = report
        self._durability = durability
        self._clock = clock
        self._prepared: set[bytes] = set()

    # --- the path ---------------------------------------------------------------------------------------

    def prepare(self, name: bytes) -> None:
        """Makes the directories above `name`.

        A file or link in the way goes if the collection wants a directory there: then one run is enough to
        turn a file into a directory, although the files below it come first (SUP 8.3.2).
        """
        directory = name.rpartition(b"/")[0] or TOP
        if directory in self._prepared:
            return
        for made in self._tree.make_parents(name, self._wants_directory):
            if made.replaced is not None:
                self._report.detail(f"Removed {type_name(made.replaced)} {printable(made.name)}")
            self._report.detail(f"Created directory {printable(made.name)} for {printable(name)}")
        sweep(self._tree.directory(directory))
        self._prepared.add(directory)

    def _wants_directory(self, name: bytes) -> bool:
        entry = self._context.requested.get(name)
        return entry is not None and stat.S_ISDIR(entry.mode)

    # --- what stands there ------------------------------------------------------------------------------

    def put(self, temp: bytes, name: bytes, kind: int) -> None:
        """Gives `temp`, a file or link of type `kind`, the name `name`, in place of whatever has it."""
        if name == TOP:
            raise Blocked(name, "the base directory cannot be replaced")
        found = self._tree.lstat(name) if self._report.verbose else None
        try:
            self._move(temp, name)
        except IsADirectoryError:
            clear_directory(self._tree, name, self._context.known())
            self._move(temp, name)
        if found is not None and stat.S_IFMT(found.st_mode) != kind:
            self._report.detail(f"Removed {type_name(found.st_mode)} {printable(name)}")

    def make_directory(self, name: bytes) -> bool:
        """Makes sure that `name` is a directory; whether it had to be made."""
        found = self._tree.look(name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            return False
        self.prepare(name)
        if found is not None:
            self._tree.unlink(name)
            self._report.detail(f"Removed {type_name(found.st_mode)} {printable(name)}")
        self._tree.make_directory(name)
        return True

    def put_symlink(self, name: bytes, target: bytes, mtime: int) -> bool:
        """Makes `name` a symbolic link to `target`; whether it was not one already."""
        found = self._tree.lstat(name)
        if found is not None and stat.S_ISLNK(found.st_mode) and self._tree.readlink(name) == target:
            return False
        self.prepare(name)
        temp = self._staging.name()
        os.symlink(target, temp, dir_fd=self._staging.fd)
        self.stamp(temp, mtime)
        self.put(temp, name, stat.S_IFLNK)
        return True

    def back_up(self, name: bytes) -> None:
        """Copies the regular file `name`, if there is one, to `BACKUP/` beside it (SUP 8.4)."""
        found = self._tree.lstat(name)
        if found is None or not stat.S_ISREG(found.st_mode):
            return
        directory, _, leaf = name.rpartition(b"/")
        backups = beneath(directory, b"BACKUP")
        if self._tree.lstat(backups) is None:
            self._tree.make_directory(backups)
        source = self._tree.open(name)
        try:
            fd, temp = self._staging.create(0o666)
            try:
                _copy_data(source, fd)
                # A plain file of the user's own, as the original's; but no more readable than the file was.
                os.fchmod(fd, os.fstat(fd).st_mode & found.st_mode & 0o666)
                self._sync(fd)
            finally:
                os.close(fd)
        finally:
            os.close(source)
        self.put(temp, beneath(backups, leaf), stat.S_IFREG)
        self._report.detail(f"Backup of {printable(name)} created")

    # --- other names of a file --------------------------------------------------------------------------

    def link(self, leader: bytes, name: bytes) -> None:
        """Makes `name` a hard link to `leader`; where there can be none, a copy (SUP 4.4). Reports errors."""
        shown = printable(name)
        try:
            source = self._tree.lstat(leader)
            if source is None or not stat.S_ISREG(source.st_mode):
                self._report.problem(f"Can't link {shown} to missing file {printable(leader)}")
                return
            found = self._tree.lstat(name)
            if found is not None and (found.st_dev, found.st_ino) == (source.st_dev, source.st_ino):
                return
            self.prepare(name)
            temp = self._staging.name()
            above, leaf = self._tree.above(leader)
            try:
                os.link(leaf, temp, src_dir_fd=above, dst_dir_fd=self._staging.fd, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                temp = self._copy_to_staging(leader, source)
            self.put(temp, name, stat.S_IFREG)
            self._report.detail(f"Created link {shown} to {printable(leader)}")
        except OSError as error:
            self._report.problem(f"Unable to create link {shown} ({why(error)})")

    def _copy_to_staging(self, name: bytes, found: os.stat_result) -> bytes:
        source = self._tree.open(name)
        try:
            fd, temp = self._staging.create()
            try:
                self._copy(source, found, fd)
            finally:
                os.close(fd)
        finally:
            os.close(source)
        return temp

    # --- from the staging directory, be the target on another file system -------------------------------

    def _move(self, temp: bytes, name: bytes) -> None:
        try:
            self._tree.rename_into(self._staging.fd, temp, name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._move_across(temp, name)

    def _move_across(self, temp: bytes, name: bytes) -> None:
        """What a rename does, where source and target stand on different file systems."""
        directory = name.rpartition(b"/")[0] or TOP
        leaf = b"#%d.sup" % os.getpid()
        beside = beneath(directory, leaf)
        found = os.stat(temp, dir_fd=self._staging.fd, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            self._tree.symlink(os.readlink(temp, dir_fd=self._staging.fd), beside)
        else:
            source = os.open(temp, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._staging.fd)
            try:
                fd = self._tree.create(beside)
                try:
                    self._copy(source, found, fd)
                finally:
                    os.close(fd)
            finally:
                os.close(source)
        try:
            self._tree.rename_into(self._tree.directory(directory), leaf, name)
        except OSError:
            self._tree.unlink(beside)
            raise
        if self._durability.sync is not None:  # the barrier is for the other file system
            above = self._tree.open_directory(directory)
            try:
                self._durability.sync(above)
            finally:
                os.close(above)
        self._staging.discard(temp)

    def _copy(self, source: int, found: os.stat_result, fd: int) -> None:
        """Makes the new file `fd` a copy of `source`, whose status is `found`."""
        _copy_data(source, fd)
        with _TOLERATING:
            os.fchown(fd, found.st_uid, found.st_gid)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
        self._sync(fd)
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))

    def _sync(self, fd: int) -> None:
        if self._durability.sync is not None:
            self._durability.sync(fd)

    # --- attributes -------------------------------------------------------------------------------------

    def claim(self, fd: int, recv: Recv) -> None:
        """Gives an open new file the owner and mode of `recv`, unless they do not count (noaccount)."""
        if not (recv.flags or 0) & _NOACCOUNT:
            owner = self._owners.find(recv.user, recv.group)
            withheld = _give(self._staging.owner(fd), owner, lambda uid, gid: os.fchown(fd, uid, gid))
            with _TOLERATING:
                os.fchmod(fd, (recv.mode or 0) & 0o7777 & ~withheld)

    def stamp(self, temp: bytes, mtime: int) -> None:
        """Gives a temporary file its time."""
        if self._context.set_times:
            with _TOLERATING:
                os.utime(temp, ns=self._times(mtime), dir_fd=self._staging.fd, follow_symlinks=False)

    def set_attributes(self, name: bytes, recv: Recv) -> None:
        """Gives the file or directory `name` the owner, mode and time of `recv` (SUP 8.3)."""
        found = self._tree.look(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "it is no longer there", os.fsdecode(name))
        if self._tree.is_guarded(found):
            return
        if stat.S_ISDIR(found.st_mode):
            name += b"/."  # the directory itself, also where a link to it is followed
        mode = stat.S_IMODE(found.st_mode)
        if not (recv.flags or 0) & _NOACCOUNT:
            owner = self._owners.find(recv.user, recv.group)
            given = found.st_uid, found.st_gid
            withheld = _give(given, owner, lambda uid, gid: self._tree.chown(name, uid, gid))
            mode = (recv.mode or 0) & 0o7777 & ~withheld
        if self._context.set_times:
            with _TOLERATING:
                self._tree.set_times(name, *self._times(recv.mtime or 0))
        if not (recv.flags or 0) & _NOACCOUNT:
            with _TOLERATING:
                self._tree.chmod(name, mode)

    def is_as_sent(self, name: bytes, recv: Recv) -> bool:
        """Whether a directory that is not new already has the time and owner of `recv` (SUP 8.3.3)."""
        found = self._tree.look(name)
        if found is None or (recv.flags or 0) & _NEW or to_int32(int(found[stat.ST_MTIME])) != recv.mtime:
            return False
        owner = self._owners.find(recv.user, recv.group)
        return (found.st_uid, found.st_gid) == (owner.uid, owner.gid)

    def _times(self, mtime: int) -> tuple[int, int]:
        """Access and modification time in nanoseconds: now, as in the original, and `mtime`."""
        return int(self._clock() * 1e9), mtime * 10**9


class _Tolerating:
    """What this user or file system cannot set stays as it is."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return isinstance(error, OSError) and error.errno in _TOLERATED


_TOLERATING = _Tolerating()


def _give(has: tuple[int, int], owner: Owner, chown: Callable[[int, int], None]) -> int:
    """Gives a file of user and group `has` to `owner` as far as this user may; the mode bits that are to be
    withheld then.

    A set-id bit that the server meant for one user must not become one for another.
    """
    uid, gid = has
    for wanted in ((owner.uid, owner.gid), (uid, owner.gid)):
        if (uid, gid) == wanted:
            break
        try:
            chown(*wanted)
        except OSError as error:
            if error.errno not in _TOLERATED:
                raise
        else:
            uid, gid = wanted
            break
    withheld = owner.withheld
    if uid != owner.uid:
        withheld |= stat.S_ISUID
    if gid != owner.gid:
        withheld |= stat.S_ISGID
    return withheld


def _copy_data(source: int, target: int) -> None:
    while piece := os.read(source, _PIECE):
        write_all(target, piece)
