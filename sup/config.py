"""The file server's configuration: a TOML file, read into typed values, with errors that name the key.

bases = ["/srv/sup"]                    # every collection below these may be asked for

[collections.demo]                      # and this one, wherever it is
base = "/home/demo"
users = ["joe"]

[users]
joe = "$scrypt$ln=16,r=8,p=1$..."       # made by `supfilesrv passwd`
"""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.v import format_exception

from sup import controlfile
from sup.names import is_collection_name
from sup.supfile import parse_hosts
from sup.tree import is_within
from sup.walk import MAX_ENTRIES
from wire.transport.limits import SupLimits

T = TypeVar("T")

ANONYMOUS = "anon"
"""The account of a client that names none; it never needs a password (SUP 5.3)."""
DEFAULT_SUPFILES = "/usr/lib/supfiles"
"""Where Debian's programs look for coll.dir and coll.host (SUP 6.7)."""


class ConfigError(Exception):
    """A configuration that cannot be used; the text says which key and why."""


class NoSuchBase(Exception):
    """The base directory that a client asks for may not be served, or does not exist."""

    def __init__(self, directory: bytes) -> None:
        super().__init__(f"Can't chdir to base directory {directory.decode('utf-8', 'replace')}")


@attrs.frozen(kw_only=True)
class CollectionConfig:
    """A collection that the configuration names."""

    base: str
    """Its base directory."""
    users: tuple[str, ...] = ()
    """Who may have it after a login; none means everybody, without one."""


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Everything that `supfilesrv` can be told. Directories are absolute paths."""

    listen: str = "127.0.0.1"
    port: int = attrs.field(default=871, validator=[attrs.validators.ge(0), attrs.validators.le(65535)])
    user: str = ""
    """The account to become when started as root; empty: `anon` where it exists, else `nobody`."""
    max_clients: int = attrs.field(default=64, validator=attrs.validators.ge(0))
    """Sessions at once; one more is told that the server is busy (`-C`)."""
    workers: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    """Processes that share the port."""
    bases: tuple[str, ...] = ()
    """Directories under which any collection may be asked for (`--base`)."""
    collections: Mapping[str, CollectionConfig] = attrs.Factory(dict)
    supfiles: str = ""
    """Directory of coll.dir and coll.host, whose collections are served too; empty: none."""
    users: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Accounts of clients, each with the hash of its password."""
    clients: tuple[str, ...] = ()
    """Addresses and networks that may connect at all; none means everybody."""
    historic: bool = False
    """Read list files as the original does, quirks included, `sup` itself in `upgrade .` included."""
    name_server: bool = False
    """Answer the questions of protocol 4 and 5 clients for the hosts of a collection (SUP 2.19)."""
    name_port: int = attrs.field(default=869, validator=[attrs.validators.ge(0), attrs.validators.le(65535)])
    limits: SupLimits = attrs.Factory(SupLimits)
    """What a connection may cost: bytes and seconds."""
    max_entries: int = attrs.field(default=MAX_ENTRIES, validator=attrs.validators.ge(1))
    """Names in one collection."""

    def __attrs_post_init__(self) -> None:
        for key, paths in {
            "bases": self.bases,
            "supfiles": (self.supfiles,) if self.supfiles else (),
            **{f"collections.{name}.base": (held.base,) for name, held in self.collections.items()},
        }.items():
            for path in paths:
                if not os.path.isabs(path):
                    raise ConfigError(f"{key}: {path!r} is not an absolute path")
        for name, held in self.collections.items():
            for user in held.users:
                if user not in self.users:
                    raise ConfigError(f"collections.{name}.users: {user!r} is not one of the [users]")
        for network in self.clients:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError as error:
                raise ConfigError(f"clients: {error}") from None

    def roots(self) -> tuple[bytes, ...]:
        """Every directory that something may be served from."""
        configured = (held.base for held in self.collections.values())
        return (*map(os.fsencode, self.bases), *map(os.fsencode, configured), *self.coll_dir().values())

    def locate(self, collection: bytes, hostbase: bytes | None) -> bytes:
        """The base directory of `collection` for a client that asks for `hostbase` (SUP 2.3, 9.3.6).

        The directory of a collection that the configuration or coll.dir names, and any directory at or below
        the `bases`, as long as it is really there; the path returned has its links resolved. Raises
        NoSuchBase for every other, with the same text whether it exists or not.
        """
        asked = hostbase or self.own_base(collection) or b"/usr/" + collection
        path = os.path.normpath(os.path.join(b"/", asked))
        if path.startswith(b"//"):  # which POSIX lets stand
            path = path[1:]
        try:
            if b"\0" in asked or b".." in asked.split(b"/") or not is_collection_name(collection):
                raise NoSuchBase(asked)
            served = [os.fsencode(base) for base in self.bases]
            own = self.own_base(collection)
            if own is not None:
                served.append(own)
            if not any(is_within(path, os.path.normpath(base)) for base in served):
                raise NoSuchBase(asked)
            real = os.path.realpath(path, strict=True)
            if not any(is_within(real, os.path.realpath(base)) for base in served) or not os.path.isdir(real):
                raise NoSuchBase(asked)
        except OSError:
            raise NoSuchBase(asked) from None
        return real

    def own_base(self, collection: bytes) -> bytes | None:
        """The base directory that the configuration, or coll.dir, has for a collection."""
        held = self.collections.get(collection.decode("utf-8", "surrogateescape"))
        return os.fsencode(held.base) if held else self.coll_dir().get(collection)

    def users_of(self, collection: bytes) -> tuple[str, ...]:
        """Who may have a collection; empty: everybody."""
        held = self.collections.get(collection.decode("utf-8", "surrogateescape"))
        return held.users if held else ()

    def hosts(self, own: str) -> dict[bytes, tuple[str, ...]]:
        """Which hosts serve a collection, for the name server: coll.host, and for what the configuration names
        this machine, `own`. Raises SupfileError for a coll.host that cannot be read."""
        path = Path(self.supfiles, "coll.host")
        listed = parse_hosts(path.read_bytes(), str(path)) if self.supfiles and path.is_file() else {}
        return {os.fsencode(name): (own,) for name in self.collections} | listed

    def coll_dir(self) -> dict[bytes, bytes]:
        """The collections of coll.dir and their base directories (SUP 6.7)."""
        return read_coll_dir(Path(self.supfiles, "coll.dir")) if self.supfiles else {}


