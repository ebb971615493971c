"""Every flat format: its directory, how a directory becomes lines and how lines become directories (NETINFO
6.4).

Where NeXT's and Apple's tools differ the dialect decides. Two losses of Apple's are not reproduced: its fstab
forgot the dump frequency on the way back, its printcap all capabilities that are not `key=value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netinfo.flat.model import (
    Dialect,
    Dump,
    FlatError,
    FlatFormat,
    Item,
    Load,
    Properties,
    first,
    joined,
    properties_of,
    rest,
    uncommented,
)
from netinfo.properties import values_of
from wire.formats.netinfo import Property

WIDTH = 72
"""Columns after which printcap and aliases go on in the next line."""


# --- passwd and group -----------------------------------------------------------------------------------

NEXT_PASSWD = (b"name", b"passwd", b"uid", b"gid", b"realname", b"home", b"shell")
APPLE_PASSWD = (
    b"name",
    b"passwd",
    b"uid",
    b"gid",
    b"class",
    b"change",
    b"expire",
    b"realname",
    b"home",
    b"shell",
)
PASSWD_DEFAULTS = {b"class": b"", b"change": b"0", b"expire": b"0"}


def _dump_passwd(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    yield from _passwd_line(properties, NEXT_PASSWD if dialect is Dialect.NEXT else APPLE_PASSWD)


def _dump_passwd_43(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    yield from _passwd_line(properties, NEXT_PASSWD)


def _passwd_line(properties: Properties, fields: tuple[bytes, ...]) -> Iterator[bytes]:
    if first(properties, b"name"):
        yield b":".join(first(properties, field, PASSWD_DEFAULTS.get(field, b"")) for field in fields)


def _load_passwd(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    if dialect is Dialect.APPLE:
        yield from _apple_passwd(lines, APPLE_PASSWD)
        return
    for line in _lines(lines):
        if line[:1] in (b"+", b"-", b"#"):
            continue
        entry = _fields(line, NEXT_PASSWD)
        if not (entry[b"name"] and entry[b"uid"] and entry[b"gid"]):
            raise FlatError(f"a passwd line needs a name, a uid and a gid: {line.decode(errors='replace')!r}")
        kept = {name: value for name, value in entry.items() if value or name == b"passwd"}
        pairs = [(name, (value,) if value else ()) for name, value in kept.items()]
        removed = frozenset(entry) - frozenset(kept)
        yield Item(properties_of(*pairs, (b"_writers_passwd", entry[b"name"])), removed)


def _load_passwd_43(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    if dialect is Dialect.NEXT:
        yield from _load_passwd(lines, dialect)
    else:
        yield from _apple_passwd(lines, NEXT_PASSWD)


def _apple_passwd(lines: Iterable[bytes], names: tuple[bytes, ...]) -> Iterator[Item]:
    for line in _lines(lines):
        parts = line.split(b":")
        if line.startswith(b"+") or len(parts) != len(names):
            continue
        entry = {**PASSWD_DEFAULTS, **dict(zip(names, parts, strict=True))}
        pairs = [(name, entry[name]) for name in APPLE_PASSWD]
        yield Item(properties_of(*pairs, (b"_writers_passwd", entry[b"name"])))


def _fields(line: bytes, names: tuple[bytes, ...]) -> dict[bytes, bytes]:
    parts = line.split(b":")
    if len(parts) != len(names):
        text = line.decode(errors="replace")
        raise FlatError(f"{len(names)} fields separated by colons are needed, not {len(parts)}: {text!r}")
    return dict(zip(names, parts, strict=True))


def _dump_group(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    if first(properties, b"name"):
        fields = [first(properties, field) for field in (b"name", b"passwd", b"gid")]
        yield b":".join([*fields, b",".join(values_of(properties, b"users"))])


def _load_group(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    for line in _lines(lines):
        if line[:1] in (b"+", b"-", b"#"):
            continue
        entry = _fields(line, (b"name", b"passwd", b"gid", b"users"))
        users = [user for user in entry[b"users"].split(b",") if user]
        yield Item(
            properties_of(
                (b"name", entry[b"name"]),
                (b"passwd", entry[b"passwd"]),
                (b"gid", entry[b"gid"]),
                (b"users", users),
            )
        )


# --- tables of words ------------------------------------------------------------------------------------


def _dump_hosts(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    names = values_of(properties, b"name")
    addresses = values_of(properties, b"ip_address")
    if not names or not addresses:
        return
    if dialect is Dialect.NEXT:
        yield b"".join(each + b" " for each in addresses) + b"\t" + b"".join(each + b" " for each in names)
        return
    for address in addresses:
        yield address + b"\t" + b" ".join(names)


def _load_hosts(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    for line in uncommented(lines):
        address, *names = line.split()
        if not names:
            raise FlatError(f"a host needs an address and a name: {line.decode(errors='replace')!r}")
        yield Item(properties_of((b"name", names), (b"ip_address", address)))


def _numbered(key: bytes) -> tuple[Dump, Load]:
    """The formats of networks, protocols and rpc: name, what it is numbered, aliases."""

    def dump(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
        if first(properties, b"name"):
            aliases = b" ".join(rest(properties, b"name"))
            yield b"\t".join([first(properties, b"name"), first(properties, key), aliases]).rstrip(b"\t")

    def load(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
        for line in uncommented(lines):
            words = line.split()
            if len(words) < 2:
                raise FlatError(
                    f"a name and its {key.decode()} are needed: {line.decode(errors='replace')!r}"
                )
            yield Item(properties_of((b"name", [words[0], *words[2:]]), (key, words[1])))

    return dump, load


def _dump_services(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    name, port = first(properties, b"name"), first(properties, b"port")
    if not name:
        return
    protocols = values_of(properties, b"protocol") or (b"",)
    aliases = b" ".join(rest(properties, b"name"))
    for protocol in protocols if dialect is Dialect.NEXT else protocols[:1]:
        yield b"\t".join([name, port + b"/" + protocol, aliases]).rstrip(b"\t")


def _load_services(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    """NeXT's loader makes one directory of consecutive lines with the same first name and port."""
    pending: tuple[list[bytes], bytes, list[bytes]] | None = None
    for line in uncommented(lines):
        words = line.split()
        port, slash, protocol = words[1].partition(b"/") if len(words) > 1 else (b"", b"", b"")
        if not (port and slash and protocol):
            raise FlatError(f"a service needs a name and a port/protocol: {line.decode(errors='replace')!r}")
        names = [words[0], *words[2:]]
        if pending and dialect is Dialect.NEXT and (pending[0][0], pending[1]) == (names[0], port):
            pending[0].extend(name for name in names if name not in pending[0])
            if protocol not in pending[2]:
                pending[2].append(protocol)
            continue
        if pending:
            yield _service(*pending)
        pending = (names, port, [protocol])
    if pending:
        yield _service(*pending)


