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
    assert not verify(b"x" * 10_000, hashed)
    assert hash_password(b"s\xe9cret") != hashed


def test_other_texts_are_no_hashes() -> None:
    assert not is_hash("secret")
    assert not is_hash("abAwh7.RciMzE")
    assert not is_hash("$scrypt$ln=16,r=8,p=1$aaaa")
    with pytest.raises(ValueError, match="hash"):
        verify(b"secret", "secret")
