"""What a process sees of Redis: how long calls take on the connections that requests share, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from boxoffice.histogram import Histogram

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

CONNECTS = Counter("boxoffice_redis_connects", "Connections opened to a server of Redis; after the first, reconnects")
ERRORS = Counter(
    "boxoffice_redis_errors",
    "Calls that came to nothing: refused, late, broken, too many at once (full); connections: unreachable",
    ["error"],
)
REFUSED, LATE, BROKEN = ERRORS.labels("refused"), ERRORS.labels("late"), ERRORS.labels("broken")
FULL, UNREACHABLE = ERRORS.labels("full"), ERRORS.labels("unreachable")


class Calls(Collector):
    """Plain numbers: every step of a buyer is a call."""

    def __init__(self) -> None:
        self.seconds = Histogram(BOUNDS)

    def collect(self) -> Iterator[Metric]:
        text = "Seconds from a call to its reply; all that left in one write wait for one another."
        family = HistogramMetricFamily("boxoffice_redis_call_seconds", text)
        family.add_metric([], self.seconds.buckets(), self.seconds.total)
        yield family


CALLS = Calls()
REGISTRY.register(CALLS)
