"""A back end that does not exist: capacity, what its metrics say of it and when, and what goes wrong with it.

A toy, on purpose: buyers inside use it up evenly, latency is a queue's, beyond its capacity everybody takes longer.
What it must get right are the delays: a metric is the mean of a window that ended at the last scrape.
"""

from __future__ import annotations

import math
import random
import re
from collections import deque
from collections.abc import Sequence
from typing import Literal

import msgspec

from boxoffice.errors import BadInput
from boxoffice.readings import Reading, measured
from boxoffice.spec import Signal

FaultKind = Literal["capacity", "show", "dark", "nan", "empty", "operator"]
FAULT = re.compile(r"(?P<kind>\w+)(?:=(?P<value>[A-Za-z0-9.-]+))?@(?P<start>\d+)-(?P<end>\d+)")


class Fault(msgspec.Struct, frozen=True):
    """From `start` to `end` seconds after the opening.

    capacity, show: times `value`. dark: Prometheus does not answer; nan, empty: it does, but so; of one signal with a
    `value` that names it. operator: it is dead.
    """

    kind: FaultKind
    value: str
    start: float
    end: float


def parse_fault(text: str) -> Fault:
    """Such as capacity=0.5@800-1500. Raises BadInput."""
    match = FAULT.fullmatch(text)
    try:
        parts = match.groupdict("") if match else {}
        fault = msgspec.convert(parts, Fault, strict=False)
        if fault.kind in ("capacity", "show"):
            float(fault.value)
    except (msgspec.ValidationError, ValueError):
        raise BadInput(f"a fault is KIND[=VALUE]@START-END, such as capacity=0.5@800-1500, not {text!r}") from None
    return fault


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated night is like; all are guesses at a usual one."""

    capacity: float = 9000.0
    """Buyers inside that use up the back end."""
    stay_seconds: float = 90.0
    stay_spread: float = 0.5
    """Of the logarithm of a stay."""
    show: float = 0.8
    """Share of the called who come."""
    claim_seconds: float = 4.0
    """Mean delay of those who come: they poll."""
    noise: float = 0.12
    """Of a second's measurement, as a share of it."""
    window_seconds: int = 15
    scrape_seconds: int = 5
    latency_seconds: float = 0.04
    """Of an idle back end."""
    buys: float = 0.8
    """Share of those inside who buy."""
    lapses: float = 0.05
    """Share of those inside who hold seats and let them lapse."""
    seats_each: float = 1.5
    faults: tuple[Fault, ...] = ()


class Plant:
    """Knows at each second how it is used; and what a query would say of that."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self._rng = world, rng
        self._seconds: deque[tuple[float, float]] = deque(maxlen=world.window_seconds + world.scrape_seconds)
        self._scraped: list[tuple[float, float]] = []
        self.now = 0.0
        self.usage = self.backlog = 0.0

    def capacity(self) -> float:
        return self.world.capacity * self._factor("capacity")

    def show(self) -> float:
        return min(1.0, self.world.show * self._factor("show"))

    def speed(self) -> float:
        """How fast those inside get on: slower when there are more of them than it bears."""
        return 1 / max(1.0, self.usage)

    def operator_dead(self) -> bool:
        return bool(self._active("operator"))

    def second(self, now: float, inside: int) -> None:
        """A second has passed with so many inside."""
        self.now, self.usage = now, inside / self.capacity()
        self.backlog = max(0.0, self.backlog + (self.usage - 1) * 1.0)
        noisy = max(0.0, self.usage * self._rng.gauss(1, self.world.noise))
        self._seconds.append((noisy, self.backlog))
        if int(now) % self.world.scrape_seconds == 0:
            self._scraped = list(self._seconds)[-self.world.window_seconds :]

    def latency(self, usage: float) -> float:
        """A queue's: flat, then a wall; it is cut off where callers give up."""
        return min(10.0, self.world.latency_seconds / max(1e-3, 1 - usage))

    def read(self, signals: Sequence[Signal], at: float) -> list[Reading]:
        """`at`: what Prometheus' clock says."""
        return [self._read(signal, at) for signal in signals]

    def _read(self, signal: Signal, at: float) -> Reading:
        for fault in [f for kind in ("dark", "nan", "empty") for f in self._active(kind)]:
            if fault.value in ("", signal.name):
                return _broken(signal, fault.kind, at)
        if not self._scraped:
            return Reading(name=signal.name, outcome="inconclusive", message="the query gives nothing")
        usage = sum(u for u, _ in self._scraped) / len(self._scraped)
        value = {
            "Utilisation": min(1.0, usage),
            "Latency": self.latency(usage),
            "Lag": self._scraped[-1][1],
            "Errors": min(1.0, max(0.0, usage - 1.5)),
        }[signal.kind]
        return measured(signal, value, at)

    def _factor(self, kind: FaultKind) -> float:
        return math.prod(float(fault.value) for fault in self._active(kind))

    def _active(self, kind: str) -> list[Fault]:
        return [f for f in self.world.faults if f.kind == kind and f.start <= self.now < f.end]


def _broken(signal: Signal, kind: str, at: float) -> Reading:
    if kind == "nan":
        return measured(signal, math.nan, at)
    if kind == "empty":
        return Reading(name=signal.name, outcome="inconclusive", message="the query gives nothing")
    return Reading(name=signal.name, outcome="error", message="Prometheus does not answer")
