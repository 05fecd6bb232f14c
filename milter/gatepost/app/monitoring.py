"""
Monitoring, wired: what counts, what is read, and the endpoint that serves it, if the settings name one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gatepost.app.store import chains_of, host_of, unix_path
from gatepost.db.counts import SqlCounts
from gatepost.db.engine import Database
from gatepost.errors import WorkerError
from gatepost.gateway.metrics import LookUps, Metrics, NoMetrics
from gatepost.mta.sessions import Sessions
from gatepost.settings import Settings
from gatepost.workers.key_client import KeyClient

if TYPE_CHECKING:
    from gatepost.metrics.prometheus import Endpoint, PrometheusMetrics

_ANSWER_SECONDS = 1.0  # for the key worker


@dataclass
class Monitor:
    """What counts, and the gauges by their word; whoever is wired adds its own. Without an endpoint: nothing."""

    metrics: Metrics = field(default_factory=NoMetrics)
    readings: dict[str, Callable[[], float | Mapping[str, float]]] = field(default_factory=dict)
    look_ups: LookUps = field(default_factory=LookUps)

    def serve(self) -> None:
        """Serve what has been added by now; raises ConfigError."""

    def close(self) -> None:
        """Stop serving."""


class ServedMonitor(Monitor):
    """A monitor with an endpoint."""

    def __init__(self, listen: str, metrics: "PrometheusMetrics") -> None:
        super().__init__(metrics)
        self._listen = listen
        self._prometheus = metrics
        self._endpoint: Endpoint | None = None

    def serve(self) -> None:
        """Serve what has been added by now; raises ConfigError."""
        from gatepost.metrics.prometheus import Endpoint  # noqa: PLC0415 - only where it is used

        self._prometheus.watch(self.readings)
        self._endpoint = Endpoint(self._listen, self._prometheus)

    def close(self) -> None:
        """Stop serving."""
        if self._endpoint is not None:
            self._endpoint.close()


def monitor_of(settings: Settings, database: Database, sessions: Sessions) -> Monitor:
    """Wire the milter's monitor; without `metrics.listen`, one that does nothing."""
    if not settings.metrics.listen:
        return Monitor()
    from gatepost.metrics.prometheus import PrometheusMetrics  # noqa: PLC0415 - only where it is used

    monitor = ServedMonitor(settings.metrics.listen, PrometheusMetrics())
    counts = SqlCounts(database)
    monitor.readings |= {
        "sessions": sessions.state,
        "held": counts.held,
        "journal": counts.open_entries,
        "unstamped": lambda: sum(map(counts.unstamped, chains_of(settings))),
        "deferred": lambda: counts.deferred(host_of(settings)),
        "key_worker": lambda: _answers(settings),
    }
    return monitor


def _answers(settings: Settings) -> float:
    client = KeyClient(unix_path(settings.keys.socket), seconds=_ANSWER_SECONDS)
    try:
        client.ping()
    except WorkerError:
        return 0.0
    finally:
        client.close()
    return 1.0
