import pytest

from wire.transport.limits import RpcLimits, SupLimits


def test_the_defaults() -> None:
    limits = RpcLimits()
    assert (limits.tcp_call, limits.tcp_reply) == (1 << 20, 64 << 20)
    assert (limits.udp_call, limits.udp_reply) == (65_507, 8_800)
    assert (limits.connections, limits.connections_per_address, limits.idle) == (1024, 256, 300)
    assert limits.half_record == 35
    assert (SupLimits().probe, SupLimits().until_refuse, SupLimits().afterwards) == (30, 120, 1800)


@pytest.mark.parametrize("name", ["tcp_call", "connections", "idle"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_is_more_than_nothing(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0"):
        RpcLimits(**{name: value})
