import pytest

from netinfo.addresses import own_addresses
from netinfo.settings import Settings
from netinfo.superuser import OwnAddresses


def test_the_address_others_use() -> None:
    assert Settings(listen="127.0.0.5").own_address == "127.0.0.5"
    assert Settings(listen="0.0.0.0").own_address == own_addresses()[0]
    assert Settings(listen="0.0.0.0", address="192.42.172.1").own_address == "192.42.172.1"


def test_all_addresses_of_the_host() -> None:
    assert Settings(listen="127.0.0.5").own_addresses() == ("127.0.0.5", "127.0.0.1")
    everywhere = Settings(listen="0.0.0.0").own_addresses()
    assert everywhere[-1] == "127.0.0.1"
    assert set(own_addresses()) <= set(everywhere)


def test_rules_have_names() -> None:
    for name in ("reserved-port", "same-user"):
        assert callable(Settings(superuser=name).superuser_rule(OwnAddresses()))
    with pytest.raises(ValueError, match=r"write reserved-port or same-user"):
        Settings(superuser="anyone").superuser_rule(OwnAddresses())


def test_a_host_has_a_name() -> None:
    assert Settings().hostname
    assert "." not in Settings().hostname
