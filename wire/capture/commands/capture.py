"""`ghostports capture`: a recording relay between any two programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


class AddressType(click.ParamType[Any]):
    """``HOST:PORT``, an IPv6 address in brackets; the host may be left out where a default makes sense."""

    name = "HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        try:
            host.encode("idna")  # as every lookup of a name does, which raises no OSError then
        except UnicodeError:
            port = ""
        if not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


@click.command(short_help="Record what passes between two programs, without root.")
@click.option("--listen", metavar="ADDR:PORT", type=AddressType(), default="127.0.0.1:0", show_default=True,
              help="Where clients connect, over TCP or UDP; port 0 is any free one.")  # fmt: skip
@click.option("--to", "target", metavar="HOST:PORT", type=AddressType(), required=True,
              help="The server to which everything is passed on.")  # fmt: skip
@click.option("--redact", is_flag=True,
              help="Blank passwords and machine names; what is not understood is then not recorded.")  # fmt: skip
@click.option("--user", default="", metavar="NAME",
              help="Account to become when started as root [default: anon, else nobody].")  # fmt: skip
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
def capture(listen: tuple[str, int], target: tuple[str, int], redact: bool, user: str, file: Path) -> None:
    """Pass TCP connections and UDP datagrams on to a server, and record them in FILE, as pcapng.

    Ends with Ctrl-C. Point the client at the address that is printed.
    """
    from wire.capture.recording import Recording
    from wire.capture.relay import relay, resolve
    from wire.transport.foreground import Stop, run_server

    if ":" not in listen[0] and not listen[0].startswith("127."):
        click.echo(f"Warning: everyone who can reach {listen[0]} can use this relay.", err=True)
    try:
        address = resolve(*target)
    except OSError as error:
        raise click.ClickException(f"{target[0]} is no known host: {error.strerror}") from error
    with Recording(file, redact).taps() as taps:

        async def start(reactor: Any) -> Stop:
            listening = await relay(reactor, *listen, address, taps, f"relay to {target[0]}:{target[1]}")
            click.echo(f"Recording {listening.address} to {address} in {file}; Ctrl-C ends it.", err=True)
            return listening.stop

        code = run_server(start, account=user)
    sys.exit(code)
