"""The client library's network on Twisted's reactor: for servers, and for clients that do other things
meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from netinfo.addresses import ANY
from netinfo.client.multicall import Multicall
from netinfo.client.network import Answer, Link, Target
from wire.formats.rpc import Auth, Procedure, Program
from wire.transport.errors import ConnectError
from wire.transport.rpc_client import RpcClient, connect_tcp, connect_udp
from wire.transport.tap import Address, Tap


class ReactorNetwork:
    """`Network` over Twisted."""

    def __init__(self, reactor: Any, taps: Sequence[Tap] = ()) -> None:
        self._reactor = reactor
        self._taps = tuple(taps)

    async def connect_tcp(self, host: str, port: int, program: Program, patience: float) -> Link:
        client = await connect_tcp(
            self._reactor,
            Address(host, port),
            program,
            timeout=patience,
            source_port="reserved",
            taps=self._taps,
        )
        return ReactorLink(client)

    async def connect_udp(self, host: str, port: int, program: Program) -> Link:
        return ReactorLink(await connect_udp(self._reactor, Address(host, port), program, taps=self._taps))

    async def multicall(self, targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        asking = _Asking(self._reactor, Multicall(tuple(targets)), tuple(waits))
        port = self._reactor.listenUDP(0, asking, interface=ANY)
        try:
            return await asking.answered
        finally:
            asking.stop()
            await port.stopListening()

    async def resolve(self, host: str) -> str:
        try:
            return cast(str, await self._reactor.resolve(host))
        except (DNSLookupError, OSError) as error:
            raise ConnectError(f"No IPv4 address is known for host {host}: {error}.") from error

    async def sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)


class ReactorLink:
    """`Link` over a client of `wire.transport`."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        # A whole domain is too long to be held as bytes, too.
        call = self._client.call_long if procedure.name == "READALL" else self._client.call
        return await call(procedure.name, argument, credential=credential, timeout=patience)

    def close(self) -> None:
        self._client.close()


class _Asking(DatagramProtocol):
    """Sends the calls of a `Multicall`, again after each wait, until one is answered."""

    noisy = False

    def __init__(self, reactor: Any, calls: Multicall, waits: Sequence[float]) -> None:
        self._reactor = reactor
        self._calls = calls
        self._waits = list(waits)
        self._timer: Any = None
        self.answered: Deferred[Answer | None] = Deferred()

    def startProtocol(self) -> None:
        cast(Any, self.transport).setBroadcastAllowed(True)
        self._send()

    def _send(self) -> None:
        self._timer = None
        if not self._waits:
            self._finish(None)
            return
        for host, port, datagram in self._calls.datagrams():
            try:
                cast(Any, self.transport).write(datagram, (host, port))
            except OSError:
                continue  # a host that cannot be reached is one that does not answer
        self._timer = self._reactor.callLater(self._waits.pop(0), self._send)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self._calls.answer(datagram, addr[0])
        if answer is not None:
            self._finish(answer)

    def _finish(self, answer: Answer | None) -> None:
        if not self.answered.called:
            self.answered.callback(answer)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
