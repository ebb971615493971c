"""Lesson 3: portmapper and binder. Three questions lead from a host's name to a domain's directory."""

from __future__ import annotations

from emulators.lessons.stage import Stage, expect
from wire.formats.netinfo import NETINFO
from wire.formats.nibind import NIBIND
from wire.formats.portmap import IPPROTO_UDP, PORTMAP, Mapping
from wire.transport.tap import Address


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    portmapper = await stage.udp(lab.reached("portmapper"), PORTMAP)
    port = await portmapper.call("GETPORT", Mapping(NETINFO.number, NETINFO.version, IPPROTO_UDP, 0))
    expect(port == 0, "the portmapper knows a domain server")
    port = await portmapper.call("GETPORT", Mapping(NIBIND.number, NIBIND.version, IPPROTO_UDP, 0))
    expect(port == lab.reached("nibindd").port, f"the portmapper named port {port}")

    binder = await stage.udp(Address(lab.address, port), NIBIND)
    missing = await binder.call("GETREGISTER", b"payroll")
    expect(missing.body is None, "the binder knows a domain called payroll")
    found = await binder.call("GETREGISTER", b"network")
    expect(found.body is not None, "the binder does not know the domain network")

    domain = await stage.tcp(Address(lab.address, found.body.tcp_port), NETINFO)
    root = await domain.call("ROOT")
    expect(root.body.object == 0, f"the root has number {root.body.object}")
