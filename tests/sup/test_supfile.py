"""Supfiles as SUP 7.1 describes them, and what the flags of SUP 7.2 change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup.supfile import (
    DEFAULT_TIMEOUT,
    FLAG_SETTINGS,
    FOREVER,
    Collection,
    Flags,
    SupfileError,
    apply_flags,
    parse,
    parse_hosts,
)


def one(line: bytes) -> Collection:
    (collection,) = parse(line)
    return collection


def test_a_line_with_every_option() -> None:
    line = (
        b"demo host=h base=/b hostbase=/hb prefix=p release=r login=l password=a=b crypt=c notify=me@x "
        b"timeout=5 backup delete execute old keep compress use-rel-suffix"
    )
    assert one(line) == Collection(
        b"demo",
        hosts=("h",),
        base=b"/b",
        hostbase=b"/hb",
        prefix=b"p",
        release=b"r",
        login=b"l",
        password=b"a=b",
        crypt=b"c",
        notify="me@x",
        timeout=5,
        backup=True,
        delete=True,
        execute=True,
        old=True,
        keep=True,
        compress=True,
        use_rel_suffix=True,
    )


def test_what_a_silent_line_means() -> None:
    collection = one(b"demo")
    assert collection == Collection(b"demo", base=b"/usr/demo", timeout=DEFAULT_TIMEOUT)
    assert (collection.suffix, collection.newonly) == (b"", True)


@pytest.mark.parametrize("text", [b"host=h", b"host = h", b"host= h", b"host =h", b"host h", b"host\t=\th"])
def test_blanks_around_the_equals_sign(text: bytes) -> None:
    assert one(b"demo " + text + b" delete") == Collection(
        b"demo", hosts=("h",), base=b"/usr/demo", delete=True
    )


@pytest.mark.parametrize("text", [b"b,a", b"b ,a", b"b , a", b"b,,a", b"b, a", b"a,b,a"])
def test_several_hosts_in_alphabetical_order(text: bytes) -> None:
    collection = one(b"demo host=" + text + b" old")
    assert collection.hosts == ("a", "b")
    assert collection.old


def test_comments_blank_lines_and_order() -> None:
    text = b"# c\n\n   \nb host=x\n;c\n:c\n  a host=y\n"
    assert [collection.name for collection in parse(text)] == [b"b", b"a"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"demo bogus", "Invalid supfile option bogus for collection demo"),
        (b"demo delete=yes", "Invalid supfile option yes for collection demo"),
        (b"demo host=", "option host of collection demo needs a value"),
        (b"demo host=,", "option host of collection demo needs a value"),
        (b"demo base", "option base of collection demo needs a value"),
        (b"demo timeout=soon", "timeout=soon is not seconds"),
        (b"demo timeout=-2", "timeout=-2 is not seconds"),
        (b"demo host=h\xff", "only hold ASCII"),
        (b"demo =", "cannot read"),
        (b"../x host=h", "not the name of a collection"),
        (b"/x host=h", "not the name of a collection"),
        (b"a//b host=h", "not the name of a collection"),
        (b". host=h", "not the name of a collection"),
        (b"demo use-rel-suffix release=../../x", "cannot hold a /"),
    ],
)
def test_lines_that_cannot_be_understood(line: bytes, reason: str) -> None:
    with pytest.raises(SupfileError) as raised:
        parse(b"# first line\n" + line, "my.supfile")
    assert reason in str(raised.value)
    assert str(raised.value).startswith("my.supfile, line 2")


@given(st.binary(max_size=80))
def test_any_bytes_are_understood_or_refused(text: bytes) -> None:
    try:
        for collection in parse(text):
            assert collection.name
            assert b"/" not in collection.suffix
    except SupfileError:
        pass


def test_the_suffix_needs_a_release() -> None:
    assert one(b"demo use-rel-suffix release=beta").suffix == b".beta"
    assert one(b"demo use-rel-suffix").suffix == b""
    assert one(b"demo release=beta").suffix == b""


def test_waiting_for_ever() -> None:
    assert one(b"demo timeout=-1").timeout == FOREVER


def test_secrets_are_not_shown() -> None:
    shown = repr(one(b"demo login=joe password=secret crypt=key"))
    assert not {"joe", "secret", "key"} & set(shown.replace("'", " ").split())


@pytest.mark.parametrize("option", ["fetch_all", "delete", "old"])
def test_what_asks_for_the_full_list(option: str) -> None:
    (collection,) = apply_flags([Collection(b"demo")], [Flags({option: True})])
    assert not collection.newonly


def test_flags_for_all_and_for_some() -> None:
    collections = parse(b"one delete\ntwo\nthree")
    flags = [
        Flags(dict([FLAG_SETTINGS["e"]]), frozenset({b"two"})),
        Flags(dict([FLAG_SETTINGS["E"], FLAG_SETTINGS["o"]])),
        Flags(dict([FLAG_SETTINGS["D"]]), frozenset({b"one", b"two"})),
    ]
    one, two, three = apply_flags(collections, flags)
    assert (one.execute, one.old, one.delete) == (False, True, False)
    assert (two.execute, two.old, two.delete) == (True, True, False)
    assert (three.execute, three.old, three.delete) == (False, True, False)


def test_of_two_flags_for_all_the_last_counts() -> None:
    for text, expected in (("eE", False), ("Ee", True)):
        groups = [Flags(dict([FLAG_SETTINGS[letter]])) for letter in text]
        assert apply_flags([Collection(b"demo")], groups)[0].execute is expected


def test_hosts_of_system_collections() -> None:
    text = b"# hosts\none=h\ntwo h, g\nthree = x\n"
    assert parse_hosts(text) == {b"one": ("h",), b"two": ("g", "h"), b"three": ("x",)}


@pytest.mark.parametrize("text", [b"one", b"one=", b"one=a b"])
def test_a_damaged_file_of_hosts(text: bytes) -> None:
    with pytest.raises(SupfileError, match="line 1: error in collection/host file"):
        parse_hosts(text)
