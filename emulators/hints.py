"""Commands to try against a lab, as they are typed at this moment on this machine: ours and the real programs'.

Each is written so that a shell here finds the program meant (ours may hide Debian's of the same name, or not be on
PATH at all) and so that it reaches the ports that the lab really has.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import attrs

from emulators.lab import SUP_DEBUG, Lab
from netinfo.starter import PASSWORDS
from wire.transport.tap import Address

SYSTEM_FOLDERS = ("/usr/bin", "/usr/sbin", "/sbin", "/usr/local/sbin")
"""Where real programs are looked for besides PATH."""
OURS = ("sup",)
"""Real programs that one of ours shares its name with."""
PACKAGES = {"sup": "sup", "rpcinfo": "rpcbind"}
"""Real program -> the Debian package that holds it."""


@attrs.frozen
class Hint:
    """A command, what it shows, and what it lacks to work (empty: nothing)."""

    command: str
    says: str
    lacks: str = ""


def own_program(name: str) -> str:
    """How to type the name of one of our programs here, in a terminal where no virtual environment is active."""
    script = Path(sys.executable).parent / name
    if not script.exists():
        return name
    found = shutil.which(name)
    active = os.environ.get("VIRTUAL_ENV")
    if (
        found is not None
        and Path(found).resolve() == script.resolve()
        and not (active and Path(found).is_relative_to(active))
    ):
        return name
    home = Path.home()
    if script.is_relative_to(home) and shlex.quote(str(script)) == str(script):
        return f"~/{script.relative_to(home)}"
    return shlex.quote(str(script))


def real_program(name: str) -> str | None:
    """How to type the name of a real program here; None where there is none.

    By its path if ours may hide it: in the second terminal a virtual environment may be active.
    """
    for folder in [*os.environ.get("PATH", os.defpath).split(os.pathsep), *SYSTEM_FOLDERS]:
        found = shutil.which(name, path=folder)
        if found is not None and not _is_script(Path(found)):
            hidden = name in OURS or shutil.which(name) != found
            return shlex.quote(found) if hidden else name
    return None


def _is_script(path: Path) -> bool:
    """Our programs are scripts, the real ones are not."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def universal(address: Address) -> str:
    """An address as ``rpcinfo -a`` takes it: its port as two more decimal bytes (RFC 5665 5.2.3.3)."""
    return f"{address.host}.{address.port >> 8}.{address.port & 0xFF}"


def hints(lab: Lab) -> list[Hint]:
    """What to try against a running lab, in the order of a first visit."""
    return [*_netinfo(lab), *_sup(lab), *_real(lab)]


def _netinfo(lab: Lab) -> list[Hint]:
    portmapper, network = lab.reached("portmapper"), lab.reached("domain network")
    where = f"{portmapper}/network"
    niutil, nidump, nifind = own_program("niutil"), own_program("nidump"), own_program("nifind")
    return [
        Hint(f"{niutil} -list -t {where} /users", "by tag: asks the portmapper, the binder, then the domain"),
        Hint(f"{niutil} -read {network} /users/ann", "straight to the domain's port"),
        Hint(f"{nidump} passwd -t {where}", "the users as a passwd file"),
        Hint(
            f"GHOSTPORTS_PORTMAP={portmapper} {nifind} -v /users/ann",
            "climbs from domain local to its parent",
        ),
        change(lab, f"-t {where} /users/ann office 42"),
    ]


def change(lab: Lab, what: str) -> Hint:
    """How somebody at this machine changes a property: *what* is the operands of ``niutil -createprop``."""
    niutil = own_program("niutil")
    if lab.account in lab.superusers:
        return Hint(f"{niutil} -createprop {what}", "writes, as the account that runs the lab")
    secret = PASSWORDS[b"network"][b"root"].decode()
    return Hint(
        f"NETINFO_PASSWORD={secret} {niutil} -createprop -u root {what}", "writes, as NetInfo's own root"
    )


def _sup(lab: Lab) -> list[Hint]:
    sup = own_program("sup")
    port = lab.reached("supfilesrv").port
    return [
        Hint(
            f"{sup} -v --port {port} {shlex.quote(str(lab.state.supfile))}",
            "brings the collection; run it again and nothing travels",
        )
    ]


def _real(lab: Lab) -> list[Hint]:
    portmapper = lab.reached("portmapper")
    rpcinfo, sup = real_program("rpcinfo"), real_program("sup")
    universally = universal(portmapper)
    found = [
        Hint(
            f"{rpcinfo or 'rpcinfo'} -a {universally} -T {transport} 100000 2",
            f"the real rpcinfo over {transport.upper()}",
            _lacks("rpcinfo", rpcinfo),
        )
        for transport in ("udp", "tcp")
    ]
    if lab.config.sup_debug_port:
        taken = "" if lab.has(SUP_DEBUG) else "port 1127 is taken by another program"
        command = f"{sup or 'sup'} -P -v {shlex.quote(str(lab.state.supfile))}"
        found.append(Hint(command, "the original SUP client", _lacks("sup", sup, taken)))
    historic = "" if lab.config.historic_ports else "needs --historic-ports"
    found.append(
        Hint(
            f"{rpcinfo or 'rpcinfo'} -p {portmapper.host}",
            "everything registered with the portmapper",
            _lacks("rpcinfo", rpcinfo, historic),
        )
    )
    return found


def _lacks(name: str, found: str | None, besides: str = "") -> str:
    """What a command lacks: its program, or something *besides*, or both."""
    program = "" if found is not None else f"needs the Debian package {PACKAGES[name]}"
    return "; ".join(filter(None, (program, besides)))
