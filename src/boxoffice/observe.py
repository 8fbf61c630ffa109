"""What a pod tells Prometheus. Labels are bounded: a sale's name, a state; never a buyer or a seat."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from boxoffice.board import Board

_GAUGES = {
    "waiting": ("boxoffice_line_waiting", "Buyers in line whose number has not been called."),
    "outstanding": ("boxoffice_line_called_unclaimed", "Buyers called who have not come in yet."),
    "active": ("boxoffice_admission_inside", "Buyers inside, unsettled orders included."),
    "target": ("boxoffice_admission_target", "Buyers that should be inside."),
    "per_minute": ("boxoffice_admission_calls_per_minute", "Numbers called per minute, smoothed."),
    "free": ("boxoffice_seats_free", "Seats that nobody has."),
    "held": ("boxoffice_seats_held", "Seats held and not being paid."),
    "paying": ("boxoffice_seats_paying", "Seats of orders that are not settled."),
    "sold": ("boxoffice_seats_sold", "Seats sold and settled."),
    "total": ("boxoffice_seats_total", "Seats of the house."),
}
_COUNTERS = {
    "issued": ("boxoffice_line_issued", "Numbers given out."),
    "lapses": ("boxoffice_line_lapsed", "Called places that were not claimed in time."),
    "ended": ("boxoffice_admission_sessions_ended", "Sessions that are over."),
    "expired_holds": ("boxoffice_holds_expired", "Holds that ran out."),
}


class SaleCollector(Collector):
    """Reads the snapshot when Prometheus asks, so nothing is counted twice on the way."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        views = [view for view in self._board.views.values() if view.ready]
        for field, (name, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["sale"])
            for view in views:
                gauge.add_metric([view.name], view.counts[field])
            yield gauge
        for field, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["sale"])
            for view in views:
                counter.add_metric([view.name], view.counts[field])
            yield counter


def exposition(registry: CollectorRegistry) -> Response:
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
