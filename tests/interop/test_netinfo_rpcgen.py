"""A C client made by rpcgen from docs/*.x over libtirpc: every procedure of both programs, answered as
written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netinfo.client.blocking import BlockingNetwork
from netinfo.client.names import Portmapper
from netinfo.client.network import run
from netinfo.client.servers import find_binder
from tests.netinfo import served
from tests.peers import Missing, peer
from wire.formats.netinfo import NETINFO, NiStatus
from wire.formats.nibind import NIBIND
from wire.formats.portmap import IPPROTO_TCP
from wire.formats.rpc import Program

ROOT = Path(__file__).parents[2]
HEADERS = Path("/usr/include/tirpc")

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def c_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled; the .x files are those of the manual."""
    build = tmp_path_factory.mktemp("rpcgen")
    rpcgen, compiler = peer("rpcgen"), peer("cc")
    if not (HEADERS / "rpc" / "rpc.h").exists():
        raise Missing("no libtirpc headers on this machine: install the Debian package libtirpc-dev")
    for name in ("netinfo", "nibind"):
        (build / f"{name}.x").write_bytes((ROOT / "docs" / f"{name}.x").read_bytes())
        for flag, made in (("-h", f"{name}.h"), ("-c", f"{name}_xdr.c"), ("-l", f"{name}_clnt.c")):
            subprocess.run([rpcgen, "-C", flag, "-o", made, f"{name}.x"], cwd=build, check=True, timeout=60)
    sources = ["netinfo_xdr.c", "nibind_xdr.c", str(ROOT / "tests" / "interop" / "netinfo_client.c")]
    flags = ["-O1", "-Wall", "-Werror", "-Wno-unused-variable", "-I.", f"-I{HEADERS}"]
    subprocess.run(
        [compiler, *flags, "-o", "client", *sources, "-ltirpc"], cwd=build, check=True, timeout=120
    )
    return build / "client"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[served.Served]:
    with served.process(tmp_path) as running:
        yield running


def lines_of(output: str) -> dict[str, list[str]]:
    """What the client printed, by what it called; some procedures it calls more than once."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        name, _, said = line.partition(":")
        found.setdefault(name, []).append(said.strip())
    return found


def test_every_procedure_answers_a_client_made_by_rpcgen(c_client: Path, host: served.Served) -> None:
    ports = binder_and_domain(host, "fresh")
    ran = subprocess.run(
        [c_client, "127.0.0.1", *map(str, ports), "fresh"], capture_output=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    said = lines_of(ran.stdout.decode())
    reading = {
        "NI_PING": ["ok"],
        "NI_STATISTICS": ["checksum (10)"],
        "NI_SELF": ["0 1.2"],
        "NI_PARENT": ["0 0 1.2"],
        "NI_CHILDREN": ["0 [1] 0.3"],
        "NI_LISTPROPS": ["0 (name)"],
        "NI_READPROP": ["0 (./fresh)"],
        "NI_READNAME": ["0 srv"],
        "NI_LOOKUP": ["0 2"],
        "NI_LOOKUPREAD": ["0 1.2 name (srv) ip_address (127.0.0.1) serves (./fresh)"],
        "NI_LIST": ["0 2 (./fresh)"],
        "NI_LISTALL": ["0 name (srv) ip_address (127.0.0.1) serves (./fresh)"],
        "NI_RPARENT": [str(NiStatus.NI_NETROOT.value)],
    }
    writing = {
        "NI_ROOT": ["0 0.3", "0 0.3"],
        "NI_CREATE": ["0 3.1 0.4"],
        "NI_CREATEPROP": ["0 3.2"],
        "NI_RENAMEPROP": ["0 3.3"],
        "NI_WRITEPROP": ["0 3.4"],
        "NI_CREATENAME": ["0 3.5"],
        "NI_WRITENAME": ["0 3.6"],
        "NI_DESTROYNAME": ["0 3.7"],
        "NI_READ": ["0 master (srv/fresh)", "0 remark (B,c) name (x)"],
        "NI_DESTROYPROP": ["0 3.8"],
        "NI_WRITE": ["0 3.9", str(NiStatus.NI_STALE.value)],
        "NI_DESTROY": ["0 0.5"],
        "NI_READALL": ["0 0.5 1.2 2.1", "0 0 nothing"],
        "NI_CRASHED": ["ok"],
        "NI_RESYNC": ["0"],
    }
    binding = {
        "udp NI_PING": ["0"],
        "udp NI_ROOT": ["denied 5"],
        "udp NI_BIND": ["silence"],
        "udp NIBIND_BIND": ["silence"],
        "NIBIND_PING": ["ok"],
        "NIBIND_REGISTER": ["0"],
        "NIBIND_GETREGISTER": ["0 700 701", str(NiStatus.NI_NOTAG.value)],
        "NIBIND_UNREGISTER": ["0"],
        "NIBIND_LISTREG": ["0 local network fresh"],
        "NIBIND_CREATEMASTER": [str(NiStatus.NI_DUPTAG.value), "0"],
        "ready": ["0"],
        "NIBIND_CREATECLONE": [str(NiStatus.NI_DUPTAG.value)],
        "NIBIND_DESTROYDOMAIN": ["0", str(NiStatus.NI_NOTAG.value)],
    }
    assert said == {**reading, **writing, **binding}


def binder_and_domain(host: served.Served, tag: str) -> tuple[int, int]:
    """Make a domain; its port and the binder's."""
    code = "from netinfo.commands.nidomain import main; main()"

    def nidomain(*argv: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", code, *argv, host.portmapper],
            cwd=ROOT,
            capture_output=True,
            timeout=60,
            check=True,
        )
        return ran.stdout.decode()

    nidomain("-m", tag)
    for _ in range(50):
        listed = {entry["tag"]: entry["tcp"] for entry in json.loads(nidomain("-l", "--json"))}
        if tag in listed:
            break
    place, _, port = host.portmapper.partition(":")
    return listed[tag], run(find_binder(BlockingNetwork(), Portmapper(place, int(port)), IPPROTO_TCP))


@pytest.mark.parametrize(("file", "program"), [("netinfo.x", NETINFO), ("nibind.x", NIBIND)])
def test_the_x_files_have_the_same_procedures_as_the_formats(file: str, program: Program) -> None:
    text = (ROOT / "docs" / file).read_text()
    table = re.findall(r"\s(?:NI|NIBIND)_([A-Z]+)\([^)]*\) = (\d+);", text)
    assert {(name, int(number)) for name, number in table} == {
        (each.name, each.number) for each in program.procedures
    }
    if program is NETINFO:
        statuses = dict(re.findall(r"^    (NI_[A-Z]+) = (\d+)", text, re.MULTILINE))
        assert statuses == {status.name: str(status.value) for status in NiStatus}
