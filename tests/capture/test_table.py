"""wire.capture.table: one typed schema for every capture, and the values that the formats have."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tests.capture.frames import call, datagrams, messages, reply, talk
from tests.capture.test_recording import secret_call
from tests.capture.test_sup import session
from tests.strategies import A_FEW_EACH, values
from wire.capture.commands.dissect import dissect
from wire.capture.messages import Message
from wire.capture.rpc import PROGRAMS
from wire.capture.table import cell, row, schema, write_table
from wire.formats.netinfo import LookupArgs, LookupBody, NiId, NiStatus, Result
from wire.formats.record import View
from wire.formats.rpc import Procedure

CAPTURES = Path(__file__).parent.parent / "captures"
PROCEDURES = [procedure for program in PROGRAMS.values() for procedure in program.procedures]


def table(found: list[Message], path: Path) -> list[dict[str, Any]]:
    write_table(path, "a.pcap", iter(found))
    made = parquet.read_table(path)
    assert made.schema.equals(schema())
    rows: list[dict[str, Any]] = made.to_pylist()
    return rows


def test_a_lookup(tmp_path: Path) -> None:
    answer = Result(NiStatus.NI_OK, LookupBody((7, 8), NiId(0, 5)))
    asked, told = table(
        messages(
            datagrams(
                ("client", call("LOOKUP", LookupArgs(NiId(0, 5), b"name", b"caf\xe9"))),
                ("server", reply("LOOKUP", answer)),
            )
        ),
        tmp_path / "t.parquet",
    )
    assert asked["netinfo"]["LOOKUP"]["argument"] == {
        "id": {"object": 0, "instance": 5},
        "key": "name",
        "value": "caf\\xe9",
    }
    assert (asked["file"], asked["name"], asked["kind"], asked["latency"]) == (
        "a.pcap",
        "LOOKUP",
        "call",
        None,
    )
    assert asked["time"] == datetime(1970, 1, 1, 0, 0, 0, 100_000, UTC)
    assert asked["sup"] is None
    assert told["netinfo"]["LOOKUP"]["result"]["body"] == {
        "ids": [7, 8],
        "self_id": {"object": 0, "instance": 5},
    }
    assert (told["status"], told["call"], told["client"]) == ("NI_OK", 1, "10.0.0.1:700")


def test_a_sup_session(tmp_path: Path) -> None:
    rows = table(messages(talk(*session(packed=True))), tmp_path / "t.parquet")
    received = next(one for one in rows if one["name"] == "RECV")
    assert received["sup"]["RECV"]["mode"] == 0o100644
    assert isinstance(received["sup"]["RECV"]["mtime"], datetime)
    assert received["data_size"] != received["unpacked"]


@pytest.mark.parametrize("procedure", PROCEDURES, ids=lambda procedure: procedure.name)
@A_FEW_EACH
@given(data=st.data())
def test_every_value_has_its_cell(procedure: Procedure, data: st.DataObject) -> None:
    for kind in (procedure.argument, procedure.result):
        kept = cell(kind, View.PLAIN)
        value = data.draw(values(kind))
        if kept is not None and value is not None:
            json.dumps(pa.array([kept.of(value)], kept.type).to_pylist(), default=str)


def test_every_recording(tmp_path: Path) -> None:
    found = sorted(CAPTURES.glob("*/*.pcap"))
    ran = CliRunner().invoke(dissect, [*map(str, found), "--parquet", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    made = [parquet.read_table(tmp_path / f"{path.name}.parquet") for path in found]
    assert sum(one.num_rows for one in made) > 1500
    assert all(one.schema.equals(schema()) for one in made)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_secrets_are_blanked_before_they_are_written() -> None:
    (found,) = messages(datagrams(("client", secret_call())))
    from wire.capture.redact import redacted

    machine = row("f", redacted(found))["credential"]["body"]["AuthUnix"]["machine"]
    assert set(machine) == {"*"}
    assert row("f", found)["credential"]["body"]["AuthUnix"]["machine"] != machine


def test_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    (found,) = messages(datagrams(("client", secret_call())))
    write_table(tmp_path / "t.parquet", "captures/\udcff.pcap", [found])
    assert parquet.read_table(tmp_path / "t.parquet")["file"].to_pylist() == ["captures/\\xff.pcap"]


def test_nothing_is_left_where_the_table_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_table(tmp_path / "t.parquet", "a.pcap", iter(()))
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
