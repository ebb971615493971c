"""The flat files of Unix, such as passwd and hosts, out of a domain's directories and into them (NETINFO
6.4).

`FORMATS` has every format by name; NeXT's and Apple's tools wrote and read some of them differently
(`Dialect`).
"""

from __future__ import annotations

from netinfo.flat.formats import FORMATS
from netinfo.flat.model import Dialect, FlatError, FlatFormat, Item

__all__ = ["FORMATS", "Dialect", "FlatError", "FlatFormat", "Item"]
