"""The NetInfo binder's messages (NETINFO 1.2, 4.2): which domain tag listens where.

ONC RPC program 200100001 version 1.
"""

from __future__ import annotations

from wire.formats.netinfo import NAME, STATUS, result
from wire.formats.record import View
from wire.formats.rpc import Procedure, Program
from wire.formats.xdr import U32, VOID, Array, message, of, wire

REGISTRATION_LIMIT = 32
"""Most registrations in LISTREG's reply; the encoding fails beyond (NETINFO 1.2)."""


@message
class AddrInfo:
    """nibind_addrinfo: a domain server's ports, as plain numbers."""

    udp_port: int = wire(U32, "UDP port")
    tcp_port: int = wire(U32, "TCP port")


@message
class Registration:
    """nibind_registration: a domain tag and its server's ports."""

    tag: bytes = wire(NAME, "domain tag")
    addresses: AddrInfo = wire(of(AddrInfo), "where its server listens")


@message
class CloneArgs:
    """Arguments of CREATECLONE (nibind_clone_args)."""

    tag: bytes = wire(NAME, "tag of the clone to be made here")
    master_name: bytes = wire(NAME, "host name of the master")
    master_address: int = wire(U32, "its IPv4 address", view=View.IPV4)
    master_tag: bytes = wire(NAME, "the domain's tag there")


@message
class BindArgs:
    """Arguments of BIND (nibind_bind_args): would the server of one tag here be the parent of that client?"""

    client_address: int = wire(U32, "IPv4 address of the server that seeks its parent", view=View.IPV4)
    client_tag: bytes = wire(NAME, "that server's domain tag")
    server_tag: bytes = wire(NAME, "tag, here, of the domain it seeks")


NIBIND = Program(
    "nibind",
    200100001,
    1,
    (
        Procedure(0, "PING", VOID, VOID, "does nothing; shows that the binder lives"),
        Procedure(1, "REGISTER", of(Registration), STATUS, "a domain server tells its ports", mutates=True),
        Procedure(2, "UNREGISTER", NAME, STATUS, "forgets a tag", mutates=True),
        Procedure(3, "GETREGISTER", NAME, result(AddrInfo), "the ports of a tag"),
        Procedure(4, "LISTREG", VOID, result(Array(Registration, REGISTRATION_LIMIT)), "all registrations"),
        Procedure(5, "CREATEMASTER", NAME, STATUS, "makes a new domain here", mutates=True),
        Procedure(6, "CREATECLONE", of(CloneArgs), STATUS, "makes a clone of a domain here", mutates=True),
        Procedure(
            7, "DESTROYDOMAIN", NAME, STATUS, "ends a domain's server and deletes its database", mutates=True
        ),
        Procedure(
            8, "BIND", of(BindArgs), VOID, "passes the question on to the tag's server; silence means no"
        ),
    ),
)
