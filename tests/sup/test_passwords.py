"""Passwords are kept as scrypt hashes."""

import pytest

from sup.passwords import hash_password, is_hash, verify


def test_passwords() -> None:
    hashed = hash_password(b"s\xe9cret")
    assert is_hash(hashed)
    assert hashed.startswith("$scrypt$")
    assert "cret" not in hashed
    assert verify(b"s\xe9cret", hashed)
    assert not verify(b"s\xe9cre", hashed)
    assert not verify(b"", hashed)
    assert hash_password(b"s\xe9cret") != hashed


def test_other_texts_are_no_hashes() -> None:
    assert not is_hash("secret")
    assert not is_hash("abAwh7.RciMzE")
    with pytest.raises(ValueError, match="hash"):
        verify(b"secret", "secret")
