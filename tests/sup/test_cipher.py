"""The historic cipher; the expected bytes are those of crypt(1)'s own machine under the same keys."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sup.cipher import CHUNK, Cipher, UnusableKey
from wire.formats.sup import (
    TEST_STRING,
    Deny,
    Done,
    DoneCode,
    List,
    ListEntry,
    Need,
    NeedEntry,
    Recv,
    Refuse,
    Send,
)

CIPHER = Cipher(b"secretkey")
T = CIPHER.text


@pytest.mark.parametrize(
    ("key", "test", "zeros"),
    [
        (b"secretkey", "6d2e95b1c19498ad40d8aa9f3831a690f4c31b832018b646", "ea3394327740ae95"),
        (b"ab", "e12d2e6788f83a63997a60dad85e5c9f0d94c5f233c2fe68", "1772b88a0290a1d3"),
        (b"Zz/./9kk", "b3996090c5b9aa8c520a89d1964985abdade08614c05e298", "f996986edf45d08a"),
    ],
)
def test_known_answers(key: bytes, test: str, zeros: str) -> None:
    cipher = Cipher(key)
    assert cipher.text(TEST_STRING).hex() == test
    assert hashlib.sha256(cipher.text(bytes(CHUNK))).hexdigest().startswith(zeros)


def test_only_eight_bytes_of_a_key_count() -> None:
    assert Cipher(b"secretke").text(b"x") == CIPHER.text(b"x")


@given(st.binary(max_size=3 * CHUNK))
def test_it_is_its_own_inverse(text: bytes) -> None:
    assert CIPHER.text(CIPHER.text(text)) == text


@given(st.lists(st.binary(max_size=2 * CHUNK), max_size=5))
def test_a_file_is_the_same_however_it_is_cut_up(chunks: list[bytes]) -> None:
    assert b"".join(map(CIPHER.file(), chunks)) == CIPHER.text(b"".join(chunks))


@pytest.mark.parametrize("key", [b"", b"a", b"\xff\xfe", b"a b"])
def test_keys_that_are_no_salt(key: bytes) -> None:
    with pytest.raises(UnusableKey, match="begin with two"):
        Cipher(key)


def test_the_strings_of_messages_are_transformed() -> None:
    for plain, expected in (
        (Refuse((b"a", b"b")), Refuse((T(b"a"), T(b"b")))),
        (Deny((b"a",)), Deny((T(b"a"),))),
        (Need((NeedEntry(b"a", 1),)), Need((NeedEntry(T(b"a"), 1),))),
        (List((ListEntry(b"a", 1, 2, 3),), 4), List((ListEntry(T(b"a"), 1, 2, 3),), 4)),
        (Recv(), Recv()),
        (Recv(b"a", 0), Recv(T(b"a"), 0)),
        (
            Recv(b"a", 1, 2, b"u", None, 3, (b"l",), (), 5),
            Recv(T(b"a"), 1, 2, T(b"u"), None, 3, (T(b"l"),), (), 5),
        ),
        (Send(), Send()),
        (Done(DoneCode.SUCCESS, b"Success"), Done(DoneCode.SUCCESS, b"Success")),
    ):
        assert CIPHER.message(plain) == expected
        assert CIPHER.message(expected) == plain
