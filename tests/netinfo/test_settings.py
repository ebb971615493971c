import pytest

from netinfo.addresses import own_addresses
from netinfo.settings import Settings
from netinfo.superuser import OwnAddresses
from wire.transport.tap import Address


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


@pytest.mark.parametrize("name", ["reserved-port", "same-user"])
def test_each_rule_asks_whether_the_caller_is_on_this_host(name: str) -> None:
    asked: list[str] = []

    class Own(OwnAddresses):
        def __call__(self, host: str) -> bool:
            asked.append(host)
            return False

    rule = Settings(superuser=name).superuser_rule(Own())
    assert not rule(Address("192.42.172.1", 700), Address("192.42.172.2", 877), "tcp")
    assert asked == ["192.42.172.1"]


def test_a_host_has_a_name() -> None:
    assert Settings().hostname
    assert "." not in Settings().hostname
