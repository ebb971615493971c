"""wire.capture.redact: secrets blanked in messages, with every other byte in its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.frames import call, datagrams, messages, record, talk
from tests.capture.test_recording import SECRET, secret_call
from tests.capture.test_sup import built, session
from wire.capture.redact import redact_record, redacted
from wire.capture.text import explained, summary
from wire.capture.values import as_dict
from wire.formats import rpc
from wire.formats.sup import Login


def everything(data: bytes) -> str:
    """All that is shown of a message in a datagram."""
    (message,) = messages(datagrams(("client", data)))
    shown = redacted(message)
    return summary(shown, 0.0) + "\n".join(explained(shown)) + json.dumps(as_dict(shown, explain=True))


def test_machine_names() -> None:
    shown = everything(secret_call())
    assert "swordfish" not in shown
    assert SECRET.hex() not in shown
    assert SECRET.hex(" ") not in shown
    assert '"machine": "*********"' in shown
    assert len(redact_record(secret_call())) == len(secret_call())


@pytest.mark.parametrize("fragment", [1, 5, 30, 1000])
def test_over_tcp(fragment: int) -> None:
    (message,) = messages(talk(("client", record(secret_call(), fragment))))
    shown = redacted(message)
    assert shown.raw == record(redact_record(secret_call()), fragment)
    assert shown.size == message.size
    assert message.raw == record(secret_call(), fragment)  # the original stays what it was


def test_nothing_else_changes() -> None:
    (message,) = messages(datagrams(("client", call("ROOT"))))
    assert redacted(message) is message
    data = b"not a call at all"
    assert redact_record(data) is data


@given(st.integers(0, len(secret_call()) - 1))
def test_damaged_calls_keep_nothing(size: int) -> None:
    blanked = redact_record(secret_call()[:size])
    assert len(blanked) == size
    for start in range(len(SECRET) - 2):
        assert SECRET[start : start + 3] not in blanked


def test_damaged_calls_in_full() -> None:
    whole = secret_call()
    message = messages(datagrams(("client", whole[: whole.index(SECRET) + 8])))[0]
    assert "swordf" not in json.dumps(as_dict(redacted(message), explain=True))


def test_logins() -> None:
    login = built(Login(b"Hello there, Sailor Boy!", b"joe", b"swordfish"))
    for said in (login, login[:-5], login[:-4] + b"\0\0\0\0"):
        pieces = [*session()[:7], ("client", said)]
        message = messages(talk(*pieces))[7]
        assert message.name == "LOGIN"
        shown = redacted(message)
        told = summary(shown, 0.0) + "\n".join(explained(shown)) + json.dumps(as_dict(shown, explain=True))
        assert "swordfish" not in told
        assert b"swordfish".hex() not in told
        assert "joe" not in told
        assert len(shown.raw) == len(message.raw)


def test_null_logins_stay_null() -> None:
    message = messages(talk(*session()[:8]))[-1]
    assert redacted(message).value == Login(None, None, None)


def test_the_verifier_too() -> None:
    body = rpc.AuthUnix(1, SECRET, 0, 0, ())
    from wire.codec import codec

    header = rpc.Call(2, 200100000, 2, 2, rpc.AUTH_NONE, rpc.Auth(rpc.AuthFlavor.AUTH_SYS, body))
    data = codec(rpc.Message).build(rpc.Message(1, rpc.MsgType.CALL, header))
    assert SECRET not in redact_record(data)
