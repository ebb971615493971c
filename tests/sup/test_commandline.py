"""The command line of `sup`: each flag of SUP 7.2, the options added to them, and what cannot be understood."""

import re
from typing import Any

import pytest

from sup.commandline import USAGE, Invocation, UsageError, parse
from sup.supfile import FLAG_SETTINGS, Flags

SWITCHES: dict[str, dict[str, Any]] = {
    "s": {"system": True},
    "t": {"tell_times": True},
    "u": {"set_times": False},
    "S": {"silent": True},
    "P": {"debug_port": True},
    "N": {"trace": 1},
    "NNNN": {"trace": 4},
    "XR": {},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "--port 871": {"port": 871},
    "--port=65535": {"port": 65535},
    "--window 1": {"window": 1},
    "--window=1000000": {"window": 1_000_000},
    "--pcap f": {"pcap": "f"},
    "--pcap=f=g": {"pcap": "f=g"},
    "--follow-symlinks": {"follow_symlinks": True},
    "--no-fsync": {"durable": False},
    "--progress": {"progress": True},
    "--no-progress": {"progress": False},
    "--json": {"json": True},
    "--redact": {"redact": True},
}


def invoked(**settings: Any) -> Invocation:
    return Invocation(supfile="supfile", **settings)


@pytest.mark.parametrize("letter", FLAG_SETTINGS)
def test_flags_of_collections(letter: str) -> None:
    name, value = FLAG_SETTINGS[letter]
    assert parse([f"-{letter}", "supfile"]) == invoked(flags=(Flags({name: value}),))
    assert parse([f"-{letter}=one,two", "supfile"]) == invoked(
        flags=(Flags({name: value}, frozenset({b"one", b"two"})),)
    )


@pytest.mark.parametrize("letters", SWITCHES)
def test_flags_of_the_run(letters: str) -> None:
    supfile = None if letters == "s" else "supfile"
    arguments = [] if supfile is None else [supfile]
    assert parse([f"-{letters}", *arguments]) == Invocation(supfile=supfile, **SWITCHES[letters])


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option: str) -> None:
    assert parse([*option.split(), "supfile"]) == invoked(**OPTIONS[option])
    assert parse(["supfile", *option.split()]) == invoked(**OPTIONS[option])


def test_a_dry_run_is_f() -> None:
    assert parse(["--dry-run", "f"]) == parse(["-f", "f"])


@pytest.mark.parametrize("words", [["-M", "joe"], ["-Mjoe"], ["-vM", "joe"]])
def test_mail_goes_to_an_address(words: list[str]) -> None:
    found = parse([*words, "supfile"])
    assert found.mail_to == "joe"
    assert found.flags[0].settings["mail"] is True


def test_several_words() -> None:
    found = parse(["-dv", "supfile", "-De=one", "one", "-Z=", "two,,three", "--", "-two", "--three"])
    assert found == invoked(
        flags=(
            Flags({"delete": True, "verbose": True}),
            Flags({"delete": False, "execute": True}, frozenset({b"one"})),
            Flags({"compress": False}, frozenset({b"two", b"three"})),
        ),
        collections=(b"one", b"-two", b"--three"),
    )


def test_names_are_bytes() -> None:
    assert parse(["f", "\udcff"]).collections == (b"\xff",)


def test_standard_input() -> None:
    assert parse(["-"]).supfile == "-"


@pytest.mark.parametrize("what", ["help", "version"])
def test_what_is_only_shown(what: str) -> None:
    assert parse([f"--{what}"]).show == what


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "Need either -s or supfile"),
        (["-v"], "Need either -s or supfile"),
        (["-vy", "f"], "Invalid flag -y"),
        (["--frob", "f"], "Invalid option --frob"),
        (["--json=yes", "f"], "Invalid option --json=yes"),
        (["--dry-run=yes", "f"], "Invalid option --dry-run=yes"),
        (["-M"], "-M needs a value"),
        (["-d="], "-d= needs a value"),
        (["--port"], "--port needs a value"),
        (["--pcap=", "f"], "--pcap needs a value"),
        (["--port", "0", "f"], "--port needs a number from 1 to 65535, not '0'"),
        (["--port=65536", "f"], "--port needs a number from 1 to 65535, not '65536'"),
        (["--window", "-1", "f"], "--window needs a number from 1 to 1000000, not '-1'"),
        (["--window", "²", "f"], "--window needs a number from 1 to 1000000, not '²'"),
    ],
)
def test_what_cannot_be_understood(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(words)
    assert str(raised.value) == complaint


def test_the_help_names_every_flag_and_option() -> None:
    named = set(re.findall(r"(?<![\w-])-([a-zA-Z])(?![\w-])", USAGE))
    assert named == {*FLAG_SETTINGS, *"stuSPNMXR"}
    options = {option.split()[0].partition("=")[0] for option in OPTIONS} | {
        "--dry-run",
        "--help",
        "--version",
    }
    assert set(re.findall(r"--[a-z][a-z-]*", USAGE)) == options


def test_the_help_fits_a_terminal() -> None:
    assert max(map(len, USAGE.format(window=64, supfiles="/usr/lib/supfiles").splitlines())) <= 110
