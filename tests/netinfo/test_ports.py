from itertools import islice

from netinfo.ports import ANY, HISTORIC, Ports


def test_historic_numbers_stand_at_a_base() -> None:
    ports = Ports(10_000)
    assert (ports.portmapper, ports.binder) == (10_111, 10_766)
    assert next(ports.of_domain(b"network")) == 10_877
    assert next(ports.of_domain(b"local")) == 11_033
    assert list(islice(ports.of_domain(b"other"), 2)) == [10_878, 10_879]


def test_further_domains_go_up_and_then_around() -> None:
    found = list(HISTORIC.of_domain(b"x"))
    assert found[0] == 878
    assert found[145] == 1023
    assert found[146] == 600
    assert found[-1] == 765
    assert not {766, 869, 871, 877, 1033} & set(found)


def test_a_port_that_is_taken_is_not_the_end() -> None:
    assert list(islice(HISTORIC.of_domain(b"network"), 3)) == [877, 878, 879]


def test_any_port() -> None:
    assert (ANY.portmapper, ANY.binder, list(ANY.of_domain(b"network"))) == (0, 0, [0])
