"""The three lines of a student at a prompt, and what else a script finds (`netinfo.client.open`)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import netinfo.client
from netinfo import client
from netinfo.client.errors import CannotConnectError, NetInfoError
from netinfo.client.names import BadNameError
from tests.netinfo import served
from wire.formats.netinfo import NiStatus


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Served]:
    with served.process(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture
def lab(host: served.Served) -> Iterator[client.OpenDomain]:
    with client.open(host.network) as opened:
        yield opened


def test_three_lines(host: served.Served) -> None:
    lab = client.open(host.network)
    home = lab["/users/ann"]["home"]
    assert home == ("/Net/srv/Users/ann",)
    lab.close()


def test_a_domain_is_a_dictionary_of_directories(lab: client.OpenDomain) -> None:
    assert list(lab)[:2] == ["machines", "users"]
    assert len(lab) == len(list(lab))
    assert lab["users"].path == "/users"
    assert "/users/zed" not in lab
    assert "/users/ann" in lab
    with pytest.raises(KeyError):
        lab["/users/zed"]
    assert repr(lab) == f"<domain {lab}>"


def test_a_directory_is_a_dictionary_of_values(lab: client.OpenDomain) -> None:
    ann = lab["/users/ann"]
    assert ann.name == "ann"
    assert ann["uid"] == ("101",)
    assert dict(ann)["shell"] == ("/bin/csh",)
    assert len(ann) == len(list(ann)) == len(ann.properties)
    assert ann.get("nope", ()) == ()
    assert repr(ann) == f"<directory {ann.id.object} 'ann' of {lab}>"


def test_threads_may_share_a_domain(lab: client.OpenDomain) -> None:
    names = ["ann", "ben", "root"] * 20
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda name: lab[f"/users/{name}"].name, names)) == names


def test_directories_lead_to_each_other(lab: client.OpenDomain) -> None:
    users = lab["/users"]
    assert [child.name for child in users.children] == ["root", "ann", "ben"]
    assert [found.name for found in users.find("uid", "101")] == ["ann"]
    assert users.find("uid", "9999") == ()
    assert (users / "ben").parent.name == "users"
    assert users.parent.path == "/"
    with pytest.raises(NetInfoError, match=r"No such directory"):
        users / "zed"


def test_changes(lab: client.OpenDomain) -> None:
    zed = lab.create("/users/zed", uid="7", groups=("a", "b"))
    assert dict(zed) == {"name": ("zed",), "uid": ("7",), "groups": ("a", "b")}
    assert zed.set("uid", "8")["uid"] == ("8",)
    assert "uid" not in zed.remove("uid")
    odd = zed.set("odd", "\udcff")
    assert odd["odd"] == ("\udcff",)
    assert odd.properties[-1].values == (b"\xff",)
    lab.destroy("/users/zed")
    assert "/users/zed" not in lab


def test_figures_and_place(lab: client.OpenDomain) -> None:
    assert next(iter(lab.statistics)) == "checksum"
    assert lab.path == "/"
    assert lab.root.id.object == 0


def test_by_tag_and_from_the_environment(host: served.Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.open(host.by_tag()) as by_tag:
        assert by_tag["/users/ann"].name == "ann"
    monkeypatch.setenv("GHOSTPORTS_PORTMAP", host.portmapper)
    with client.open(".") as local:
        assert local.parent()["/users/ann"].name == "ann"
        assert local.path == "/srv"
    with client.open("/") as root:
        assert root.child("srv").root["master"] == ("localhost/local",)
        with pytest.raises(NetInfoError) as caught:
            root.parent()
        assert caught.value.status == NiStatus.NI_NETROOT


def test_a_user_with_a_password(lab: client.OpenDomain) -> None:
    lab.authenticate("ann", "pencil")
    with pytest.raises(NetInfoError) as caught:
        lab.authenticate("zed", "x")
    assert caught.value.status == NiStatus.NI_NOUSER


def test_what_cannot_be_opened_says_why(host: served.Served) -> None:
    with pytest.raises(BadNameError, match=r"names no tag"):
        client.open("127.0.0.1/")
    with pytest.raises(CannotConnectError, match=r"TCP port 1 on 127.0.0.1"):
        client.open("127.0.0.1:1", timeout=2.0)
    with pytest.raises(NetInfoError, match=r"No such tag"):
        client.open(host.by_tag("nope"))


def test_the_package_gives_what_it_lists() -> None:
    for name in client.__all__:
        assert getattr(netinfo.client, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = client.nonsense
