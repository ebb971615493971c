"""The command `supscan`: which collections it scans, and what it says."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sup.commands.supscan import is_own, main
from tests.interop.trees import collection, write


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        collection(tmp_path / name, "upgrade data\n", name)
        write(tmp_path, f"{name}/data/a")
    return tmp_path


def scanned(base: Path, name: str) -> bool:
    return (base / name / "sup" / name / "scan").exists()


def test_a_collection_and_its_base(base: Path) -> None:
    ran = run("one", base / "one")
    assert ran.exit_code == 0
    assert ran.output.startswith("SUP Scan for one starting at ")
    assert "2 names in scan" in ran.output
    assert "SUP Scan for one completed at " in ran.output
    assert scanned(base, "one")
    assert run("-q", "one", base / "one").output == ""
    assert "Scanning directory data\n" in run("-v", "one", base / "one").output


def test_a_file_of_collections(base: Path) -> None:
    (base / "dirs").write_text(f"one {base}/one\ntwo = {base}/two\n")
    assert run("-f", base / "dirs", "two").exit_code == 0
    assert (scanned(base, "one"), scanned(base, "two")) == (False, True)
    assert run("-f", base / "dirs").exit_code == 0
    assert scanned(base, "one")


def test_the_servers_configuration(base: Path) -> None:
    (base / "c.toml").write_text(f'[collections.one]\nbase = "{base}/one"\n')
    assert run("--config", base / "c.toml", "one").exit_code == 0
    assert scanned(base, "one")


def test_the_collections_of_this_host(base: Path) -> None:
    (base / "coll.dir").write_text(f"one {base}/one\ntwo {base}/two\n")
    (base / "coll.host").write_text(f"one elsewhere.invalid, {socket.gethostname()}\ntwo elsewhere.invalid\n")
    (base / "c.toml").write_text(f'supfiles = "{base}"\n')
    assert run("--config", base / "c.toml", "-s").exit_code == 0
    assert (scanned(base, "one"), scanned(base, "two")) == (True, False)
    (base / "coll.host").unlink()
    ran = run("--config", base / "c.toml", "-s")
    assert ran.exit_code == 1
    assert "Unable to open" in ran.output


def test_names_of_this_host() -> None:
    assert is_own("vm", "vm")
    assert is_own("vm", "vm.example.org")
    assert is_own("vm.example.org", "vm")
    assert not is_own("v", "vm")
    assert not is_own("vm2", "vm")


def test_failures_are_told_and_others_go_on(base: Path) -> None:
    (base / "one/sup/one/list").write_text("nonsense\n")
    (base / "dirs").write_text(f"one {base}/one\ntwo {base}/two\nthree {base}/three\n")
    ran = run("-f", base / "dirs")
    assert ran.exit_code == 1
    assert "supscan: Invalid list file keyword nonsense" in ran.output
    assert "SUP: Scan for one aborted at " in ran.output
    assert "SUP: Scan for three aborted at " in ran.output
    assert scanned(base, "two")


def test_a_scan_file_elsewhere(base: Path) -> None:
    (base / "one/sup/one/releases").write_text("default scan=../x\n")
    ran = run("one", base / "one")
    assert ran.exit_code == 1
    assert "supscan: the name ../x would leave the base directory" in ran.output


def test_what_is_the_matter_with_a_file(base: Path) -> None:
    (base / "one/sup/one/list").unlink()
    (base / "one/sup/one/list").mkdir()
    assert "Can't read list file sup/one/list (not a regular file)" in run("one", base / "one").output


def test_names_that_no_scan_file_can_hold(base: Path) -> None:
    write(base, "one/data/new\nline")
    ran = run("-q", "one", base / "one")
    assert ran.exit_code == 1
    assert ran.output == "supscan: data/new\\nline cannot be in a scan file: a newline is in its name\n"
    assert scanned(base, "one")


@pytest.mark.parametrize("arguments", [(), ("-s", "one"), ("-f", "/no/such"), ("-x",), ("a", "b", "c")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_name_that_cannot_be_a_collection(base: Path) -> None:
    ran = run("../one", base / "one")
    assert ran.exit_code == 1
    assert "cannot be the name of a collection" in ran.output


def test_the_compatibility_switch(base: Path) -> None:
    (base / "one/sup/one/list").write_text("upgrade .\n")
    run("one", base / "one")
    assert b" sup\n" not in (base / "one/sup/one/scan").read_bytes()
    run("--historic", "one", base / "one")
    assert b" sup\n" in (base / "one/sup/one/scan").read_bytes()
