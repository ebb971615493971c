"""The docs' tables: every message, number and procedure is in them, under names that its links find."""

from __future__ import annotations

import re
from enum import Enum
from importlib import import_module
from pathlib import Path

import pytest

from wire.formats import netinfo, portmap, rpc, sup
from wire.formats.record import VOCABULARY, of
from wire.formats.rpc import Program
from wire.reference import condition_of, expand, name_of, pages

MODULES = ("rpc", "portmap", "netinfo", "nibind", "sup")
PROTOCOL = Path(__file__).parent.parent.parent / "docs" / "protocol"


def page(module: str) -> str:
    return "\n".join(pages(import_module(f"wire.formats.{module}")))


def field(cls: type, name: str) -> str:
    """The row of a field in the table of its message."""
    module = cls.__module__.rpartition(".")[2]
    section = page(module).partition(f"### {cls.__name__}\n")[2].partition("###")[0]
    return next(line for line in section.splitlines() if line.startswith(f"| `{name}` |"))


@pytest.mark.parametrize("module", MODULES)
def test_every_message_and_every_field_has_its_row(module: str) -> None:
    text = page(module)
    defined = import_module(f"wire.formats.{module}")
    messages = [
        cls
        for cls in vars(defined).values()
        if isinstance(cls, type) and cls.__module__ == defined.__name__ and hasattr(cls, "FORMAT")
    ]
    assert messages
    for cls in messages:
        section = text.partition(f"### {cls.__name__}\n")[2].partition("\n### ")[0]
        for part in of(cls).fields:
            assert f"| `{part.name}` | {name_of(part)} |" in section
            assert part.docs in section


@pytest.mark.parametrize("module", MODULES)
def test_every_program_and_every_named_number_is_listed(module: str) -> None:
    text = page(module)
    defined = import_module(f"wire.formats.{module}")
    for program in (value for value in vars(defined).values() if isinstance(value, Program)):
        for procedure in program.procedures:
            assert f"| {procedure.number} | `{procedure.name}` |" in text
    for enum in vars(defined).values():
        if isinstance(enum, type) and issubclass(enum, Enum) and enum.__module__ == defined.__name__:
            assert all(f"`{member.name}` |" in text for member in enum)


def test_every_link_has_its_target_on_one_of_the_pages() -> None:
    everything = "\n".join(page(module) for module in MODULES)
    targets = re.findall(r"^\(([^)]+)\)=$", everything, re.MULTILINE)
    assert len(targets) == len(set(targets))
    assert set(re.findall(r"\]\(#([^)]+)\)", everything)) <= set(targets)


def test_tables_have_as_many_cells_in_each_row_as_in_the_head() -> None:
    for module in MODULES:
        cells = 0
        for line in page(module).splitlines():
            if not line.startswith("|"):
                cells = 0
                continue
            here = len(re.findall(r"(?<!\\)\|", line))
            assert cells in (0, here), line
            cells = here


def test_wire_types_are_called_as_the_protocols_call_them() -> None:
    assert "`opaque<65535>`" in field(netinfo.LookupArgs, "key")
    assert "[NiId](#netinfo-niid)" in field(netinfo.LookupArgs, "id")
    assert "array of at most 16: unsigned int" in field(rpc.AuthUnix, "gids")
    assert "IPv4 address" in field(netinfo.Binding, "address")
    assert "STRING or NULL" in field(sup.Setup, "hostbase")
    assert "bare number 103" in field(sup.Setup, "type")
    assert "CALL: [Call](#rpc-call); REPLY: [Reply](#rpc-reply)" in field(rpc.Message, "body")
    assert name_of(portmap.PORTMAP.by_name["DUMP"].result) == "linked list: [Mapping](#portmap-mapping)"
    lookup = netinfo.NETINFO.by_name["LOOKUP"].result
    assert name_of(lookup) == "[Result](#netinfo-result) with [LookupBody](#netinfo-lookupbody)"


def test_conditions_are_words() -> None:
    said = {part.name: condition_of(part.subcon) for part in of(sup.Recv).fields}
    assert said["name"] == ""
    assert said["mode"] == "name is not NULL"
    assert said["size"].endswith(
        "(mode & 0o170000) == 0o100000 and (flags & 8) == 0 and not session's list_only"
    )


def test_what_no_format_uses_has_no_name() -> None:
    with pytest.raises(TypeError, match="is not a wire type"):
        name_of(object())
    assert all(name_of.dispatch(kind) is not name_of.dispatch(object) for kind in VOCABULARY)


@pytest.mark.parametrize("module", MODULES)
def test_a_page_of_the_docs_has_a_place_for_each_module(module: str) -> None:
    text = (PROTOCOL / f"messages-{module}.md").read_text()
    assert f"<!-- messages: {module} -->" in text
    assert page(module) in expand(text)


def test_a_page_without_a_place_stays_as_it_is() -> None:
    assert expand("# Title\n\ntext\n") == "# Title\n\ntext\n"


def test_a_place_for_a_module_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        expand("<!-- messages: gopher -->")