def read_coll_dir(path: Path) -> dict[bytes, bytes]:
    """coll.dir: lines of `collection [=] base-directory`; the first of a name counts. No file is no lines."""
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    found: dict[bytes, bytes] = {}
    for _, line in controlfile.lines(text):
        words = controlfile.words(line.replace(b"=", b" ", 1))
        if len(words) >= 2 and words[1].startswith(b"/"):
            found.setdefault(words[0], words[1])
    return found


def load(path: Path) -> ServerConfig:
    """The configuration of the TOML file `path`. Raises ConfigError."""
    return read(path, ServerConfig)


def read(path: Path, kind: type[T]) -> T:
    """What the TOML file `path` makes of an attrs class such as ServerConfig. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return structure(tomllib.load(file), kind)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None


def structure(values: Mapping[str, Any], kind: type[T]) -> T:
    """What a table of values makes of an attrs class such as ServerConfig. Raises ConfigError, naming the keys."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for plain in (str, int, bool):
        converter.register_structure_hook(plain, _exactly)
    converter.register_structure_hook(float, _number)
    try:
        return converter.structure(values, kind)
    except cattrs.ClassValidationError as error:
        raise ConfigError("; ".join(_reasons(error))) from None


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, not {value!r}")
    return value


def _number(value: Any, kind: type) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)


def _reasons(error: cattrs.ClassValidationError) -> list[str]:
    """One sentence for each thing that is wrong, beginning with its key."""
    reasons = []
    for line in cattrs.transform_error(error, format_exception=_say):
        reason, _, path = line.rpartition(" @ $")
        key = path.removeprefix(".")
        reasons.append(f"{key}: {reason}" if key else reason)
    return reasons


def _say(error: BaseException, kind: type | None) -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        return "unknown key: " + ", ".join(sorted(error.extra_fields))
    if isinstance(error, (ConfigError, TypeError, ValueError)):
        return str(error)
    return format_exception(error, kind)
