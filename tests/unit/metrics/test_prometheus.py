"""Metrics: every number where it belongs, quick, complete in the documents, and none of a message's content."""

import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Judgement
from gatepost.errors import ConfigError, CryptoError, DeliveryError, StorageError, WorkerError
from gatepost.gateway.budget import Budget
from gatepost.gateway.metrics import CAUSES, CountedSubmitter, LookUps, word_of
from gatepost.gateway.submission import Submission
from gatepost.message.address import NULL_SENDER, parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient
from gatepost.metrics.prometheus import GAUGES, Endpoint, PrometheusMetrics

ADMIN = Path(__file__).parents[3] / "docs" / "admin.md"


def judgement(treatment: Treatment = Treatment.OPENPGP) -> Judgement:
    return Judgement(
        recipient=Recipient(parse(b"<canary@secret.test>"), ()),
        direction=Direction.OUT,
        demand=Demand.ENCRYPT,
        treatment=treatment,
        rules=("canary",),
        reasons=("canary",),
    )


def text_of(metrics: PrometheusMetrics) -> str:
    from prometheus_client import generate_latest  # noqa: PLC0415 - what the endpoint does

    return generate_latest(metrics.registry).decode()


def get(endpoint: Endpoint) -> str:
    port = endpoint._server.server_address[1]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = answer.read()
        assert isinstance(found, bytes)
        return found.decode()


class FakeSubmitter:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def submit(self, submission: Submission, budget: Budget) -> str:
        del submission, budget
        if self.error is not None:
            raise self.error
        return "Q"


def submission(*, tls_route: bool = False) -> Submission:
    return Submission(NULL_SENDER, (), (), (), MemoryBody(b""), tls_route=tls_route)


class TestCounting:
    def test_a_message_is_counted(self) -> None:
        """A verdict counts once by its answer and time, and once per recipient by what was decided."""
        metrics = PrometheusMetrics()
        metrics.answered("accept", 0.004, [judgement(), judgement(), judgement(Treatment.PASS)])
        text = text_of(metrics)

        assert 'gatepost_messages_total{answer="accept"} 1.0' in text
        assert 'gatepost_recipients_total{demand="encrypt",direction="out",treatment="openpgp"} 2.0' in text
        assert 'gatepost_recipients_total{demand="encrypt",direction="out",treatment="pass"} 1.0' in text
        assert 'gatepost_message_seconds_bucket{le="0.0025"} 0.0' in text
        assert 'gatepost_message_seconds_bucket{le="0.005"} 1.0' in text

    def test_what_came_in_is_counted(self) -> None:
        """Recipients are counted by whether their mail was decrypted, and how its signature is."""
        metrics = PrometheusMetrics()
        metrics.arrived("smime", "pass", 2)

        assert 'gatepost_arrivals_total{decrypted="smime",signed="pass"} 2.0' in text_of(metrics)

    def test_no_content_in_labels(self) -> None:
        """Neither addresses nor rules nor reasons reach a label: they may quote a message."""
        metrics = PrometheusMetrics()
        metrics.answered("accept", 0.004, [judgement()])

        assert "canary" not in text_of(metrics)

    @pytest.mark.parametrize(
        ("error", "word"),
        [
            (StorageError("x"), "storage"),
            (WorkerError("x"), "worker"),
            (DeliveryError("x"), "delivery"),
            (CryptoError("x"), "crypto"),
            (ZeroDivisionError("x"), "internal"),
            (KeyboardInterrupt(), "internal"),
        ],
    )
    def test_tempfails_by_cause(self, error: BaseException, word: str) -> None:
        """Whatever puts a message off is counted under one of few words."""
        metrics = PrometheusMetrics()
        metrics.put_off(word_of(error))

        assert f'gatepost_tempfails_total{{cause="{word}"}} 1.0' in text_of(metrics)

    def test_what_has_not_happened_stands_at_zero(self) -> None:
        """An alert on an increase sees the first one."""
        text = text_of(PrometheusMetrics())

        assert all(f'gatepost_tempfails_total{{cause="{cause}"}} 0.0' in text for cause in CAUSES)
        assert 'gatepost_submissions_total{listener="tls",outcome="lost"} 0.0' in text

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (None, "taken"),
            (DeliveryError("x"), "refused"),
            (DeliveryError("x", uncertain=True), "lost"),
            (WorkerError("late"), "late"),
        ],
    )
    def test_submissions_by_outcome(self, error: Exception | None, outcome: str) -> None:
        """Each copy that is handed to a listener counts by listener and outcome; errors go on as they are."""
        metrics = PrometheusMetrics()
        submitter = CountedSubmitter(FakeSubmitter(error), metrics)
        if error is None:
            assert submitter.submit(submission(tls_route=True), Budget(5, lambda: None)) == "Q"
        else:
            with pytest.raises(type(error)):
                submitter.submit(submission(tls_route=True), Budget(5, lambda: None))

        assert f'gatepost_submissions_total{{listener="tls",outcome="{outcome}"}} 1.0' in text_of(metrics)

    def test_look_ups_under_way(self) -> None:
        """A look-up counts while it is under way, and no longer when it fails."""
        look_ups = LookUps()

        def look_up(question: int) -> float:
            assert look_ups.under_way == 1
            return 1 / question

        counted = look_ups.counted(look_up)
        assert counted(1) == 1.0
        with pytest.raises(ZeroDivisionError):
            counted(0)
        assert look_ups.under_way == 0


