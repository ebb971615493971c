"""What comes out of a domain besides results: things that whoever serves it must do."""

from __future__ import annotations

from typing import Any

import attrs

from netinfo.tree import Commit, Image, Tree
from wire.formats.rpc import Procedure


@attrs.frozen
class Changed:
    """The domain changed: keep `commit`, and (a master) tell the clones to make the same call.

    argument: the call's own, with the target id that makes a clone's CREATE choose the master's number (NETINFO 5.1).
    """

    commit: Commit
    procedure: Procedure | None = None
    """None for the root that ROOT makes, which no clone is told of."""
    argument: Any = None


@attrs.frozen
class Replaced:
    """A clone received the whole domain anew; keep it in place of all that was before (NETINFO 5.3)."""

    tree: Tree
    image: Image
    """The tree as it was received."""


@attrs.frozen
class CheckMaster:
    """A clone shall ask whether its master has another checksum, and transfer the domain if so (NETINFO 5.2)."""

    trusted: bool
    """The master or this host itself wants it, and not just anybody."""


@attrs.frozen
class ResyncClones:
    """A master shall read its list of clones anew and send each RESYNC (NETINFO 5.2)."""

    trusted: bool
    """This host itself wants it, and not just anybody."""


Event = Changed | Replaced | CheckMaster | ResyncClones
