"""The two pattern languages of a list file: csh globs for operands, and the patterns of `omitany`.

A glob stands for names that exist; an omitany pattern is tried against each full name of the walk. Both
become regular expressions over bytes, in one of two readings: the sane one, which a shell user expects, and
the original's, which list files written for CMU's server may depend on.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

MAX_ALTERNATIVES = 10_000
"""So many operands may come of one with braces: each further pair of braces multiplies them."""


class PatternError(ValueError):
    """A pattern that cannot be used."""


def component_expression(pattern: bytes, historic: bool = False) -> re.Pattern[bytes]:
    """What one component of a glob (a part between two `/`) matches; the leading dot is the caller's care.

    `*`, `?` and `[...]` as in csh (SUP 6.1.1). `[!...]` is everything but the class; the original knows no
    negation and takes `!` for a member.
    """
    if historic:
        return re.compile(_historic(pattern, star=b".*", ignored=0), re.DOTALL)
    return _sane(pattern)


def omitany_expression(pattern: bytes, historic: bool = False) -> re.Pattern[bytes]:
    """What an omitany pattern matches in a full name; `*` and `?` match `/` too (SUP 6.1.2).

    The original's `*` takes at least one character unless it ends the pattern, and the first character of
    its `[...]` is ignored.
    """
    if historic:
        return re.compile(_historic(pattern, star=b".+", ignored=1), re.DOTALL)
    return _sane(pattern)


def any_of(patterns: Iterable[bytes], historic: bool = False) -> re.Pattern[bytes] | None:
    """One expression for many omitany patterns, to be tried once per name; None for no pattern at all."""
    expressions = [omitany_expression(pattern, historic).pattern for pattern in patterns]
    return (
        re.compile(b"|".join(b"(?:%s)" % expression for expression in expressions)) if expressions else None
    )


def has_wildcard(pattern: bytes) -> bool:
    """Whether a component has to be matched against a directory's entries."""
    return any(sign in pattern for sign in b"*?[")


def braces(operand: bytes) -> Iterator[bytes]:
    """The operands that one with `{a,b}` stands for, from left to right; braces may be nested.

    An unfinished brace stands for nothing, as in csh. Raises PatternError for more than MAX_ALTERNATIVES.
    """
    done = 0
    waiting = [operand]
    while waiting:
        text = waiting.pop()
        opening = text.find(b"{")
        if opening < 0:
            yield text
            done += 1
        else:
            waiting.extend(reversed(list(_alternatives(text, opening))))
        if done + len(waiting) > MAX_ALTERNATIVES:
            raise PatternError(f"the braces of {operand!r} stand for more than {MAX_ALTERNATIVES} names")


def _alternatives(text: bytes, opening: int) -> Iterator[bytes]:
    """`text` with its first pair of braces replaced by each of the alternatives in it."""
    commas = [opening]
    depth = 0
    at = opening + 1
    while at < len(text):
        sign = text[at : at + 1]
        if sign == b"[":  # a brace or comma within a class is a member of it
            at = text.find(b"]", at + 1)
            if at < 0:
                return
        elif sign == b"{":
            depth += 1
        elif sign == b"}" and depth:
            depth -= 1
        elif sign == b"}":
            commas.append(at)
            break
        elif sign == b"," and not depth:
            commas.append(at)
        at += 1
    else:
        return
    for start, end in pairwise(commas):
        yield text[:opening] + text[start + 1 : end] + text[at + 1 :]


def _sane(pattern: bytes) -> re.Pattern[bytes]:
    """The standard library's reading; Latin-1 makes each byte one character and back."""
    return re.compile(fnmatch.translate(pattern.decode("latin-1")).encode("latin-1"))


def _historic(pattern: bytes, star: bytes, ignored: int) -> bytes:
    """`pattern` as the original reads it: `star` for all but a last `*`, `ignored` characters of each class.

    What stands between two stars is matched as early as possible and for good, which is enough because a
    later start never helps, and keeps the work from growing with the power of the number of stars.
    """
    first, *rest = [_fixed(part, ignored) for part in pattern.split(b"*")]
    if not rest:
        return b"(?s:" + first + rb")\Z"
    *middle, last = rest
    early = b"".join(b"(?>" + star + b"?" + part + b")" for part in middle)
    tail = star + last if last else b".*"
    return b"(?s:" + first + early + tail + rb")\Z"


def _fixed(part: bytes, ignored: int) -> bytes:
    """An expression for a part of a pattern without `*`; every sign of it matches one byte."""
    expression = bytearray()
    at = 0
    while at < len(part):
        sign = part[at : at + 1]
        at += 1
        if sign == b"?":
            expression += b"."
        elif sign == b"[":
            start = at + ignored
            end = part.find(b"]", start)
            if end < 0:
                return b"(?!)"
            members = _members(part, start, end)
            expression += (
                b"[" + b"".join(rb"\x%02x" % byte for byte in members) + b"]" if members else b"(?!)"
            )
            at = end + 1
        else:
            expression += re.escape(sign)
    return bytes(expression)


def _members(part: bytes, start: int, end: int) -> list[int]:
    """The bytes of a class; `-` is a range from the byte before it, whether or not that one is ignored."""
    members: set[int] = set()
    for at in range(start, end):
        if part[at] == ord("-"):
            if at + 1 == end:
                break
            members.update(range(part[at - 1] + 1, part[at + 1] + 1))
        else:
            members.add(part[at])
    return sorted(members)
