"""NetInfo in three lines, for scripts and at a prompt: domains as dictionaries of directories.

    >>> from netinfo import client
    >>> lab = client.open("127.0.0.1:10877")
    >>> lab["/users/ann"]["home"]
    ('/Net/srv/Users/ann',)

Everything is text here; bytes that are no UTF-8 come as surrogate escapes and go back as they were. Calls
wait.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from netinfo.client import editing
from netinfo.client.blocking import BlockingNetwork
from netinfo.client.domain import NAME, Domain, Options
from netinfo.client.errors import NetInfoError
from netinfo.client.names import BadNameError, NameProblem, escape, local_portmapper
from netinfo.client.network import Network, run
from netinfo.client.opening import Opener
from netinfo.client.sources import Source, parse_source
from wire.formats.netinfo import NiId, NiStatus, Property


def _text(names: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(map(os.fsdecode, names))


class Directory(Mapping[str, tuple[str, ...]]):
    """A directory as it was when it was asked for: its properties by name, each with its values.

    Of several properties with one name the first counts, as for the protocol itself.
    """

    def __init__(self, domain: OpenDomain, id: NiId, properties: tuple[Property, ...]) -> None:  # noqa: A002
        self.domain = domain
        self.id = id
        """Its number and the instance that was read."""
        self.properties = properties
        """As they came, with all their bytes."""
        self._values: dict[str, tuple[str, ...]] = {}
        for prop in properties:
            self._values.setdefault(os.fsdecode(prop.name), _text(prop.values))

    def __getitem__(self, key: str) -> tuple[str, ...]:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<directory {self.id.object} {self.name!r} of {self.domain}>"

    @property
    def name(self) -> str:
        """The first value of `name`; empty if there is none."""
        return next(iter(self.get("name", ())), "")

    @property
    def path(self) -> str:
        """The path that leads to it by names."""
        return os.fsdecode(run(editing.path_of(self.domain.rules, self.id)))

    @property
    def parent(self) -> Directory:
        """The directory above; the root's is the root itself."""
        return self.domain.directory(run(self.domain.rules.parent(self.id)))

    @property
    def children(self) -> tuple[Directory, ...]:
        """The directories below, in order."""
        return tuple(self.domain.directory(number) for number in run(self.domain.rules.children(self.id)))

    def find(self, key: str, value: str) -> tuple[Directory, ...]:
        """The children whose property *key* holds *value*; none is an empty tuple."""
        try:
            found = run(self.domain.rules.lookup(self.id, os.fsencode(key), os.fsencode(value)))
        except NetInfoError as error:
            if error.status != NiStatus.NI_NODIR:
                raise
            return ()
        return tuple(self.domain.directory(number) for number in found)

    def __truediv__(self, name: str) -> Directory:
        """The child of that name: ``lab["/users"] / "ann"``. Raises `NetInfoError` NI_NODIR."""
        number = run(self.domain.rules.lookup(self.id, NAME, os.fsencode(name)))[0]
        return self.domain.directory(number)

    def set(self, key: str, *values: str) -> Directory:
        """Overwrite a property, or make it; the directory as it is now."""
        here = run(self.domain.rules.self_id(self.id))
        run(editing.set_property(self.domain.rules, here, os.fsencode(key), tuple(map(os.fsencode, values))))
        return self.domain.directory(self.id.object)

    def remove(self, key: str) -> Directory:
        """Remove every property of a name; the directory as it is now."""
        here = run(self.domain.rules.self_id(self.id))
        run(editing.remove_properties(self.domain.rules, here, os.fsencode(key)))
        return self.domain.directory(self.id.object)


