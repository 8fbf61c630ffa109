"""What a pod answers, counted on the way: requests by step and outcome, and how long admitted work takes.

Plain numbers of the one thread that serves buyers: a poll costs 30 µs in all, and a counter with a lock some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Literal

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Message, Send

from boxoffice.histogram import Histogram

Step = Literal["line", "whereabouts", "join", "claim", "hold", "order", "other"]
STEPS: tuple[Step, ...] = ("line", "whereabouts", "join", "claim", "hold", "order", "other")
ADMITTED: tuple[Step, ...] = ("hold", "order")
OUTCOMES = {"2xx": (2, 3), "4xx": (4,), "5xx": (5,)}
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0)
"""Seconds. The setpoint of latency and what is promised are among them: what is said of these is exact."""
SLOW_SECONDS = 0.1
"""What is promised of a poll. A histogram of them would cost 1 % of each."""


class Traffic(Collector):
    """One for each app."""

    def __init__(self) -> None:
        self._answers = {step: [0] * 6 for step in STEPS}
        self._durations = {step: Histogram(BOUNDS) for step in ADMITTED}
        self._slow = 0

    def count(self, step: Step, status: int, began: float) -> None:
        """`began`: by `perf_counter`. A refusal is quick and no work of those inside: it has no part in the latency."""
        outcome = status // 100
        self._answers[step][outcome] += 1
        if step in self._durations and outcome != 4:
            self._durations[step].add(perf_counter() - began)
        elif step == "whereabouts" and perf_counter() - began > SLOW_SECONDS:
            self._slow += 1

    def counted(self, send: Send) -> Send:
        """Counts an answer of no step as it goes out."""

        async def count_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers["other"][message["status"] // 100] += 1
            await send(message)

        return count_and_send

    def collect(self) -> Iterator[Metric]:
        """Every series from the start, at 0: PromQL does not see the first step of one that begins later."""
        text = "Requests answered, by step and outcome; 3xx counts as 2xx."
        requests = CounterMetricFamily("boxoffice_requests", text, labels=["step", "outcome"])
        for step, answers in self._answers.items():
            for outcome, digits in OUTCOMES.items():
                requests.add_metric([step, outcome], sum(answers[digit] for digit in digits))
        yield requests
        text = "Seconds from a request to its answer, holds and orders of admitted buyers; without those refused (4xx)."
        seconds = HistogramMetricFamily("boxoffice_request_seconds", text, labels=["step"])
        for step, durations in self._durations.items():
            seconds.add_metric([step], durations.buckets(), durations.total)
        yield seconds
        text = f"Polls of the line that took more than {SLOW_SECONDS} s."
        slow = CounterMetricFamily("boxoffice_requests_slow", text, labels=["step"])
        slow.add_metric(["whereabouts"], self._slow)
        yield slow
