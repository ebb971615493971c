"""What a lab did, in numbers, as Prometheus reads them (`/metrics`)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

from wire.capture.messages import Message, RpcMessage, SupMessage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Seconds; a call takes some tenths of a millisecond."""


class Metrics:
    """Listens to a `Watcher`. What peers send never becomes a label, so their number is bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._calls = Counter(
            "ghostports_calls", "Remote procedure calls that were answered", ("service", "procedure", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "ghostports_call_seconds",
            "From a call to its reply",
            ("service",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._messages = Counter(
            "ghostports_messages", "Messages, calls and replies each for one", ("service", "sender"),
            registry=self.registry,
        )  # fmt: skip
        self._bytes = Counter(
            "ghostports_bytes", "Bytes of these messages", ("service", "sender"), registry=self.registry
        )
        self._sup = Counter(
            "ghostports_sup_messages", "Messages of SUP by type", ("service", "type"), registry=self.registry
        )

    def __call__(self, message: Message) -> None:
        service = message.conversation.service
        sender = "client" if message.from_client else "server"
        self._messages.labels(service, sender).inc()
        self._bytes.labels(service, sender).inc(message.size)
        if isinstance(message, SupMessage):
            self._sup.labels(service, message.type).inc()
        elif isinstance(message, RpcMessage) and message.kind == "reply":
            procedure = message.procedure.name if message.procedure is not None else "unknown"
            self._calls.labels(service, procedure, message.status).inc()
            if message.latency is not None:
                self._seconds.labels(service).observe(max(0.0, message.latency))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)
