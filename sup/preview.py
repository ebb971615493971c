"""What an upgrade would do (`-f`, SUP 3.2): the server sends everything but file data, and nothing is changed."""

import os
import stat

from sup.install import Transfer, UnknownType
from sup.names import UnsafeName, normalise
from sup.needs import to_int32
from sup.report import Report, printable, type_name
from sup.writable import WritableTree
from wire.formats.sup import EntryFlag, Recv


class Preview:
    """Tells what `sup.install.Installer` would do; the words are the original's (SUP 8.9)."""

    def __init__(self, tree: WritableTree, report: Report) -> None:
        self._tree = tree
        self._report = report

    async def receive(self, name: bytes, recv: Recv, data: Transfer) -> None:
        mode = recv.mode or 0
        found = self._tree.lstat(name) if stat.S_ISLNK(mode) else self._tree.look(name)
        if found is not None and stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode):
            self._report.note(f"Would remove {type_name(found.st_mode)} {printable(name)}")
            found = None
        shown = printable(name)
        if stat.S_ISDIR(mode):
            self._report.note(f"Would {'create' if found is None else 'update'} directory {shown}")
        elif stat.S_ISLNK(mode):
            self._symlink(name, found, recv)
        elif stat.S_ISREG(mode):
            self._report.note(f"Would {_receive(found, recv)} file {shown}")
            self._links(name, recv)
        else:
            raise UnknownType(mode)
        for command in sorted(set(recv.commands or ())):
            self._report.note(f"Would execute {printable(command)}")

    async def flush(self) -> None:
        pass

    async def finish(self) -> None:
        pass

    def _symlink(self, name: bytes, found: os.stat_result | None, recv: Recv) -> None:
        if not recv.links:
            self._report.problem(f"Missing linkname for symbolic link {printable(name)}")
            return
        target = recv.links[0]
        if found is None:
            self._report.note(f"Would create symbolic link {printable(name)} to {printable(target)}")
        elif self._tree.readlink(name) != target:
            self._report.note(f"Would update symbolic link {printable(name)} to {printable(target)}")

    def _links(self, leader: bytes, recv: Recv) -> None:
        for link in sorted(recv.links or ()):
            try:
                name = normalise(link)
            except UnsafeName as error:
                self._report.problem(f"Unable to create link ({error})")
                continue
            found = self._tree.lstat(name)
            if found is not None:
                self._report.note(f"Would remove {type_name(found.st_mode)} {printable(name)}")
            self._report.note(f"Would link {printable(name)} to {printable(leader)}")


def _receive(found: os.stat_result | None, recv: Recv) -> str:
    if found is None:
        return "create"
    if (recv.flags or 0) & EntryFlag.UPDATE:
        return "update"
    here, there = to_int32(int(found[stat.ST_MTIME])), recv.mtime or 0
    if here == there:
        return "receive"
    return "receive new" if here < there else "receive old"
