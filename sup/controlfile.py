"""What SUP's control files have in common: lists, releases, host, crypt, refuse, coll.dir, supfiles.

All of them are lines of bytes with the same rule for comments (SUP 6) and the same separators.
"""

from collections.abc import Iterator

_COMMENT = (b"#", b";", b":")


def lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a control file that mean something, each with its number, counted from 1.

    A line whose first character is `#`, `;` or `:` is a comment, and so is an empty line; blanks are not
    allowed before the sign (SUP 6).
    """
    for number, line in enumerate(text.split(b"\n"), 1):
        if line and not line.startswith(_COMMENT):
            yield number, line


def words(line: bytes) -> list[bytes]:
    """The words of a line; blanks and tabs separate them (SUP 6), any other byte belongs to a word."""
    return [word for word in line.replace(b"\t", b" ").split(b" ") if word]
