"""The lab's configuration: typed, with errors that name the key."""

from pathlib import Path

import attrs
import pytest

from emulators.config import ConfigError, LabConfig, NetInfoConfig, with_options
from emulators.faults import Faults
from netinfo.ports import ANY, HISTORIC, Ports


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_privileges_and_reach_nobody_else() -> None:
    config = LabConfig()
    assert (config.listen, config.ports, bool(config.faults)) == ("127.0.0.1", Ports(10_000), False)
    assert config.netinfo.superuser == "same-user"


def test_a_file_and_options_that_win(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'listen = "127.0.0.9"\nport_base = 20000\nfault = "drop=0.5"\n'
        '[netinfo]\ngeneration = "apple"\n[netinfo.guards]\nreadall = false\n[netinfo.limits]\nidle = 20\n'
        "[sup]\nmax_clients = 3\n[sup.limits]\nprobe = 1.5\n",
    )
    config = with_options(path, {"port_base": 0, "listen": None})
    assert config.listen == "127.0.0.9"
    assert config.ports == ANY
    assert config.faults == Faults(drop=0.5)
    assert config.netinfo.generation == "apple"
    assert config.netinfo.guards.readall is False
    assert config.netinfo.limits.idle == 20.0
    assert config.sup.max_clients == 3
    assert config.sup.limits.probe == 1.5


def test_historic_ports() -> None:
    assert LabConfig(historic_ports=True).ports == HISTORIC


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("listne = 1", "listne"),
        ("port_base = '1'", "port_base"),
        ("port_base = -1", "port_base"),
        ("port_base = 65000", "port_base"),
        ("console_port = 70000", "console_port"),
        ("console = 1", "console"),
        ('listen = "localhost"', "listen"),
        ('fault = "dorp=1"', "fault"),
        ("[netinfo]\ngeneration = 'sun'", "generation"),
        ("[netinfo]\nsuperuser = 'me'", "superuser"),
        ("[netinfo.limits]\nidle = 0", "idle"),
        ("[netinfo.limits]\nidle = true", "netinfo.limits.idle"),
        ("[sup]\nmax_clients = 1.5", "sup.max_clients"),
        ("[sup]\nport = 1", "sup.port"),
        ("[sup.collections.x]\nbase = 'relative'", "collections.x.base"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        with_options(path, {})
    assert str(raised.value).startswith(f"{path}: ")
    assert named in str(raised.value)


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        with_options(written(tmp_path, "= ="), {})


def test_a_bad_option_is_named_too() -> None:
    with pytest.raises(ConfigError, match="listen: 'nowhere'"):
        with_options(None, {"listen": "nowhere"})


def test_every_key_stands_in_the_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs/how-to/lab.md").read_text()
    for key in attrs.fields_dict(LabConfig):
        assert f"| `{key}" in manual, key
    for key in attrs.fields_dict(NetInfoConfig):
        assert f"| `netinfo.{key}" in manual, key
