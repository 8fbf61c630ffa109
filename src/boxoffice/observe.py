"""What a pod tells Prometheus. Labels are bounded: a sale's name, a state; never a buyer or a seat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from boxoffice.board import Board
from boxoffice.snapshot import View

STATES = ("scheduled", "prequeue", "open", "hold", "drain", "allTaken", "soldOut", "closed", "recovering")

_GAUGES = {
    "waiting": ("boxoffice_line_waiting", "Buyers in line whose number has not been called."),
    "outstanding": ("boxoffice_line_called_unclaimed", "Buyers called who have not come in yet."),
    "active": ("boxoffice_admission_inside", "Buyers inside, unsettled orders included."),
    "target": ("boxoffice_admission_target", "Buyers that should be inside."),
    "target_decided": (
        "boxoffice_admission_target_decided",
        "Buyers that should be inside, as it was decided last: what nobody renews falls.",
    ),
    "per_minute": ("boxoffice_admission_calls_per_minute", "Numbers called per minute, smoothed."),
    "free": ("boxoffice_seats_free", "Seats that nobody has."),
    "held": ("boxoffice_seats_held", "Seats held and not being paid."),
    "paying": ("boxoffice_seats_paying", "Seats of orders that are not settled."),
    "sold": ("boxoffice_seats_sold", "Seats sold and settled."),
    "total": ("boxoffice_seats_total", "Seats of the house."),
    "intents": ("boxoffice_intents_unpublished", "Orders recorded in Redis that the log does not have yet."),
}
_COUNTERS = {
    "issued": ("boxoffice_line_issued", "Numbers given out."),
    "called": ("boxoffice_line_called", "Numbers called: all up to this one."),
    "lapses": ("boxoffice_line_lapsed", "Called places that were not claimed in time."),
    "ended": ("boxoffice_admission_sessions_ended", "Sessions that are over."),
    "expired_holds": ("boxoffice_holds_expired", "Holds that ran out."),
}
_SECONDS: dict[str, tuple[str, Callable[[View], float]]] = {
    "boxoffice_intents_oldest_seconds": (
        "Seconds since the oldest of them was recorded; 0 without any.",
        lambda view: view.counts["intents_ms"] / 1000,
    ),
    "boxoffice_sale_opens_timestamp_seconds": (
        "When the sale is to open, Unix time.",
        lambda view: view.spec.opens_time.timestamp(),
    ),
    "boxoffice_sale_opened_timestamp_seconds": (
        "When the sale opened, Unix time; 0 before.",
        lambda view: view.counts["opened_ms"] / 1000,
    ),
    "boxoffice_sale_closes_timestamp_seconds": (
        "When the sale is to close, Unix time.",
        lambda view: view.spec.closes_time.timestamp(),
    ),
}


class SaleCollector(Collector):
    """Reads the snapshot when Prometheus asks, so nothing is counted twice on the way."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        views = [view for view in self._board.views.values() if view.ready]
        for field, (name, text) in _GAUGES.items():
            yield _gauge(name, text, views, lambda view, field=field: view.counts[field])  # type: ignore[misc]
        for name, (text, value) in _SECONDS.items():
            yield _gauge(name, text, views, value)
        for field, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["sale"])
            for view in views:
                counter.add_metric([view.name], view.counts[field])
            yield counter
        yield _states(views)
        text = "Seconds since Redis last answered this pod, four times a second."
        yield GaugeMetricFamily("boxoffice_snapshot_age_seconds", text, time.monotonic() - self._board.last_beat)


def _gauge(name: str, text: str, views: list[View], value: Callable[[View], float]) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=["sale"])
    for view in views:
        gauge.add_metric([view.name], value(view))
    return gauge


def _states(views: list[View]) -> Metric:
    gauge = GaugeMetricFamily("boxoffice_sale_state", "1 for the state that the sale is in.", labels=["sale", "state"])
    for view in views:
        now = "recovering" if view.recovering else view.state
        for state in STATES:
            gauge.add_metric([view.name, state], float(state == now))
    return gauge


def exposition(registry: CollectorRegistry) -> Response:
    """With what the process as a whole tells."""
    text = generate_latest(registry) + generate_latest(REGISTRY)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