class TestEndpoint:
    @pytest.fixture
    def metrics(self) -> PrometheusMetrics:
        metrics = PrometheusMetrics()
        metrics.watch({"held": lambda: 3.0, "sessions": lambda: {"open": 2, "busy": 1}, "journal": self.broken})
        return metrics

    @staticmethod
    def broken() -> float:
        raise StorageError("the database is down")

    @pytest.fixture
    def endpoint(self, metrics: PrometheusMetrics) -> Iterator[Endpoint]:
        endpoint = Endpoint("127.0.0.1:0", metrics)
        yield endpoint
        endpoint.close()

    def test_gauges_are_read_when_asked(self, endpoint: Endpoint) -> None:
        """Gauges tell the number of this moment; one whose source is down is missing, the others stand."""
        text = get(endpoint)

        assert "gatepost_held_copies 3.0" in text
        assert 'gatepost_sessions{state="busy"} 1.0' in text
        assert "gatepost_journal_open" not in text
        assert "gatepost_process_cpu_seconds_total" in text

    def test_unix_socket(
        self, metrics: PrometheusMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A UNIX socket serves the same; one that a crash left is replaced, and none is left."""
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        Path("m.sock").touch()
        endpoint = Endpoint("unix:m.sock", metrics)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect("m.sock")
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = b""
            while piece := client.recv(65536):
                received += piece
        endpoint.close()

        assert b"gatepost_held_copies 3.0" in received
        assert not Path("m.sock").exists()

    def test_taken_port(self, metrics: PrometheusMetrics) -> None:
        """A port that is taken stops the start with a line that names it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            place = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(ConfigError, match=f"metrics.listen: cannot listen at {place}"):
                Endpoint(place, metrics)


def documented() -> dict[str, str]:
    """Give the metrics of docs/admin.md with their labels."""
    rows = re.findall(r"^\| `(gatepost_\w+)` \|([^|]*)\|", ADMIN.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: " ".join(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def existing() -> dict[str, str]:
    metrics = PrometheusMetrics()
    readings: dict[str, Mapping[str, float] | float] = {
        word: {"word": 1.0} if gauge.label else 1.0 for word, gauge in GAUGES.items()
    }
    metrics.watch({word: lambda value=value: value for word, value in readings.items()})  # type: ignore[misc]
    metrics.answered("accept", 1.0, [judgement()])
    found = {}
    for family in metrics.registry.collect():
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        found[family.name + ("_total" if family.type == "counter" else "")] = " ".join(sorted(labels))
    return {name: labels for name, labels in found.items() if not name.startswith("gatepost_process_")}


def test_documents_name_every_metric() -> None:
    """The table in docs/admin.md holds exactly the metrics that there are, with their labels."""
    assert documented() == existing()


def test_alerts_name_metrics_that_exist() -> None:
    """An example alert cannot ask for a metric that is not there."""
    alerts = re.findall(r"expr: (.*)", ADMIN.read_text(encoding="utf-8"))
    names = {name for alert in alerts for name in re.findall(r"gatepost_\w+", alert)}

    assert alerts
    assert names <= {name + suffix for name in existing() for suffix in ("", "_bucket", "_count", "_sum")}