class OpenDomain(Mapping[str, Directory]):
    """A domain: directories by path. Its length and iteration are the children of the root, by their paths.

    Raises `NetInfoError` with the server's status, and KeyError for a path that leads nowhere.
    """

    def __init__(self, opener: Opener, rules: Domain) -> None:
        self._opener = opener
        self.rules = rules
        """The domain for calls that are not here; `netinfo.client.network.run` waits for its coroutines."""

    def __repr__(self) -> str:
        return f"<domain {self.rules}>"

    def __str__(self) -> str:
        return str(self.rules)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self.rules.close()

    def __getitem__(self, path: str) -> Directory:
        try:
            found = run(self.rules.find(os.fsencode("/" + path.lstrip("/"))))
        except NetInfoError as error:
            if error.status != NiStatus.NI_NODIR:
                raise
            raise KeyError(path) from None
        return self.directory(found.object)

    def __iter__(self) -> Iterator[str]:
        return (os.fsdecode(escape(os.fsencode(child.name))) for child in self.root.children)

    def __len__(self) -> int:
        return len(run(self.rules.children(NiId(0, 0))))

    def directory(self, number: int) -> Directory:
        """The directory of a number."""
        return Directory(self, *run(self.rules.read_with_id(NiId(number, 0))))

    @property
    def root(self) -> Directory:
        """The topmost directory."""
        return self.directory(0)

    @property
    def statistics(self) -> dict[str, tuple[str, ...]]:
        """The server's figures, `checksum` first."""
        return {os.fsdecode(prop.name): _text(prop.values) for prop in run(self.rules.statistics())}

    @property
    def path(self) -> str:
        """Where the domain stands in the hierarchy, from the root domain `/`."""
        return os.fsdecode(run(self._opener.name_of(self.rules)))

    def parent(self) -> OpenDomain:
        """The parent domain. Raises `NetInfoError` NI_NETROOT at the top."""
        return OpenDomain(self._opener, run(self._opener.parent(self.rules)))

    def child(self, name: str) -> OpenDomain:
        """A child domain, by the name it has here. Raises `NetInfoError` NI_NODIR."""
        return OpenDomain(self._opener, run(self._opener.child(self.rules, os.fsencode(name))))

    def authenticate(self, user: str, password: str) -> None:
        """Call as a user of this domain from now on. Raises `NetInfoError` NI_NOUSER."""
        run(self.rules.authenticate(os.fsencode(user), password))

    def create(self, path: str, **properties: str | tuple[str, ...]) -> Directory:
        """Make a directory and those above it, and give it properties."""
        made = run(editing.make_path(self.rules, os.fsencode(path)))
        for key, value in properties.items():
            values = (value,) if isinstance(value, str) else value
            encoded = tuple(map(os.fsencode, values))
            made = run(editing.set_property(self.rules, made, os.fsencode(key), encoded))
        return self.directory(made.object)

    def destroy(self, path: str) -> None:
        """Destroy a directory and everything below it."""
        run(editing.destroy(self.rules, self[path].id))


def open(name: str = ".", *, timeout: float = 5.0, patience: float = 0.0) -> OpenDomain:  # noqa: A001
    """Open a domain: ".", "..", "/", a child's name or a path of these, HOST/TAG, HOST:PMAP/TAG, HOST:PORT, or any
    other form that `netinfo.client.sources` knows, such as a URL.

    timeout: seconds to wait for an answer.  patience: seconds for which calls that no server answers are
    tried again. Raises `names.BadNameError`, `errors.CannotConnectError` and `errors.NetInfoError`.
    """
    opener, source = _resolve(BlockingNetwork(), name, Options(timeout, max(timeout, 60.0), patience))
    return OpenDomain(opener, run(_open(opener, source)))


async def connect(reactor: Any, name: str = ".", options: Options | None = None) -> Domain:
    """The same for a Twisted program: a domain whose calls are awaited. Raises like `open`."""
    from netinfo.client.reactor import ReactorNetwork

    return await _open(*_resolve(ReactorNetwork(reactor), name, options or Options()))


def _resolve(network: Network, name: str, options: Options) -> tuple[Opener, Source]:
    local = local_portmapper()
    source = parse_source(name, local)
    if source.directory:
        raise BadNameError(
            NameProblem.FORMAT,
            f"{name!r} names a directory; open its domain, and look for {os.fsdecode(source.directory)} there",
        )
    return Opener(network, source.portmapper or local, options), source


async def _open(opener: Opener, source: Source) -> Domain:
    domain = await opener.open(source.domain)
    if source.user is not None:
        await domain.authenticate(os.fsencode(source.user), source.password or "")
    return domain
