"""Lesson 4: a user lookup that climbs from the domain `local` to its parent."""

from __future__ import annotations

from emulators.lessons.stage import Stage, expect
from netinfo.addresses import to_text
from wire.formats.netinfo import NETINFO, LookupArgs, NiId, NiStatus
from wire.formats.nibind import NIBIND
from wire.formats.portmap import IPPROTO_UDP, PORTMAP, Mapping
from wire.transport.rpc_client import RpcClient
from wire.transport.tap import Address

ROOT = NiId(0, 0)
USER = b"ann"


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    local = await stage.tcp(lab.reached("domain local"), NETINFO)
    expect(await _user(local) is None, "the domain local has a user ann")
    binding = (await local.call("RPARENT")).body
    expect(binding.tag == b"network", f"the parent is called {binding.tag!r}")

    host = to_text(binding.address)
    portmapper = await stage.udp(Address(host, lab.reached("portmapper").port), PORTMAP)
    port = await portmapper.call("GETPORT", Mapping(NIBIND.number, NIBIND.version, IPPROTO_UDP, 0))
    binder = await stage.udp(Address(host, port), NIBIND)
    ports = (await binder.call("GETREGISTER", binding.tag)).body

    parent = await stage.tcp(Address(host, ports.tcp_port), NETINFO)
    expect(await _user(parent) is not None, "the domain network has no user ann")
    top = await parent.call("RPARENT")
    expect(top.status == NiStatus.NI_NETROOT, f"above the domain network is {top!r}")


async def _user(domain: RpcClient) -> object:
    """The properties of the user in one domain; None if it has no such user."""
    users = (await domain.call("LOOKUP", LookupArgs(ROOT, b"name", b"users"))).body.ids[0]
    found = await domain.call("LOOKUPREAD", LookupArgs(NiId(users, 0), b"name", USER))
    return found.body
