"""File data on its way to the disk: as it is, or unpacked from a compressed session's gzip stream (SUP 5.1)."""

import os
import zlib
from typing import Protocol

_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 1 << 18


class Writer(Protocol):
    """Takes a file's data as it arrives."""

    def write(self, data: bytes) -> None:
        """Takes the next piece. Raises OSError."""

    def finish(self) -> None:
        """Called when the data is complete. Raises OSError, or GzipError."""


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes all of `data`. Raises OSError."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(fd, view) :]


class PlainWriter:
    """Data that is the file's contents as they are."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        write_all(self._fd, data)

    def finish(self) -> None:
        pass


class GzipError(ValueError):
    """Data that is not a complete gzip stream and nothing else."""


class GzipWriter:
    """Data that is a gzip stream of one or more members (SUP 5.1); writes what it unpacks to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stream = zlib.decompressobj(_GZIP)

    def write(self, data: bytes) -> None:
        while True:
            if self._stream.eof:
                if not data:
                    return
                self._stream = zlib.decompressobj(_GZIP)
            try:
                # In pieces: a small stream may unpack to a very large file.
                unpacked = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                raise GzipError(f"not a gzip stream: {error}") from None
            write_all(self._fd, unpacked)
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if not data and len(unpacked) < _PIECE:
                return

    def finish(self) -> None:
        if not self._stream.eof:
            raise GzipError("the gzip stream is not complete")
