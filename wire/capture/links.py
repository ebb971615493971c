"""Link layers: where, in a frame of each kind, the IP packet begins.

As everywhere among captures, the layouts are dpkt's tables of fields, turned into `struct` formats (`layout`): its
classes build an object per header, which takes ten times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container

from dpkt import ethernet, loopback, pcap, sll, sll2


def layout(
    header: type, order: str = ">", skip: int = 0, only: Container[str] | None = None
) -> struct.Struct:
    """The `struct` of a dpkt header's table of fields, from its byte *skip* on (a pcapng block's closing length left
    out); *only* these fields are read, if it is given.
    """
    rows = [(name, code) for name, code, _ in header.__hdr__ if name != "_len"]  # type: ignore[attr-defined]
    while skip:
        skip -= struct.calcsize(">" + rows.pop(0)[1])
    codes = [code if only is None or name in only else f"{struct.calcsize(code)}x" for name, code in rows]
    return struct.Struct(order + "".join(codes))


_ETHERTYPE = struct.Struct(">H")
_VLAN = frozenset({ethernet.ETH_TYPE_8021Q, ethernet.ETH_TYPE_8021AD, 0x9100})
_SNAP = bytes((0xAA, 0xAA, 3, 0, 0, 0))
_ETHERNET_TYPE = 12  # where dpkt.ethernet.Ethernet has its `type`
_SLL_TYPE = sll.SLL.__hdr_len__ - 2
_FAMILIES = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}
"""Address families of BSD loopback headers: AF_INET, and AF_INET6 of Linux, NetBSD, FreeBSD and Mac OS."""


def _after_type(data: bytes, offset: int) -> tuple[int, int]:
    """IP version and offset of what an Ethernet type at `offset` announces, through VLAN tags; (0, 0) if not
    IP.
    """
    kind = _ETHERTYPE.unpack_from(data, offset)[0]
    offset += 2
    while kind in _VLAN:
        kind = _ETHERTYPE.unpack_from(data, offset + 2)[0]
        offset += 4
    if kind <= 1500 and data[offset : offset + 6] == _SNAP:
        kind = _ETHERTYPE.unpack_from(data, offset + 6)[0]
        offset += 8
    if kind == ethernet.ETH_TYPE_IP:
        return 4, offset
    if kind == ethernet.ETH_TYPE_IP6:
        return 6, offset
    return 0, 0


def _ethernet(data: bytes) -> tuple[int, int]:
    return _after_type(data, _ETHERNET_TYPE)


def _cooked(data: bytes) -> tuple[int, int]:
    return _after_type(data, _SLL_TYPE)


def _cooked_v2(data: bytes) -> tuple[int, int]:
    version, offset = _after_type(data[:2] + data[sll2.SLL2.__hdr_len__ :], 0)
    return version, offset + sll2.SLL2.__hdr_len__ - 2


def _raw(data: bytes) -> tuple[int, int]:
    return data[0] >> 4, 0


def _bsd_loopback(data: bytes) -> tuple[int, int]:
    size = loopback.Loopback.__hdr_len__
    family = data[:size]
    number = family[0] or family[size - 1]  # of the recording machine's byte order
    return _FAMILIES.get(number, 0), size


LINKS: dict[int, Callable[[bytes], tuple[int, int]]] = {
    pcap.DLT_NULL: _bsd_loopback,
    pcap.DLT_EN10MB: _ethernet,
    12: _raw,  # DLT_RAW is 12, 14 or 101, as the recording system had it
    14: _raw,
    101: _raw,
    108: _bsd_loopback,
    pcap.DLT_LINUX_SLL: _cooked,
    pcap.DLT_IPV4: _raw,
    pcap.DLT_IPV6: _raw,
    pcap.DLT_LINUX_SLL2: _cooked_v2,
}
"""By link type: the function from a frame to the IP version and the offset of the packet in it; (0, 0) if it carries
no IP. It raises IndexError or struct.error where the frame is cut off before."""
