"""Lesson 9: breaking SUP's cipher, from a recording alone: what does not hide, what a known sentence gives away, and a
list of words."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emulators.lessons.stage import Stage, expect
from emulators.lessons.story import choose, read
from sup.cipher import Cipher, UnusableKey
from wire.capture.messages import Message
from wire.formats.sup import TEST_STRING, List, ListEntry, Recv

KEY = b"fiberoptic"
WORDS = (
    b"password", b"secret", b"wizard", b"swordfish", b"carnegie", b"mellon", b"andrew", b"scotty", b"pittsburgh",
    b"facilities", b"afs", b"mach", b"coda", b"spice", b"perq", b"hemlock", b"camelot", b"avalon", b"nectar", b"warp",
    b"iWarp", b"vice", b"virtue", b"upgrade", b"collection", b"release", b"repository", b"tapeworm", b"ethernet",
    b"tokenring", b"fiberoptic", b"gateway", b"beaver", b"raccoon", b"squirrel", b"wombat", b"platypus",
)  # fmt: skip
"""A word list as an attacker of the time would have begun it."""
CRIBS = (b"README", b"bin", b"doc", b"etc", b"notes")
"""Names that a collection of files probably has at its top, to be tried where the length and the order fit."""
ENDING = b".txt"
"""What names of the same length with the same ending probably end with."""
HIDDEN = "·"


async def play(stage: Stage) -> None:
    def lock(collection: Path) -> None:
        (collection / "sup" / "demo" / "crypt").write_bytes(KEY + b"\n")

    await stage.lab(lock)
    client = stage.directory / "client"
    await stage.upgrade(client, f"crypt={KEY.decode()}")
    expect((client / "README").exists(), "README did not arrive")


# --- what the eavesdropper has --------------------------------------------------------------------------------------


def _crypt(messages: Sequence[Message]) -> bytes:
    """The known sentence, encrypted."""
    test: bytes = choose(messages, "CRYPT message").value.test
    return test


def _entries(messages: Sequence[Message]) -> tuple[ListEntry, ...]:
    """The collection's names, encrypted, in the order of the names in clear."""
    listing = choose(messages, "LIST message").value
    assert isinstance(listing, List)
    return listing.entries


def _owners(messages: Sequence[Message]) -> list[bytes]:
    """What RECVs say of their files' owners, encrypted."""
    values = (message.value for message in messages if message.name == "RECV")
    return [value.user for value in values if isinstance(value, Recv) and value.user is not None]


# --- first: what does not hide --------------------------------------------------------------------------------------


def _listing(capture: Path) -> str:
    """The list as it travels: names are hidden; lengths, types, times, equal beginnings and the order are not."""
    lines = ["mode      length  name on the wire"]
    for entry in _entries(read(capture)):
        lines.append(
            f"{entry.mode:#08o}  {len(entry.name):6}  {entry.name[:16].hex(' ')}{' ..' if entry.name[16:] else ''}"
        )
    return "\n".join(lines)


# --- second: what a known sentence gives away -----------------------------------------------------------------------


class Tables:
    """What is known of each position's substitution. Each is its own inverse, so that a pair tells two letters."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}

    def learn(self, secret: bytes, plain: bytes, start: int = 0) -> bool:
        """Take it that *secret* from byte *start* on reads *plain*; False if what is known already says otherwise."""
        pairs: dict[tuple[int, int], int] = {}
        for at, (one, other) in enumerate(zip(secret[start:], plain, strict=False), start):
            pairs |= {(at, one): other, (at, other): one}
        if any(self._known.get(place, other) != other for place, other in pairs.items()):
            return False
        self._known |= pairs
        return True

    def show(self, secret: bytes) -> str:
        """As much of a string as can be read."""
        signs = (self._known.get((at, sign)) for at, sign in enumerate(secret))
        return "".join(HIDDEN if sign is None else chr(sign) for sign in signs)


def from_sentence(messages: Sequence[Message]) -> Tables:
    """What the one known sentence tells: CRYPT carries it under the key."""
    tables = Tables()
    tables.learn(_crypt(messages), TEST_STRING)
    return tables


def from_guesses(messages: Sequence[Message]) -> Tables:
    """And what can be guessed: usual names where length and order fit, a slash after a directory's name, an ending, an
    owner."""
    tables, entries = from_sentence(messages), _entries(messages)
    at = 0
    for crib in CRIBS:
        for index in range(at, len(entries)):
            if len(entries[index].name) == len(crib) and tables.learn(entries[index].name, crib):
                at = index + 1
                break
    for directory in (entry.name for entry in entries if stat.S_ISDIR(entry.mode)):
        for entry in entries:
            if entry.name.startswith(directory) and entry.name != directory:
                tables.learn(entry.name, b"/", len(directory))
    endings = Counter((len(entry.name), entry.name[-len(ENDING) :]) for entry in entries)
    for entry in entries:
        if endings[len(entry.name), entry.name[-len(ENDING) :]] > 1:
            tables.learn(entry.name, ENDING, len(entry.name) - len(ENDING))
    for owner in filter(lambda owner: len(owner) == len(b"root"), _owners(messages)):
        tables.learn(owner, b"root")
    return tables


def _guessed(capture: Path) -> str:
    """The list, as far as the sentence alone reads it, and as far as the guesses do."""
    messages = read(capture)
    sentence, guesses = from_sentence(messages), from_guesses(messages)
    lines = [f"{'with the sentence':32}with the guesses", ""]
    for entry in _entries(messages):
        lines.append(f"{sentence.show(entry.name):32}{guesses.show(entry.name)}")
    return "\n".join(lines)


# --- third: a list of words -----------------------------------------------------------------------------------------


def search(messages: Sequence[Message]) -> tuple[bytes, int]:
    """The key, and how many words were tried. Raises LookupError if it is none of them."""
    secret = _crypt(messages)
    for tried, word in enumerate(WORDS, 1):
        try:
            if Cipher(word).text(secret) == TEST_STRING:
                return word, tried
        except UnusableKey:
            continue
    raise LookupError("the key is none of the words")


def _opened(capture: Path) -> str:
    """The key and, with it, everything."""
    messages = read(capture)
    key, tried = search(messages)
    cipher = Cipher(key)
    names = [cipher.text(entry.name).decode() for entry in _entries(messages)]
    owner = cipher.text(next(iter(_owners(messages)))).decode()
    return "\n".join(
        [f"word {tried} of {len(WORDS)}: {key.decode()}", "", *names, "", f"owner of the files: {owner}"]
    )


FIGURES = {"listing": _listing, "guessed": _guessed, "opened": _opened}
