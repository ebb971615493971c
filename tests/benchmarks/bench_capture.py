"""`ghostports dissect` against tshark with our Lua plugin, on one capture of small RPC messages.

Each is a whole run of the program, its start included, which prints one line a packet or message. The ratio stands in
brackets behind the mean; dissect is to read at least 50,000 packets a second on one core.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.capture.frames import call, pcap_file, record, reply, segment
from tests.capture.test_wireshark import as_frame
from tests.peers import peer
from wire.capture.wireshark import plugin
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Result

PACKETS = 100_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lookups and their answers on one TCP connection, no packet without a message."""
    path = tmp_path_factory.mktemp("bench") / "lookups.pcap"
    client = server = 1
    frames = []
    for number in range(PACKETS // 2):
        ask = record(call("LOOKUP", LookupArgs(NiId(0, 0), b"name", b"host%d" % (number % 1000)), number))
        answer = record(
            reply("LOOKUP", Result(NiStatus.NI_OK, LookupBody((number % 1000,), NiId(1, 5))), number)
        )
        frames.append(as_frame(segment(ask, client, ack=server)))
        client += len(ask)
        frames.append(as_frame(segment(answer, server, ack=client, back=True)))
        server += len(answer)
    path.write_bytes(pcap_file(*frames).getvalue())
    return path


@pytest.mark.parametrize("way", ["dissect", "dissect --stats", "tshark with our plugin"])
def test_packets_a_second(way: str, capture: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    benchmark.group = f"dissecting {PACKETS:,} packets"
    if way.startswith("dissect"):
        command = [sys.executable, "-m", "emulators.cli", *way.split(), str(capture)]
    else:
        script = tmp_path / "ghostports.lua"
        script.write_text(plugin(), encoding="utf-8")
        command = [peer("tshark"), "-X", f"lua_script:{script}", "-r", str(capture)]
    environment = {**os.environ, "HOME": str(tmp_path)}

    def run() -> None:
        subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    measured: Any = benchmark
    measured.pedantic(run, rounds=3 if way.startswith("dissect") else 1, iterations=1)
    measured.extra_info["packets a second"] = round(PACKETS / measured.stats.stats.min)
