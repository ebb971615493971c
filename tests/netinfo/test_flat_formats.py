"""The flat files, out of directories and into them, in both dialects (NETINFO 6.4)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from netinfo.flat.formats import FORMATS
from netinfo.flat.model import Dialect, FlatError, Item
from tests.netinfo.base import prop
from wire.formats.netinfo import Property

NEXT, APPLE = Dialect.NEXT, Dialect.APPLE
RECORDED = Path(__file__).parents[1] / "captures" / "netinfo" / "next-tools.txt"

ANN = (
    prop("name", "ann"),
    prop("passwd", "ab3Qw5Yz1xKfM"),
    prop("uid", "101"),
    prop("gid", "20"),
    prop("realname", "Ann"),
    prop("home", "/Users/ann"),
    prop("shell", "/bin/sh"),
    prop("_writers_passwd", "ann"),
)


def dump(name: str, dialect: Dialect, *properties: Property) -> list[bytes]:
    return list(FORMATS[name].dump(properties, dialect))


def load(name: str, dialect: Dialect, text: bytes) -> list[Item]:
    form = FORMATS[name]
    assert form.load is not None
    return list(form.load(text.splitlines(keepends=True), dialect))


def loaded(name: str, dialect: Dialect, text: bytes) -> list[dict[str, list[str]]]:
    """The items as dictionaries of text."""
    return [
        {p.name.decode(): [value.decode() for value in p.values] for p in item.properties}
        for item in load(name, dialect, text)
    ]


def test_next_s_recorded_output_is_reproduced() -> None:
    recorded = RECORDED.read_bytes()
    root = [
        prop("name", "root"),
        prop("passwd"),
        prop("uid", "0"),
        prop("gid", "1"),
        prop("realname", "Operator"),
        prop("home", "/"),
        prop("shell", "/bin/csh"),
    ]
    wheel = (prop("name", "wheel"), prop("passwd", "*"), prop("gid", "0"), prop("users", "root"))
    other = (prop("name", "other"), prop("passwd", "*"), prop("gid", "20"), prop("users", "ann", "bob"))
    ws1 = (
        prop("name", "ws1", "workstation"),
        prop("ip_address", "192.42.172.5"),
        prop("en_address", "0:0:f:0:7:5a"),
    )
    for command, lines in [
        ("nidump passwd .", [*dump("passwd", NEXT, *root), *dump("passwd", NEXT, *ANN)]),
        ("nidump group .", [*dump("group", NEXT, *wheel), *dump("group", NEXT, *other)]),
        ("", dump("hosts", NEXT, *ws1)),
    ]:
        assert (b"$ " + command.encode() + b"\n" if command else b"") + b"\n".join(lines) + b"\n" in recorded


# --- passwd -----------------------------------------------------------------------------------------------


def test_passwd_has_seven_fields_or_ten() -> None:
    assert dump("passwd", NEXT, *ANN) == [b"ann:ab3Qw5Yz1xKfM:101:20:Ann:/Users/ann:/bin/sh"]
    assert dump("passwd", APPLE, *ANN) == [b"ann:ab3Qw5Yz1xKfM:101:20::0:0:Ann:/Users/ann:/bin/sh"]
    assert dump("passwd.43", APPLE, *ANN) == dump("passwd", NEXT, *ANN)
    assert dump("passwd", NEXT, prop("uid", "1")) == [], "a directory without a name is skipped"


def test_next_s_passwd_in() -> None:
    (ann,) = load("passwd", NEXT, b"ann:ab3Qw5Yz1xKfM:101:20:Ann:/Users/ann:/bin/sh\n")
    assert ann == Item(ANN)
    (bare,) = load("passwd", NEXT, b"+ignored\n-this too:::::\n# and this\n\nzed::7:20:::\n")
    assert bare.properties == (
        prop("name", "zed"),
        prop("passwd"),
        prop("uid", "7"),
        prop("gid", "20"),
        prop("_writers_passwd", "zed"),
    )
    assert bare.removed == {b"realname", b"home", b"shell"}


@pytest.mark.parametrize(
    "line", [b":x:1:2:::", b"zed:x::2:::", b"zed:x:1::::", b"zed:x:1:2", b"zed:x:1:2::::::"]
)
def test_next_s_passwd_refuses_what_is_no_account(line: bytes) -> None:
    with pytest.raises(FlatError) as caught:
        load("passwd", NEXT, line)
    assert line.decode() in str(caught.value)


def test_apple_s_passwd_in() -> None:
    ten = b"ann:x:101:20:staff:7:8:Ann:/Users/ann:/bin/sh\n"
    (ann,) = loaded("passwd", APPLE, b"+x\n" + ten + b"too:few:fields\n")
    assert ann == {
        "name": ["ann"],
        "passwd": ["x"],
        "uid": ["101"],
        "gid": ["20"],
        "class": ["staff"],
        "change": ["7"],
        "expire": ["8"],
        "realname": ["Ann"],
        "home": ["/Users/ann"],
        "shell": ["/bin/sh"],
        "_writers_passwd": ["ann"],
    }
    (old,) = loaded("passwd.43", APPLE, b"ann:x:101:20:Ann:/Users/ann:/bin/sh\n" + ten)
    assert (old["class"], old["change"], old["expire"], old["realname"]) == ([""], ["0"], ["0"], ["Ann"])
    assert load("passwd.43", NEXT, b"ann:x:101:20:Ann:/h:/s\n")[0].name == b"ann"


def test_group_both_ways() -> None:
    line = b"other:*:20:ann,bob"
    (item,) = load("group", NEXT, line + b"\n")
    assert item.properties == (
        prop("name", "other"),
        prop("passwd", "*"),
        prop("gid", "20"),
        prop("users", "ann", "bob"),
    )
    assert dump("group", APPLE, *item.properties) == [line]
    assert loaded("group", NEXT, b"empty:*:7:\n")[0]["users"] == []
    with pytest.raises(FlatError, match=r"4 fields"):
        load("group", NEXT, b"bad:*")


# --- tables -----------------------------------------------------------------------------------------------


def test_hosts() -> None:
    srv = (prop("name", "srv", "server"), prop("ip_address", "192.42.172.1", "10.0.0.1"))
    assert dump("hosts", APPLE, *srv) == [b"192.42.172.1\tsrv server", b"10.0.0.1\tsrv server"]
    assert dump("hosts", NEXT, *srv) == [b"192.42.172.1 10.0.0.1 \tsrv server "]
    assert dump("hosts", NEXT, prop("name", "ghost")) == []
    assert loaded("hosts", NEXT, b"# lab\n192.42.172.5\tws1 alpha # two names\n\n") == [
        {"name": ["ws1", "alpha"], "ip_address": ["192.42.172.5"]}
    ]
    with pytest.raises(FlatError, match=r"192.42.172.9"):
        load("hosts", NEXT, b"192.42.172.9\n")


@pytest.mark.parametrize(
    ("form", "key"), [("networks", "address"), ("protocols", "number"), ("rpc", "number")]
)
def test_numbered_tables(form: str, key: str) -> None:
    (item,) = loaded(form, NEXT, b"portmapper 100000 portmap sunrpc\n")
    assert item == {"name": ["portmapper", "portmap", "sunrpc"], key: ["100000"]}
    (line,) = dump(form, NEXT, prop("name", "portmapper", "portmap", "sunrpc"), prop(key, "100000"))
    assert line == b"portmapper\t100000\tportmap sunrpc"
    assert dump(form, NEXT, prop("name", "plain"), prop(key, "7")) == [b"plain\t7"]
    with pytest.raises(FlatError):
        load(form, NEXT, b"lonely\n")


def test_services_of_two_protocols() -> None:
    text = b"domain 53/udp nameserver\ndomain 53/tcp ns\ndomain 54/tcp\nfinger 79/tcp\n"
    merged = loaded("services", NEXT, text)
    assert merged[0] == {"name": ["domain", "nameserver", "ns"], "port": ["53"], "protocol": ["udp", "tcp"]}
    assert [item["port"] for item in merged] == [["53"], ["54"], ["79"]]
    assert [item["protocol"] for item in loaded("services", APPLE, text)] == [
        ["udp"],
        ["tcp"],
        ["tcp"],
        ["tcp"],
    ]
    domain = (prop("name", "domain", "ns"), prop("port", "53"), prop("protocol", "udp", "tcp"))
    assert dump("services", NEXT, *domain) == [b"domain\t53/udp\tns", b"domain\t53/tcp\tns"]
    assert dump("services", APPLE, *domain) == [b"domain\t53/udp\tns"]
    for bad in (b"x\n", b"x 7\n", b"x /tcp\n"):
        with pytest.raises(FlatError, match=r"port/protocol"):
            load("services", NEXT, bad)


def test_fstab_leaves_defaults_out_or_names_them() -> None:
    (item,) = load("fstab", NEXT, b"srv:/ /Net nfs rw,net 0 0\n")
    assert item.properties == (prop("name", "srv:/"), prop("dir", "/Net"), prop("opts", "rw", "net"))
    assert item.removed == {b"type", b"freq", b"passno"}
    assert dump("fstab", NEXT, *item.properties) == [b"srv:/ /Net nfs rw,net 0 0"]
    (apple,) = load("fstab", APPLE, b"/dev/sd0a / hfs ro 1 2\n")
    assert loaded("fstab", APPLE, b"/dev/sd0a / hfs ro 1 2\n") == [
        {
            "name": ["/dev/sd0a"],
            "dir": ["/"],
            "vfstype": ["hfs"],
            "opts": ["ro"],
            "dump_freq": ["1"],
            "passno": ["2"],
        }
    ]
    assert dump("fstab", APPLE, *apple.properties) == [b"/dev/sd0a / hfs ro 1 2"], "the frequency is not lost"
    assert dump("fstab", NEXT, prop("name", "x"), prop("dir", "/x")) == [b"x /x nfs rw 0 0"]
    with pytest.raises(FlatError):
        load("fstab", NEXT, b"only-a-device\n")


# --- wrapped lines ----------------------------------------------------------------------------------------


def test_printcap_both_ways() -> None:
    text = b"""# printers
