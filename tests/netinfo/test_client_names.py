import pytest

from netinfo.client.names import (
    BadNameError,
    DirectServer,
    DomainPath,
    NameProblem,
    Portmapper,
    TaggedServer,
    escape,
    local_portmapper,
    parse_domain_path,
    parse_server,
    unescape,
)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("srv/network", TaggedServer(Portmapper("srv", 111), b"network")),
        ("192.42.172.1/local", TaggedServer(Portmapper("192.42.172.1", 111), b"local")),
        ("127.0.0.1:10111/network", TaggedServer(Portmapper("127.0.0.1", 10111), b"network")),
        ("network@srv", TaggedServer(Portmapper("srv", 111), b"network")),
        ("127.0.0.1:10877", DirectServer("127.0.0.1", 10877)),
    ],
)
def test_server_names(text: str, server: object) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("network", NameProblem.FORMAT),
        ("", NameProblem.FORMAT),
        ("a/b/c", NameProblem.FORMAT),
        ("srv:x/network", NameProblem.FORMAT),
        ("srv:99999/network", NameProblem.FORMAT),
        ("srv:0", NameProblem.FORMAT),
        ("/network", NameProblem.NO_HOST),
        (":10111/network", NameProblem.NO_HOST),
        ("network@", NameProblem.NO_HOST),
        (":877", NameProblem.NO_HOST),
        ("srv/", NameProblem.NO_TAG),
        ("@srv", NameProblem.NO_TAG),
    ],
)
def test_bad_server_names_say_what_is_missing(text: str, problem: NameProblem) -> None:
    with pytest.raises(BadNameError) as caught:
        parse_server(text)
    assert caught.value.problem is problem
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "absolute", "steps"),
    [
        (".", False, (b".",)),
        ("..", False, (b"..",)),
        ("/", True, ()),
        ("/sales//east", True, (b"sales", b"east")),
        ("../sales", False, (b"..", b"sales")),
        ("a\\/b", False, (b"a/b",)),
        ("sales", False, (b"sales",)),
    ],
)
def test_domain_paths(text: str, absolute: bool, steps: tuple[bytes, ...]) -> None:
    assert parse_domain_path(text) == DomainPath(absolute, steps)


def test_escapes_survive_the_round_trip() -> None:
    for name in (b"a/b", b"a=b", b"a\\b", b"\xff", b""):
        assert unescape(escape(name)) == name


def test_the_environment_moves_the_portmapper() -> None:
    assert local_portmapper({}) == Portmapper("127.0.0.1", 111)
    assert local_portmapper({"GHOSTPORTS_PORTMAP": "127.0.0.9:10111"}) == Portmapper("127.0.0.9", 10111)
    with pytest.raises(BadNameError, match=r"GHOSTPORTS_PORTMAP=srv: write HOST:PORT"):
        local_portmapper({"GHOSTPORTS_PORTMAP": "srv"})
