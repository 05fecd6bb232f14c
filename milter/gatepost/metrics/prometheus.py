"""
Metrics for Prometheus: an implementation of the port, what is read when somebody asks, and the endpoint.

The only module that imports prometheus_client. Counting costs some microseconds a message, and happens when the
message's record is written. Gauges are read at each request; one that cannot be read is left out of the answer.
Labels hold words of ours alone, never what a message brought.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import MetricsHandler
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gatepost.decision.plan import Judgement
from gatepost.errors import ConfigError, GatepostError
from gatepost.gateway.metrics import CAUSES, OUTCOMES, Outcome

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)
_DECRYPTED, _SIGNED = ("openpgp", "smime", "no"), ("pass", "fail", "none")
_ROUTES = {False: "plain", True: "tls"}


Number = float | Mapping[str, float]
"""What a gauge reads: a number, or one for each word of its label."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric that is read at each request."""

    name: str
    help: str
    label: str = ""


GAUGES = {
    "sessions": Gauge("gatepost_sessions", "Sessions of the mail server: open, and busy with a message.", "state"),
    "lookups": Gauge("gatepost_lookups", "Look-ups of aliases that messages wait for."),
    "writer": Gauge(
        "gatepost_waiting", "Messages that wait for the database, and records not written yet.", "what"
    ),
    "pool": Gauge(
        "gatepost_pool",
        "Processes that encrypt large messages: how many there may be, tasks for them, processes lost so far.",
        "what",
    ),
    "held": Gauge("gatepost_held_copies", "Copies in quarantine."),
    "journal": Gauge("gatepost_journal_open", "Entries of the journal without a verdict."),
    "unstamped": Gauge("gatepost_events_unstamped", "Events of this host that no stamp covers yet."),
    "deferred": Gauge("gatepost_copies_deferred", "Protected copies that the mail server tries again."),
    "key_worker": Gauge("gatepost_key_worker_up", "1 if the key worker answers within a second, else 0."),
}
"""The gauges, each by the word under which its reading is given."""


class PrometheusMetrics:
    """Counts messages, recipients, tempfails and submissions; an implementation of `Metrics`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="gatepost", registry=self.registry)
        self._messages = Counter(
            "gatepost_messages", "Messages that got a verdict.", ["answer"], registry=self.registry
        )
        self._seconds = Histogram(
            "gatepost_message_seconds",
            "Time from the end of a message to its verdict.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._recipients = Counter(
            "gatepost_recipients",
            "Recipients by what was decided for them.",
            ["direction", "demand", "treatment"],
            registry=self.registry,
        )
        tempfails = Counter("gatepost_tempfails", "Messages that were put off.", ["cause"], registry=self.registry)
        submissions = Counter(
            "gatepost_submissions",
            "Copies and notices handed to a re-injection listener.",
            ["listener", "outcome"],
            registry=self.registry,
        )
        arrivals = Counter(
            "gatepost_arrivals",
            "Recipients of mail that came in, by whether it was decrypted and how its signature is.",
            ["decrypted", "signed"],
            registry=self.registry,
        )
        # Children are looked up once: what has not happened yet stands at 0, so that its first increase is seen.
        self._tempfails = {cause: tempfails.labels(cause) for cause in CAUSES}
        self._submissions = {
            (tls_route, outcome): submissions.labels(route, outcome)
            for tls_route, route in _ROUTES.items()
            for outcome in OUTCOMES
        }
        self._arrivals = {found: arrivals.labels(*found) for found in itertools.product(_DECRYPTED, _SIGNED)}
        self._decided: dict[tuple[str, str, str], Counter] = {}

    def answered(self, answer: str, seconds: float, judgements: Sequence[Judgement]) -> None:
        """Count a message that got a verdict, and what was decided for each recipient."""
        self._messages.labels(answer).inc()
        self._seconds.observe(seconds)
        for one in judgements:
            labels = one.direction.value, one.demand.word, one.treatment.value
            counter = self._decided.get(labels)
            if counter is None:
                counter = self._decided[labels] = self._recipients.labels(*labels)
            counter.inc()

    def put_off(self, cause: str) -> None:
        """Count a message that was put off."""
        self._tempfails[cause].inc()

    def submitted(self, outcome: Outcome, *, tls_route: bool) -> None:
        """Count a copy that was handed to a re-injection listener."""
        self._submissions[tls_route, outcome].inc()

    def arrived(self, decrypted: str, signed: str, recipients: int) -> None:
        """Count recipients of mail that came in."""
        self._arrivals[decrypted, signed].inc(recipients)

    def watch(self, readings: Mapping[str, Callable[[], Number]]) -> None:
        """Read these gauges, named by the words of GAUGES, at each request."""
        self.registry.register(cast("Collector", _Readings(readings)))


class Endpoint:
    """Serves metrics over HTTP in threads of its own, at `host:port` or `unix:/path`, until it is closed."""

    def __init__(self, listen: str, metrics: PrometheusMetrics) -> None:
        """Listen; raises ConfigError where that is not possible."""
        handler = MetricsHandler.factory(metrics.registry)
        self._socket = Path(listen.removeprefix("unix:")) if listen.startswith("unix:") else None
        try:
            if self._socket is not None:
                self._socket.unlink(missing_ok=True)
                self._server: _UnixServer | _TcpServer = _UnixServer(str(self._socket), handler)
            else:
                host, _, port = listen.rpartition(":")
                self._server = _TcpServer((host.strip("[]"), int(port)), handler)
        except OSError as error:
            raise ConfigError(f"metrics.listen: cannot listen at {listen}: {error.strerror or error}") from error
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)


class _TcpServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Leave a client that goes away alone."""


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave a client that goes away alone."""


class _Readings:
    """What the registry asks for gauges."""

    def __init__(self, readings: Mapping[str, Callable[[], Number]]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        """Read every gauge; one whose source is down is left out."""
        for word, read in self._readings.items():
            family = _family(GAUGES[word])
            try:
                found = read()
            except GatepostError:
                continue
            for label, value in found.items() if isinstance(found, Mapping) else [(None, found)]:
                family.add_metric([] if label is None else [label], value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """Name the gauges without reading them."""
        return (_family(GAUGES[word]) for word in self._readings)


def _family(gauge: Gauge) -> GaugeMetricFamily:
    return GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label] if gauge.label else [])
