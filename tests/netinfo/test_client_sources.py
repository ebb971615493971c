"""Every form in which a person names a domain (NETINFO 4.5, 4.6)."""

import pytest

from netinfo.client.names import (
    BadNameError,
    DirectServer,
    DomainPath,
    NameProblem,
    Portmapper,
    TaggedServer,
)
from netinfo.client.sources import Source, parse_source, parse_tool_source, parse_url

LOCAL = Portmapper("127.0.0.1", 10111)
HERE = DomainPath(False, (b".",))
SRV = Portmapper("srv", 10111)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (".", Source(HERE)),
        ("..", Source(DomainPath(False, (b"..",)))),
        ("/", Source(DomainPath(True, ()))),
        ("/sales//east", Source(DomainPath(True, (b"sales", b"east")))),
        ("sales", Source(DomainPath(False, (b"sales",)))),
        ("127.0.0.1:10877", Source(DirectServer("127.0.0.1", 10877))),
        ("network@srv", Source(TaggedServer(SRV, b"network"))),
        ("network@srv:111", Source(TaggedServer(Portmapper("srv", 111), b"network"))),
        ("/@srv", Source(DomainPath(True, ()), SRV)),
        ("/sales/east@srv", Source(DomainPath(True, (b"sales", b"east")), SRV)),
        ("..@srv", Source(DomainPath(False, (b"..",)), SRV)),
        ("niserver:network", Source(TaggedServer(LOCAL, b"network"))),
        ("niserver:network@srv", Source(TaggedServer(SRV, b"network"))),
        ("nidomain:/sales", Source(DomainPath(True, (b"sales",)), LOCAL)),
        ("nidomain:..@srv", Source(DomainPath(False, (b"..",)), SRV)),
        ("/odd\\@name", Source(DomainPath(True, (b"odd@name",)))),
    ],
)
def test_forms_that_tools_and_scripts_share(text: str, source: Source) -> None:
    assert parse_tool_source(text, LOCAL) == source
    assert parse_source(text, LOCAL) == source


def test_a_tool_reads_host_slash_tag_as_a_path_unless_told() -> None:
    assert parse_tool_source("sales/east") == Source(DomainPath(False, (b"sales", b"east")))
    assert parse_source("sales/east", LOCAL) == Source(TaggedServer(Portmapper("sales", 10111), b"east"))
    assert parse_source("srv:111/network", LOCAL) == Source(TaggedServer(Portmapper("srv"), b"network"))


@pytest.mark.parametrize(
    "text", ["srv/network", "127.0.0.1:10111/network", "127.0.0.1:10877", "/", "/a/b", "..", "."]
)
def test_a_name_prints_as_it_was_written(text: str) -> None:
    assert str(parse_source(text).domain) == text


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("netinfo://srv", Source(DomainPath(False, ()), SRV)),
        ("netinfo:///", Source(DomainPath(False, ()), LOCAL)),
        ("netinfo://srv/network", Source(TaggedServer(SRV, b"network"))),
        ("netinfo://srv:111/network", Source(TaggedServer(Portmapper("srv"), b"network"))),
        ("netinfo:///network", Source(TaggedServer(LOCAL, b"network"))),
        ("netinfo://srv//", Source(DomainPath(True, ()), SRV)),
        ("netinfo://srv/..:/users", Source(DomainPath(False, (b"..",)), SRV, directory=b"/users")),
        ("netinfo://srv/:7", Source(DomainPath(False, ()), SRV, directory=b"7")),
        (
            "netinfo://ann@srv/network:/users/ann",
            Source(TaggedServer(SRV, b"network"), user="ann", directory=b"/users/ann"),
        ),
        (
            "netinfo://ann:p@ss:w@srv/network:",
            Source(TaggedServer(SRV, b"network"), user="ann", password="p@ss:w"),
        ),
        ("netinfo://ann:@srv/network", Source(TaggedServer(SRV, b"network"), user="ann", password="")),
    ],
)
def test_urls(url: str, source: Source) -> None:
    assert parse_url(url, LOCAL) == source
    assert parse_tool_source(url, LOCAL) == source
    assert parse_source(url, LOCAL) == source


def test_where_other_hosts_portmappers_are_taken_to_be() -> None:
    assert parse_source("srv:222/network", LOCAL).portmapper == Portmapper("srv", 222)
    assert parse_source("..@srv", LOCAL).portmapper == SRV
    assert parse_source("..", LOCAL).portmapper is None
    assert parse_source("srv:10877", LOCAL).portmapper is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("@srv", NameProblem.NO_TAG),
        ("network@", NameProblem.NO_HOST),
        ("niserver:", NameProblem.NO_TAG),
        ("niserver:@srv", NameProblem.NO_TAG),
        ("network@srv:x", NameProblem.FORMAT),
        ("netinfo://:secret@srv", NameProblem.FORMAT),
        ("netinfo://ann:secret@srv:x/network", NameProblem.FORMAT),
    ],
)
def test_what_cannot_be_meant_says_why_and_tells_no_password(text: str, problem: NameProblem) -> None:
    for parse in (parse_tool_source, parse_source):
        with pytest.raises(BadNameError) as caught:
            parse(text, LOCAL)
        assert caught.value.problem is problem
        assert "secret" not in str(caught.value)
