"""The two pattern languages of a list file: csh globs for operands, and the patterns of `omitany`.

A glob stands for names that exist; an omitany pattern is tried against each full name of the walk. Both
become regular expressions over bytes, in one of two readings: the sane one, which a shell user expects, and
the original's, which list files written for CMU's server may depend on.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from sup.names import plain_name

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
    expressions = [omitany_expression(plain_name(pattern), historic).pattern for pattern in patterns]
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
    first, *rest = _between_stars(pattern, ignored)
    if not rest:
        return b"(?s:" + first + rb")\Z"
    *middle, last = rest
    early = b"".join(b"(?>" + star + b"?" + part + b")" for part in middle)
    if last:
        tail = star + last
    elif ignored or not middle or middle[-1]:
        tail = b".*"
    else:  # of two stars at the end of a glob, the first wants something left for the second
        tail = b".+"
    return b"(?s:" + first + early + tail + rb")\Z"


def _between_stars(pattern: bytes, ignored: int) -> list[bytes]:
    """Expressions for the parts of a pattern between its stars; every sign of them matches one byte."""
    parts = [b""]
    at = 0
    while at < len(pattern):
        sign = pattern[at : at + 1]
        at += 1
        if sign == b"*":
            parts.append(b"")
        elif sign == b"?":
            parts[-1] += b"."
        elif sign == b"[":
            members, at = _class(pattern, at, ignored)
            if not at:
                return [b"(?!)"]
            parts[-1] += b"[" + b"".join(rb"\x%02x" % byte for byte in members) + b"]" if members else b"(?!)"
        else:
            parts[-1] += re.escape(sign)
    return parts


def _class(pattern: bytes, at: int, ignored: int) -> tuple[list[int], int]:
    """The members of a class whose `[` stands before `at`, and where it ends; 0 if it does not.

    The two languages differ in ranges: in a glob the byte behind `-` is taken whatever it is, and is a
    member as part of the range only; in omitany a range begins behind the byte before `-`, ignored or not,
    and a `-` at the end ends the matching.
    """
    members: set[int] = set()
    at += ignored
    low = pattern[at - 1] if ignored and at <= len(pattern) else 256
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == ord("]"):
            return sorted(members), at
        if byte != ord("-"):
            members.add(byte)
            low = byte
        elif ignored and pattern[at : at + 1] == b"]":
            return sorted(members), at + 1
        elif at < len(pattern):
            members.update(range(low + 1, pattern[at] + 1))
            at += not ignored
    return [], 0
