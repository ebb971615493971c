"""Trusted networks (NETINFO 3.1)."""

from __future__ import annotations

import pytest

from netinfo.networks import PEERS_REMEMBERED, Trust, admits, loopback_only, octets
from netinfo.rawformat import Branch, plant
from netinfo.tree import Tree
from tests.netinfo.base import prop


@pytest.mark.parametrize(
    ("value", "peer", "admitted"),
    [
        ("10", "10.1.2.3", True),
        ("10", "11.1.2.3", False),
        ("192", "192.1.2.3", True),
        ("128.18", "128.18.200.1", True),
        ("128.18", "128.19.200.1", False),
        ("192.42.172", "192.42.172.200", True),
        ("192.42.172.5", "192.42.172.200", True),  # at most three parts are compared
        ("192.42.172.0", "192.42.172.1", True),
        ("10.0.5", "10.9.9.9", True),  # the comparison ends at the first zero
        ("0", "10.1.2.3", False),
        ("10.256", "10.1.2.3", False),
        ("10x", "10.1.2.3", False),
        ("", "10.1.2.3", False),
        ("10", "::1", False),
        ("10", "10.1", False),
    ],
)
def test_trusted_network_by_number(value: str, peer: str, admitted: bool) -> None:
    tree = plant(Branch((prop("trusted_networks", value),)))
    assert admits(tree, peer, own=False) is admitted
    assert admits(tree, peer, own=True)


def test_trusted_networks_by_name_and_in_general() -> None:
    labs = Branch((prop("name", "lab", "room7"), prop("address", "172.16", "10")))
    networks = Branch((prop("name", "networks"),), (labs, Branch((prop("name", "none"),))))
    tree = plant(Branch((prop("trusted_networks", "nosuch", "none", "room7", "127"),), (networks,)))
    assert Trust(tree).networks == ((172, 16), (127,))
    assert admits(tree, "172.16.0.1", own=False)
    assert not admits(tree, "10.0.0.1", own=False)  # only the first address of a network counts
    assert Trust(plant(Branch())).networks is None
    assert admits(plant(Branch()), "10.0.0.1", own=False)
    assert not admits(plant(Branch((prop("trusted_networks"),))), "10.0.0.1", own=False)
    assert Trust(plant(Branch((prop("trusted_networks", "lab"),)))).networks == ()
    assert Trust(Tree()).networks is None


def test_desktop_mode() -> None:
    assert loopback_only(plant(Branch((prop("trusted_networks"),))))
    assert loopback_only(plant(Branch((prop("trusted_networks", "127", "127.0.0.1"),))))
    assert not loopback_only(plant(Branch((prop("trusted_networks", "127", "10"),))))
    assert not loopback_only(plant(Branch()))
    assert not loopback_only(Tree())


def test_octets_are_decimal_and_few() -> None:
    assert octets(b"192.42.172.5") == (192, 42, 172, 5)
    assert (
        octets(b"1.2.3.4.5")
        is octets(b"0x0a")
        is octets(b"1..2")
        is octets(b"\xb2")
        is octets(b"0001")
        is None
    )


def test_peers_without_end_are_not_all_remembered() -> None:
    trust = Trust(plant(Branch((prop("trusted_networks", "10"),))))
    for number in range(PEERS_REMEMBERED + 100):
        assert trust.names(f"10.0.{number >> 8}.{number & 255}")
        assert not trust.names(f"11.0.{number >> 8}.{number & 255}")
    assert len(trust._known) == PEERS_REMEMBERED