lp|NeXT_Laser|laser: \\
\t:lp=/dev/np0:sd=/usr/spool/NeXT:mx#0:sh: \\
\t:rm=srv:
"""
    (item,) = load("printcap", NEXT, text)
    assert item.properties == (
        prop("name", "lp", "NeXT_Laser", "laser"),
        prop("lp", "/dev/np0"),
        prop("sd", "/usr/spool/NeXT"),
        prop("mx", "#0"),
        prop("sh"),
        prop("rm", "srv"),
    )
    lines = dump("printcap", NEXT, *item.properties, prop("_writers", "*"))
    assert lines[0] == b"lp|NeXT_Laser|laser: \\"
    assert load("printcap", APPLE, b"\n".join(lines))[0] == item
    long = (prop("name", "lp"), *(prop(f"key{n}", "v" * 20) for n in range(9)))
    wrapped = dump("printcap", NEXT, *long)
    assert all(len(line) <= 76 for line in wrapped)
    assert load("printcap", NEXT, b"\n".join(wrapped))[0].properties == long
    assert dump("printcap", NEXT, prop("lp", "x")) == []


def test_aliases_both_ways() -> None:
    members = [f"user{n}@host{n}.example" for n in range(9)]
    lines = dump("aliases", NEXT, prop("name", "all"), prop("members", *members))
    assert lines[0].startswith(b"all: user0@host0.example,")
    assert len(lines) > 1
    assert all(line.startswith(b"\t") and len(line) <= 73 for line in lines[1:])
    (item,) = load("aliases", APPLE, b"# mail\n" + b"\n".join(lines) + b"\n")
    assert item.properties == (prop("name", "all"), prop("members", *members))
    assert dump("aliases", NEXT, prop("name", "none")) == []
    with pytest.raises(FlatError, match=r"colon"):
        load("aliases", NEXT, b"nothing here\n")


# --- booting ----------------------------------------------------------------------------------------------


def test_bootptab() -> None:
    ws1 = [prop("name", "ws1"), prop("en_address", "0:0:f:0:7:5a"), prop("ip_address", "192.42.172.5")]
    ws1.append(prop("bootfile", "mach"))
    (line,) = dump("bootptab", NEXT, *ws1)
    assert line == b"ws1 1 0:0:f:0:7:5a 192.42.172.5 mach"
    header = b"\n".join(FORMATS["bootptab"].header)
    assert header == b"/private/tftpboot:/\nmach\n%%"
    text = header + b"\nws1 1 00:00:0F:00:07:5a 192.42.172.5 mach\n"
    assert loaded("bootptab", NEXT, text) == [
        {"name": ["ws1"], "en_address": ["0:0:f:0:7:5a"], "bootfile": ["mach"]}
    ]
    (apple,) = loaded("bootptab", APPLE, text)
    assert apple["ip_address"] == ["192.42.172.5"]
    assert dump("bootptab", APPLE, prop("name", "x")) == [b"x 1 0:0:0:0:0:0 0.0.0.0 mach"]
    assert dump("bootptab", NEXT, prop("name", "x")) == []
    for bad in (b"%%\nws1 6 0:0:f:0:7:5a 1.2.3.4\n", b"%%\nws1 1\n", b"%%\nws1 1 zz:1 1.2.3.4\n"):
        with pytest.raises(FlatError):
            load("bootptab", NEXT, bad)


def test_bootparams() -> None:
    lines = dump("bootparams", NEXT, prop("name", "ws1"), prop("bootparams", "root=srv:/", "private=srv:/p"))
    assert lines == [b"ws1 \\", b"\troot=srv:/ \\", b"\tprivate=srv:/p"]
    assert loaded("bootparams", NEXT, b"\n".join(lines)) == [
        {"name": ["ws1"], "bootparams": ["root=srv:/", "private=srv:/p"]}
    ]
    assert dump("bootparams", NEXT, prop("name", "ws1")) == []


def test_what_is_only_dumped() -> None:
    for name in ("exports", "ethers", "resolv.conf"):
        assert FORMATS[name].load is None
    exports = (prop("name", "/a", "/b"), prop("opts", "ro", "root=srv"), prop("clients", "ws1", "ws2"))
    assert dump("exports", NEXT, *exports) == [b"/a /b -ro -root=srv ws1 ws2"]
    assert dump("ethers", APPLE, prop("name", "ws1", "alpha"), prop("en_address", "0:0:f:0:7:5a")) == [
        b"0:0:f:0:7:5a\tws1 alpha"
    ]
    assert dump("ethers", APPLE, prop("name", "ws1")) == []
    resolver = (
        prop("nameserver", "1.2.3.4", "5.6.7.8"),
        prop("domain", "lab.example"),
        prop("search", "a", "b"),
    )
    assert dump("resolv.conf", APPLE, *resolver) == [
        b"domain lab.example",
        b"search a b",
        b"nameserver 1.2.3.4",
        b"nameserver 5.6.7.8",
    ]
    assert dump("resolv.conf", APPLE, prop("domain", "x")) == []


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.load])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_bytes_of_any_kind_and_empty_input_do_no_harm(name: str, dialect: Dialect) -> None:
    assert load(name, dialect, b"") == []
    assert load(name, dialect, b"\n\n# \xff only a comment\n") == []
    for junk in (b"\xff:\xfe:\x80", bytes(range(1, 256)), b":" * 9, b"\\\n\\\n", b"=" * 50):
        with suppress(FlatError):
            load(name, dialect, junk)
