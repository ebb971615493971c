"""Lesson 10: what a stranger could do to a NetInfo server of 1990, and to the same server with three guards."""

from __future__ import annotations

from pathlib import Path

from emulators.lessons.stage import PATIENCE, Stage, expect
from emulators.lessons.story import choose, read
from netinfo.access import HISTORIC, Guards
from netinfo.credential import credential
from netinfo.passwords import crypt_matches
from netinfo.properties import values_of
from netinfo.rawformat import load, plant
from netinfo.server import DomainServer
from netinfo.settings import Settings
from netinfo.superuser import OwnAddresses
from wire.capture.messages import RpcMessage
from wire.formats.netinfo import NETINFO, LookupArgs, NiId, NiStatus, WritePropArgs
from wire.transport.rpc_client import RpcClient

DOMAIN = b"""{ "master" = ( "srv/network" ); CHILDREN = (
  { "name" = ( "machines" ); CHILDREN = (
    { "name" = ( "srv" ); "ip_address" = ( "192.42.172.1" ); "serves" = ( "./network" ); } ) },
  { "name" = ( "users" ); CHILDREN = (
    { "name" = ( "ann" ); "passwd" = ( "anSWiXamh5bAA" ); "uid" = ( "101" ); "_writers_passwd" = ( "ann" ); } ) } ) }"""
USERS, ANN, UID, PASSWD = 3, 4, 101, 1
"""The numbers of two directories, ann's uid, and where her password stands among her properties."""
GUESSES = (b"secret", b"ann", b"paper", b"brush", b"easel")
PASSWORD = b"pencil"
WORDS = (
    b"apple",
    b"brush",
    b"canvas",
    b"easel",
    b"frame",
    b"paint",
    b"palette",
    b"paper",
    b"pencil",
    b"sketch",
)


class Nobody(OwnAddresses):
    """The lesson's stranger is on the server's host, and shall not be known."""

    def __call__(self, host: str) -> bool:
        return False


async def play(stage: Stage) -> None:
    settings = Settings(address="192.42.172.1", taps=[stage.record], guards=HISTORIC)
    server = DomainServer(stage.reactor, b"network", plant(load(DOMAIN)), settings)
    server.service.own = Nobody()
    address = await server.start(0)
    stage.recording = True
    try:
        stranger = await stage.tcp(address, NETINFO)
        seen = await _look(stranger)
        expect(seen == (b"anSWiXamh5bAA",), f"the stranger saw {seen!r}")
        everything = await stranger.call("READALL", 0)
        expect(len(everything.body.objects) == 5, f"READALL gave {everything!r}")
        status = await _guess(stranger, 1)
        expect(status == NiStatus.NI_OK, f"the right password gave {status!r}")

        server.domain.access.guards = Guards()
        stranger = await stage.tcp(address, NETINFO)
        seen = await _look(stranger)
        expect(seen == (), f"the stranger still saw {seen!r}")
        everything = await stranger.call("READALL", 0)
        expect(everything.status == NiStatus.NI_PERM, f"READALL gave {everything.status!r}")
        status = await _guess(stranger, 2)
        expect(status == NiStatus.NI_AUTHERROR, f"after five guesses the right password gave {status!r}")
    finally:
        await server.stop()


async def _look(client: RpcClient) -> tuple[bytes, ...]:
    """What this client sees of ann's password."""
    ann = await client.call("LOOKUPREAD", LookupArgs(NiId(USERS, 0), b"name", b"ann"))
    return values_of(ann.body.properties, b"passwd")


async def _guess(client: RpcClient, instance: int) -> NiStatus:
    """Try wrong passwords, then the right one, to change ann's; what came of the last."""
    for word in (*GUESSES, PASSWORD):
        change = WritePropArgs(NiId(ANN, instance), PASSWD, (b"anSWiXamh5bAA",))
        result = await client.call("WRITEPROP", change, credential=credential(UID, word), timeout=PATIENCE)
    return NiStatus(result.status)


def _cracked(capture: Path) -> str:
    """The hash that the stranger read, and the words of a list tried on it."""
    message = choose(read(capture), "LOOKUPREAD reply")
    assert isinstance(message, RpcMessage)
    (stored,) = values_of(message.value.body.properties, b"passwd")
    lines = [f"{'read':12} {stored.decode()}"]
    for word in WORDS:
        fits = crypt_matches(word, stored)
        lines.append(f"{word.decode():12} {'fits' if fits else 'no'}")
        if fits:
            break
    return "\n".join(lines)


FIGURES = {"cracked": _cracked}
