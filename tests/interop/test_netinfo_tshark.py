"""What our servers and tools say, as tshark sees it: ONC RPC without a malformed packet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.netinfo.served import process
from tests.netinfo.tools import Tool, tool
from wire.formats.netinfo import NETINFO
from wire.formats.nibind import NIBIND
from wire.formats.portmap import PORTMAP

__all__ = ["tool"]

pytestmark = pytest.mark.interop


def test_tshark_finds_no_malformed_rpc(tmp_path: Path, tool: Tool, tshark: Callable[..., str]) -> None:
    recording = tmp_path / "session.pcapng"
    with process(tmp_path / "state") as host:
        session = b"""read /users/ann
ls /machines serves
create /users/zed uid 7
append /users/zed note a b
rename /users/zed note remark
rm /users/zed
stats
rparent
read /nowhere
"""
        ran = tool("nicl", "-t", "--pcap", str(recording), host.by_tag(), stdin=session)
        assert ran.code == 105, "the last command's"
        ports = {
            name: place.rpartition(":")[2]
            for name, place in (("udp", host.portmapper), ("tcp", host.network))
        }
    decode = ["-o", "rpc.dissect_unknown_programs:TRUE"]
    decode += [option for kind, port in ports.items() for option in ("-d", f"{kind}.port=={port},rpc")]
    assert tshark("-r", recording, *decode, "-Y", "_ws.malformed || _ws.expert.severity == error") == ""
    programs = set(tshark("-r", recording, *decode, "-Y", "rpc", "-T", "fields", "-e", "rpc.program").split())
    assert (
        {str(PORTMAP.number), str(NETINFO.number)}
        <= programs
        <= {str(program.number) for program in (PORTMAP, NIBIND, NETINFO)}
    )
    procedures = tshark(
        "-r", recording, *decode, "-Y", f"rpc.program == {NETINFO.number} && rpc.msgtyp == 0", "-T", "fields",
        "-e", "rpc.procedure",
    )  # fmt: skip
    called = {NETINFO.by_number[int(number)].name for number in procedures.replace(",", " ").split()}
    assert {"ROOT", "LOOKUP", "READ", "LIST", "CREATE", "DESTROY", "STATISTICS", "RPARENT"} <= called
