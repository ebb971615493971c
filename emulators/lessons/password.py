"""Lesson 5: a password in an AUTH_UNIX name, where everybody on the network can read it."""

from __future__ import annotations

from pathlib import Path

from emulators.lessons.stage import Stage, expect
from emulators.lessons.story import choose, read
from netinfo.credential import credential
from netinfo.starter import PASSWORDS
from wire.capture.messages import RpcMessage
from wire.formats.netinfo import NETINFO, LookupArgs, NiId, NiStatus, PropArgs, WritePropArgs
from wire.formats.rpc import Call

UID = 101
NEW = b"anABErWqW8xEs"
"""What crypt(3) makes of ann's next password, `easel`, with the salt `an`."""


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    domain = await stage.tcp(lab.reached("domain network"), NETINFO)
    users = (await domain.call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"users"))).body.ids[0]
    number = (await domain.call("LOOKUP", LookupArgs(NiId(users, 0), b"name", b"ann"))).body.ids[0]
    names = (await domain.call("LISTPROPS", NiId(number, 0))).body
    index = names.names.index(b"passwd")
    await domain.call("READPROP", PropArgs(names.self_id, index))

    change = WritePropArgs(names.self_id, index, (NEW,))
    expected = [
        (credential(UID, b"guess"), NiStatus.NI_AUTHERROR),
        (credential(UID, PASSWORDS[b"network"][b"ann"]), NiStatus.NI_OK),
    ]
    refused = await domain.call("WRITEPROP", change)
    expect(refused.status == NiStatus.NI_PERM, f"a write by nobody gave {refused.status!r}")
    for who, status in expected:
        result = await domain.call("WRITEPROP", change, credential=who)
        expect(result.status == status, f"the write gave {result.status!r}")


def _inverted(capture: Path) -> str:
    """The machine name of the write that was accepted, bit by bit."""
    message = choose(read(capture), "WRITEPROP call", 3)
    assert isinstance(message, RpcMessage)
    assert message.header is not None
    assert isinstance(message.header.body, Call)
    name = message.header.body.credential.body.machine  # type: ignore[union-attr]
    plain = bytes(byte ^ 0xFF for byte in name)
    rows = (
        ("on the wire", [f"{byte:02x}" for byte in name]),
        ("bits", [f"{byte:08b}" for byte in name]),
        ("inverted", [f"{byte:08b}" for byte in plain]),
        ("a letter", [chr(byte) for byte in plain]),
    )
    return "\n".join(
        f"{title:12} {' '.join(f'{cell:8}' for cell in cells)}".rstrip() for title, cells in rows
    )


FIGURES = {"inverted": _inverted}
