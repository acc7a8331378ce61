"""The page for Prometheus, and its counters.

Counters are per host: each worker process counts for itself, and the process that is scraped adds
them up. They are connected to the app's signals, which a fork can use as well. Gauges are read from
the database at each scrape, so they are the same on all hosts. `flask worker` counts the
connections once a minute, because the count takes longer the more there are.
"""

import hmac
import os

from flask import Blueprint, Flask, abort, current_app, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from app import connections
from app.connections.history import Event, connected, reconnect_needed, refresh_failed, refreshed
from app.connections.models import EventKind, Reason
from app.connections.outcomes import RefreshOutcome
from app.operations.gauges import Gauges
from app.settings.config import Settings

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
def metrics() -> tuple[bytes, int, dict[str, str]]:
    """All metrics in Prometheus' text format, for a client that knows the token."""
    measured: Metrics | None = current_app.extensions["metrics"]
    if measured is None:
        abort(404)

    if not measured.may_be_read_with(request.authorization.token if request.authorization else ""):
        return b"", 401, {"WWW-Authenticate": "Bearer"}

    return measured.text(), 200, {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}


def init_app(app: Flask, settings: Settings) -> None:
    """Start to count, if METRICS_TOKEN is set."""
    token = settings.metrics_token
    with app.app_context():
        fleet = connections.current()
    app.extensions["metrics"] = Metrics(token, Gauges(fleet)) if token else None


class Metrics:
    """The counters of this process, and access to those of all processes."""

    def __init__(self, token: str, gauges: Gauges) -> None:
        self._token = token
        self._stored = CollectorRegistry()
        self._stored.register(gauges)
        self._own = CollectorRegistry()
        self._refreshes = Counter(
            "katana_refreshes", "Refreshes by outcome.", ["outcome"], registry=self._own
        )
        self._refresh_seconds = Histogram(
            "katana_refresh_duration_seconds",
            "How long refreshes took, from the claim until the outcome was stored.",
            buckets=SECONDS,
            registry=self._own,
        )
        self._connect_seconds = Histogram(
            "katana_connect_duration_seconds",
            "How long Katana took to give the grants of new connections.",
            buckets=SECONDS,
            registry=self._own,
        )
        self._takeovers = Counter(
            "katana_lease_takeovers",
            "Refreshes that took over from one that had died or hung.",
            registry=self._own,
        )
        for outcome in RefreshOutcome:  # a rate needs a counter that exists before its first event
            self._refreshes.labels(outcome)
        connected.connect(self._count_connect)
        for signal in (refreshed, refresh_failed, reconnect_needed):
            signal.connect(self._count_refresh)

    def may_be_read_with(self, token: str | None) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest((token or "").encode(), self._token.encode())

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        counted = self._own
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        return generate_latest(counted) + generate_latest(self._stored)

    def _count_connect(self, event: Event) -> None:
        self._connect_seconds.observe(event.duration_seconds or 0)

    def _count_refresh(self, event: Event) -> None:
        self._refreshes.labels(outcome_of(event)).inc()
        self._refresh_seconds.observe(event.duration_seconds or 0)
        if event.took_over:
            self._takeovers.inc()


def outcome_of(event: Event) -> RefreshOutcome:
    """The outcome of a refresh."""
    if event.kind is EventKind.RECONNECT_NEEDED:
        return RefreshOutcome.LOST if event.detail == Reason.ANSWER_LOST else RefreshOutcome.ENDED

    return RefreshOutcome(event.detail or RefreshOutcome.OK)
