"""Prometheus gauges about the connections, read from the database at each scrape."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.connections import Connections
from app.connections.models import Status
from app.operations.probes import Question


class Gauges(Collector):
    """The same on all hosts. Each gauge needs one index look-up or one row."""

    def __init__(self, fleet: Connections) -> None:
        self._read = Question(partial(read, fleet))

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database is read only at a scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The gauges. While the database does not respond, only the gauge that says so."""
        up = GaugeMetricFamily("katana_database_up", "Whether the database answers.")
        try:
            yield from self._read.answer()
            up.add_metric([], 1)
        except (SQLAlchemyError, TimeoutError):
            up.add_metric([], 0)
        yield up


def read(fleet: Connections) -> Sequence[Metric]:
    counted = fleet.counts.last()
    by_status = GaugeMetricFamily(
        "katana_connections", "Connections by status, when last counted.", labels=["status"]
    )
    for status in Status:
        by_status.add_metric([status], counted.numbers[status] if counted else math.nan)
    overdue, unrenewed = fleet.overview.overdue_since(), fleet.idle.oldest()
    now = fleet.idle.moment(0)
    return [
        by_status,
        GaugeMetricFamily(
            "katana_connections_count_age_seconds",
            "How long ago a worker last counted the connections.",
            counted.seconds_ago if counted else math.inf,
        ),
        GaugeMetricFamily(
            "katana_oldest_overdue_refresh_age_seconds",
            "How long the most overdue refresh that has failed has been due.",
            _seconds(overdue, now),
        ),
        GaugeMetricFamily(
            "katana_oldest_refresh_age_seconds",
            "How long ago the active connection that has waited longest was last renewed.",
            _seconds(unrenewed, now),
        ),
        GaugeMetricFamily(
            "katana_incident",
            "Whether Katana refuses so many connections in a row that none is ended.",
            int(fleet.refusal_breaker.is_open()),
        ),
    ]


def _seconds(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0) if since else 0
