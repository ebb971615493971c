"""The name server of protocol 4 and 5 (SUP 2.19): which hosts serve a collection?

Clients of that time asked it, on port 869, about every collection whose supfile named no host; version 7
replaced it by the file coll.host. The order of a conversation:

 1. probe, SIGNON of its own kind  -> its acknowledgement
 2. NCOLL                          -> NHOST, as often as the client likes
 3. GOAWAY
"""

import os
from collections.abc import Mapping
from contextlib import suppress

import attrs
from twisted.logger import Logger

from sup.channel import Channel, ConnectionClosed, IdleTimeout, PeerGoaway, UnexpectedMessage
from sup.report import printable
from wire.codec import FormatError
from wire.formats.sup import NEWEST_VERSION, Goaway, NameSignon, NameSignonAck, Ncoll, Nhost

PROGRAM_VERSION = 1
SCM_VERSION = b"4.3 BSD"

log = Logger()


async def answer(channel: Channel, hosts: Mapping[bytes, tuple[str, ...]]) -> None:
    """Answer one client's questions from `hosts`, collection by collection.

    A client of version 4 can be told one host only, and an empty name if the collection is unknown.
    """
    try:
        await channel.receive_probe()
        signon = await channel.receive(NameSignon)
        channel.params = attrs.evolve(channel.params, version=signon.protocol)
        channel.send(NameSignonAck(NEWEST_VERSION, PROGRAM_VERSION, SCM_VERSION, os.getpid()))
        while True:
            question = await channel.receive(Ncoll)
            found = tuple(host.encode() for host in hosts.get(question.collection, ()))
            first = found[0] if found else b""
            channel.send(Nhost(host=first) if channel.params.version < 5 else Nhost(hosts=found))
            log.info(
                "{peer}: {collection} is served by {hosts}",
                peer=channel.peer,
                collection=printable(question.collection),
                hosts=" ".join(hosts.get(question.collection, ("nobody known",))),
            )
    except PeerGoaway:
        return
    except (ConnectionClosed, IdleTimeout) as error:
        log.info("{peer}: {error}", peer=channel.peer, error=error)
    except (UnexpectedMessage, FormatError) as error:
        log.info("{peer}: not a question to the name server: {error}", peer=channel.peer, error=error)
        with suppress(ConnectionClosed):
            channel.send(Goaway(b"Error reading name request from client"))
