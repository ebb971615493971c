"""Lesson 6: stale instances. Two administrators, and a call that arrives twice: each change is made at most once."""

from __future__ import annotations

from emulators.lessons.stage import Stage, expect
from netinfo.credential import credential
from netinfo.starter import PASSWORDS
from wire.formats.netinfo import NETINFO, NI_INDEX_NULL, CreateNameArgs, LookupArgs, NiId, NiStatus, PropArgs
from wire.transport.record import mark
from wire.transport.rpc_client import RpcClient
from wire.transport.rpc_message import build_call

XID_OF_THE_REPEATED = 0x19940527


async def play(stage: Stage) -> None:
    lab = await stage.lab()
    address = lab.reached("domain network")
    root = credential(0, PASSWORDS[b"network"][b"root"])
    one, two = await stage.tcp(address, NETINFO), await stage.tcp(address, NETINFO)

    aliases = (await one.call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"aliases"))).body.ids[0]
    number = (await one.call("LOOKUP", LookupArgs(NiId(aliases, 0), b"name", b"class"))).body.ids[0]
    seen, index = await _members(one, number)
    await _members(two, number)

    added = await two.call("CREATENAME", CreateNameArgs(seen, index, b"dora", NI_INDEX_NULL), credential=root)
    expect(added.body == NiId(number, seen.instance + 1), f"the first change gave {added!r}")
    late = CreateNameArgs(seen, index, b"carl", NI_INDEX_NULL)
    refused = await one.call("CREATENAME", late, credential=root)
    expect(refused.status == NiStatus.NI_STALE, f"the change from an old look gave {refused.status!r}")
    seen, index = await _members(one, number)

    change = CreateNameArgs(seen, index, b"carl", NI_INDEX_NULL)
    call = build_call(XID_OF_THE_REPEATED, NETINFO, NETINFO.by_name["CREATENAME"], change, root)
    for _ in range(2):
        answer = await stage.say(address, mark(len(call)) + call, patience=0.3)
        expect(len(answer) > 0, "the repeated call was not answered")
    members = await one.call("READPROP", PropArgs(NiId(number, 0), index))
    expect(
        members.body.names == (b"ann", b"ben", b"dora", b"carl"), f"the alias is now {members.body.names!r}"
    )


async def _members(client: RpcClient, number: int) -> tuple[NiId, int]:
    """Look at a directory: its current id, and where its members stand."""
    properties = (await client.call("READ", NiId(number, 0))).body
    return properties.id, [each.name for each in properties.properties].index(b"members")
