"""NetInfo's client library: find a domain, open it, read it, change it.

    lab = netinfo.client.open("127.0.0.1:10877")         for scripts and at a prompt (`facade`)
    domain = await netinfo.client.connect(reactor, "/")  for Twisted programs (`domain`)

Both run the same code: `domain`, `opening`, `looking` and `editing` are coroutines over `network.Network`, which
`blocking` and `reactor` implement; `sources` and `paths` read what a person types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netinfo.client.facade import Directory, OpenDomain, connect, open  # noqa: A004 - as codecs.open

__all__ = ["Directory", "OpenDomain", "connect", "open"]


def __getattr__(name: str) -> Any:
    """What `__all__` lists, imported when it is first asked for: tools that do without start faster."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netinfo.client import facade

    return getattr(facade, name)
