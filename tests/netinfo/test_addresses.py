import pytest

from netinfo.addresses import (
    Interface,
    interfaces,
    is_loopback,
    is_own_address,
    own_addresses,
    to_number,
    to_text,
)


def test_numbers_are_the_spec_s() -> None:
    assert to_number("192.42.172.5") == 0xC02AAC05
    assert to_text(0x0A090807) == "10.9.8.7"


@pytest.mark.parametrize("text", ["", "srv", "1.2.3", "1.2.3.4.5", "256.0.0.1"])
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 address"):
        to_number(text)


def test_own_addresses_are_those_that_can_be_bound() -> None:
    assert is_own_address("127.0.0.1")
    assert is_own_address("127.9.9.9")
    assert is_own_address("::1")
    assert all(is_own_address(address) for address in own_addresses())
    for foreign in ("192.0.2.77", "0.0.0.0", "255.255.255.255", "not an address"):
        assert not is_own_address(foreign)


def test_loopback() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("127.1.2.3")
    assert is_loopback("::1")
    assert not is_loopback("192.42.172.1")


def test_the_loopback_interface_is_found() -> None:
    loopback = [one for one in interfaces() if one.address == "127.0.0.1"]
    assert [one.netmask for one in loopback] == ["255.0.0.0"]
    assert loopback[0].broadcast == "127.255.255.255"
    assert loopback[0].reaches("127.200.0.1")
    assert not loopback[0].reaches("128.0.0.1")


def test_an_interface_reaches_its_network() -> None:
    ethernet = Interface("en0", "10.77.0.2", "255.255.255.0", "10.77.0.255")
    assert ethernet.reaches("10.77.0.1")
    assert not ethernet.reaches("10.77.1.1")
