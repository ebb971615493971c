"""Numbers for Prometheus: what was answered how, how fast; and never a label that a peer chose."""

from prometheus_client.parser import text_string_to_metric_families

from emulators.console.metrics import Metrics
from emulators.watch import Watcher
from tests.emulators.messages import call, event, reply, sup_session
from wire.formats.netinfo import LookupArgs, NiId, NiStatus, Result


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_calls_are_counted_by_procedure_and_status() -> None:
    watcher, metrics = Watcher(), Metrics()
    watcher.listeners.append(metrics)
    for xid, status in enumerate((NiStatus.NI_NODIR, NiStatus.NI_NODIR, NiStatus.NI_PERM)):
        asked = call(b"LOOKUP", LookupArgs(NiId(5, 0), b"name", b"ann"), xid=xid)
        watcher.rpc(event("datagram", asked, udp=True))
        answered = reply(b"LOOKUP", Result(status, None), xid=xid)
        watcher.rpc(event("datagram", answered, udp=True, outgoing=True, time=1e9 + 0.002))
    found = samples(metrics)
    labels = (("procedure", "LOOKUP"), ("service", "netinfod network"))
    assert found["ghostports_calls_total", (*labels, ("status", "NI_NODIR"))] == 2
    assert found["ghostports_calls_total", (*labels, ("status", "NI_PERM"))] == 1
    assert found["ghostports_call_seconds_count", (labels[1],)] == 3
    assert found["ghostports_messages_total", (("sender", "client"), labels[1])] == 3
    assert found["ghostports_bytes_total", (("sender", "client"), labels[1])] == 3 * len(asked)


def test_sup_is_counted_by_type() -> None:
    watcher, metrics = Watcher(), Metrics()
    watcher.listeners.append(metrics)
    for each in sup_session():
        watcher.sup(each)
    assert (
        samples(metrics)[
            "ghostports_sup_messages_total", (("service", "netinfod network"), ("type", "SETUP"))
        ]
        == 1
    )


def test_peers_choose_no_labels() -> None:
    watcher, metrics = Watcher(), Metrics()
    watcher.listeners.append(metrics)
    before = len(samples(metrics))
    for number in range(200):
        bad = bytearray(call(b"ROOT", xid=number))
        bad[20:24] = (1000 + number).to_bytes(4, "big")  # a procedure that is not there
        watcher.rpc(event("datagram", bytes(bad), udp=True))
        watcher.rpc(event("datagram", reply(b"PING", xid=number), udp=True, outgoing=True))
    assert len(samples(metrics)) < before + 40