def _service(names: list[bytes], port: bytes, protocols: list[bytes]) -> Item:
    return Item(properties_of((b"name", names), (b"port", port), (b"protocol", protocols)))


FSTAB_DEFAULTS = {b"type": b"nfs", b"opts": b"rw", b"freq": b"0", b"passno": b"0"}


def _dump_fstab(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    if not first(properties, b"name"):
        return
    apple = dialect is Dialect.APPLE
    kind = first(properties, b"vfstype" if apple else b"type", b"nfs")
    options = b",".join(values_of(properties, b"opts")) or b"rw"
    frequency = first(properties, b"freq", b"0")
    if apple:
        frequency = first(properties, b"dump_freq", frequency)
    yield b" ".join(
        [
            first(properties, b"name"),
            first(properties, b"dir"),
            kind,
            options,
            frequency,
            first(properties, b"passno", b"0"),
        ]
    )


def _load_fstab(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    for line in uncommented(lines):
        words = line.split()
        if len(words) < 2:
            raise FlatError(f"a mount needs a device and a directory: {line.decode(errors='replace')!r}")
        given = [*words[2:6], *list(FSTAB_DEFAULTS.values())[len(words[2:6]) :]]
        entry = dict(zip(FSTAB_DEFAULTS, given, strict=True))
        pairs: list[tuple[bytes, bytes | list[bytes]]] = [(b"name", words[0]), (b"dir", words[1])]
        if dialect is Dialect.APPLE:
            pairs += [
                (b"vfstype", entry[b"type"]),
                (b"opts", entry[b"opts"].split(b",")),
                (b"dump_freq", entry[b"freq"]),
                (b"passno", entry[b"passno"]),
            ]
        else:  # NeXT's leaves out what is the default anyway
            kept = {name: value for name, value in entry.items() if value != FSTAB_DEFAULTS[name]}
            pairs += [(name, value.split(b",") if name == b"opts" else value) for name, value in kept.items()]
        removed = frozenset(FSTAB_DEFAULTS) - {name for name, _ in pairs}
        yield Item(properties_of(*pairs), removed if dialect is Dialect.NEXT else frozenset())


# --- wrapped lines --------------------------------------------------------------------------------------


def _dump_printcap(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    if not first(properties, b"name"):
        return
    yield b"|".join(values_of(properties, b"name")) + b": \\"
    capabilities = [_capability(prop) for prop in properties if not _is_private(prop.name)]
    lines = [b"\t:"]
    for capability in capabilities:
        if len(lines[-1]) > 2 and len(lines[-1]) + len(capability) > WIDTH:
            lines.append(b"\t:")
        lines[-1] += capability + b":"
    yield from [line + b" \\" for line in lines[:-1]]
    yield lines[-1]


def _is_private(name: bytes) -> bool:
    """Properties that are NetInfo's own, not the printer's."""
    return name == b"name" or name.startswith(b"_writers")


def _capability(prop: Property) -> bytes:
    if not prop.values:
        return prop.name
    value = prop.values[0]
    return prop.name + value if value.startswith(b"#") else prop.name + b"=" + value


def _load_printcap(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    for line in joined(line for line in lines if not line.startswith(b"#")):
        names, *capabilities = [part.strip() for part in line.split(b":")]
        pairs: list[tuple[bytes, list[bytes]]] = [(b"name", [name.strip() for name in names.split(b"|")])]
        for capability in filter(None, capabilities):
            key, equals, value = capability.partition(b"=")
            if equals:
                pairs.append((key, [value]))
            else:
                key, hash_mark, number = capability.partition(b"#")
                pairs.append((key, [b"#" + number] if hash_mark else []))
        yield Item(properties_of(*pairs))


def _dump_aliases(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    members = values_of(properties, b"members")
    if not members or not first(properties, b"name"):
        return
    line = first(properties, b"name") + b": "
    for index, member in enumerate(members):
        piece = member if index == len(members) - 1 else member + b","
        if len(line) + len(piece) > WIDTH and index:
            yield line
            line = b"\t"
        line += piece
    yield line


def _load_aliases(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    for line in joined(line for line in lines if not line.startswith(b"#")):
        name, colon, members = line.partition(b":")
        if not colon:
            raise FlatError(f"an alias needs a colon after its name: {line.decode(errors='replace')!r}")
        listed = [member.strip() for member in members.split(b",")]
        yield Item(
            properties_of((b"name", name.strip()), (b"members", [member for member in listed if member]))
        )


# --- booting --------------------------------------------------------------------------------------------

BOOTPTAB_HEADER = (b"/private/tftpboot:/", b"mach", b"%%")


def _dump_bootptab(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    apple = dialect is Dialect.APPLE
    name = first(properties, b"name")
    ethernet = first(properties, b"en_address", b"0:0:0:0:0:0" if apple else b"")
    if not name or not ethernet:
        return
    address = first(properties, b"ip_address", b"0.0.0.0" if apple else b"")
    bootfile = first(properties, b"bootfile", b"mach" if apple else b"")
    yield b" ".join([name, b"1", ethernet, address, bootfile]).rstrip()


def _load_bootptab(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    entries = uncommented(lines)
    for line in entries:
        if line.strip() == b"%%":
            break
    for line in entries:
        words = line.split()
        if len(words) < 4 or (dialect is Dialect.NEXT and words[1] != b"1"):
            raise FlatError(
                "name, hardware type 1, Ethernet address, IP address and boot file are needed: "
                f"{line.decode(errors='replace')!r}"
            )
        name, kind, ethernet, address = words[:4]
        bootfile = words[4] if len(words) > 4 else b""
        pairs: list[tuple[bytes, bytes]] = [(b"name", name)]
        if dialect is Dialect.APPLE:
            pairs += [(b"htype", kind), (b"en_address", ethernet), (b"ip_address", address)]
        else:
            pairs += [(b"en_address", _ethernet(ethernet))]
        yield Item(properties_of(*pairs, *([(b"bootfile", bootfile)] if bootfile else [])))


def _ethernet(address: bytes) -> bytes:
    """An Ethernet address as NetInfo matches it: lower-case, without leading zeros (NETINFO 7.3)."""
    try:
        return b":".join(b"%x" % int(part, 16) for part in address.split(b":"))
    except ValueError:
        raise FlatError(f"{address.decode(errors='replace')!r} is not an Ethernet address") from None


def _dump_bootparams(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    parameters = values_of(properties, b"bootparams")
    if first(properties, b"name") and parameters:
        words = (first(properties, b"name"), *parameters)
        yield from [(b"\t" if index else b"") + word + b" \\" for index, word in enumerate(words[:-1])]
        yield b"\t" + words[-1]


def _load_bootparams(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Item]:
    for line in joined(line for line in lines if not line.startswith(b"#")):
        name, *parameters = line.split()
        yield Item(properties_of((b"name", name), (b"bootparams", parameters)))


# --- only out -------------------------------------------------------------------------------------------


def _dump_exports(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    if name := first(properties, b"name"):
        options = [b"-" + option for option in values_of(properties, b"opts")]
        yield b" ".join([name, *rest(properties, b"name"), *options, *values_of(properties, b"clients")])


def _dump_ethers(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    if (ethernet := first(properties, b"en_address")) and values_of(properties, b"name"):
        yield ethernet + b"\t" + b" ".join(values_of(properties, b"name"))


def _dump_resolver(properties: Properties, dialect: Dialect) -> Iterator[bytes]:
    domain, servers = first(properties, b"domain"), values_of(properties, b"nameserver")
    if domain and servers:
        yield b"domain " + domain
        if search := values_of(properties, b"search"):
            yield b"search " + b" ".join(search)
        yield from [b"nameserver " + server for server in servers]


def _lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in (line.rstrip(b"\r\n") for line in lines) if line)


def _format(name: str, directory: str, dump: Dump, load: Load | None = None) -> FlatFormat:
    return FlatFormat(name, directory.encode(), dump, load)


FORMATS: dict[str, FlatFormat] = {
    each.name: each
    for each in (
        _format("aliases", "/aliases", _dump_aliases, _load_aliases),
        FlatFormat("bootptab", b"/machines", _dump_bootptab, _load_bootptab, BOOTPTAB_HEADER),
        _format("bootparams", "/machines", _dump_bootparams, _load_bootparams),
        _format("ethers", "/machines", _dump_ethers),
        _format("exports", "/exports", _dump_exports),
        _format("fstab", "/mounts", _dump_fstab, _load_fstab),
        _format("group", "/groups", _dump_group, _load_group),
        _format("hosts", "/machines", _dump_hosts, _load_hosts),
        _format("networks", "/networks", *_numbered(b"address")),
        _format("passwd", "/users", _dump_passwd, _load_passwd),
        _format("passwd.43", "/users", _dump_passwd_43, _load_passwd_43),
        _format("printcap", "/printers", _dump_printcap, _load_printcap),
        _format("protocols", "/protocols", *_numbered(b"number")),
        FlatFormat("resolv.conf", b"/locations/resolver", _dump_resolver, is_single=True),
        _format("rpc", "/rpcs", *_numbered(b"number")),
        _format("services", "/services", _dump_services, _load_services),
    )
}
