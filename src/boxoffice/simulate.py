"""A night in a second: the real control code, inner and outer, on a simulated back end and a simulated crowd."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from boxoffice.budget import Claim, ceilings
from boxoffice.control import STEP_SECONDS, Decision, State, begin
from boxoffice.decisionlog import Entry, decided
from boxoffice.line import eta_seconds
from boxoffice.pacing import Pacing
from boxoffice.plant import Plant, World
from boxoffice.readings import Load, Reading, Rules
from boxoffice.spec import Signal, Spec
from boxoffice.turnstile import BEAT, Turnstile

ASK_SECONDS = 5.0
"""How often somebody in the line looks at what they are told."""
OPENING = 1_900_000_000.0
"""By the simulated clock, in Unix seconds; everything else counts from it."""
ENDLESS = 10**9
"""Seats, or buyers, where the number of them is not the question."""

SIGNALS = [
    Signal(name="DatabaseCpu", kind="Utilisation", query="simulated", setpoint=700),
    Signal(name="Latency", kind="Latency", query="simulated", setpoint=300),
]
"""For a sale that names none."""

Law = Callable[[str, State, Sequence[Reading], Load, Rules, float], Entry]


class Moment(msgspec.Struct, frozen=True):
    """A second."""

    at: float
    inside: int
    target: float
    rate: float
    pressure: float
    """How much of the setpoint is used, as it truly is."""
    waiting: int
    called: int
    eta: float
    latency: float


class Asked(msgspec.Struct):
    """What somebody in the line was told, and how it came."""

    at: float
    number: int
    p50: float
    p90: float
    waited: float = -1.0


class Run(msgspec.Struct):
    """One sale's night."""

    name: str
    moments: list[Moment]
    entries: list[Entry]
    asked: list[Asked]
    sold_out: float = -1.0
    sold: int = 0
    gap: float = 0.0
    """The longest time in which nobody was called though there was room for one in twenty."""

    @property
    def decisions(self) -> list[Decision]:
        return [entry.decision for entry in self.entries]


class Seller(msgspec.Struct, frozen=True, kw_only=True):
    """A sale that takes part: `crowd` at the opening, and so many more a second."""

    name: str
    spec: Spec
    seats: int = ENDLESS
    crowd: int = ENDLESS
    joins: float = 0.0


class _Sale:
    """A seller, its turnstile, its part of the operator, and what is written down of it."""

    def __init__(self, seller: Seller, world: World, pacing: Pacing, rng: random.Random, law: Law) -> None:
        self.seller, self.pacing, self.rng, self.law = seller, pacing, rng, law
        signals = seller.spec.signals or SIGNALS
        self.rules = Rules(admission=seller.spec.admission, signals=signals)
        self.turnstile = Turnstile(seller.spec, world, seller.seats, pacing, rng)
        self.turnstile.waiting = seller.crowd
        self.run = Run(seller.name, [], [], [])
        self.state, self.decided = begin(self.rules.admission.initial_active, OPENING), 0.0
        self.ceiling: int | None = None
        self._stop, self._joined, self._open, self._idle = 0.0, 0.0, 0, 0.0

    def beat(self, now: float, plant: Plant) -> None:
        self._joined += self.seller.joins * BEAT
        self.turnstile.waiting += int(self._joined)
        self._joined -= int(self._joined)
        self.turnstile.target = self._in_force(now)
        calls = self.turnstile.beat(now, plant.speed(), plant.show(), now < self._stop)
        self._note_calls(now, calls)
        if self.run.sold_out < 0 and self.turnstile.over:
            self.run.sold_out, self.run.sold = now, self.turnstile.sold

    def _in_force(self, now: float) -> float:
        admission = self.rules.admission
        if admission.mode == "Manual":
            return float(admission.max_active)
        return self.pacing.faded(float(int(self.state.target)), admission.fallback_active, now - self.decided)

    def wanted(self) -> int:
        return min(self.rules.admission.max_active, self.turnstile.inside + self.turnstile.waiting)

    def look(self, now: float, readings: Sequence[Reading], reborn: bool) -> None:
        """The operator's turn; one that is new takes up what is in force."""
        if reborn:
            self.state = begin(self._in_force(now), OPENING + now)
        t = self.turnstile
        load = Load(state=t.state(), active=t.inside, waiting=t.waiting, ceiling=self.ceiling)
        entry = self.law(self.seller.name, self.state, readings, load, self.rules, OPENING + now)
        self.run.entries.append(entry)
        if self.rules.admission.mode == "Auto":
            self.state, self.decided, self._stop = entry.after, now, entry.decision.stop_until - OPENING

    def _note_calls(self, now: float, calls: int) -> None:
        if calls or self.turnstile.inside > 0.95 * self.turnstile.target or not self.turnstile.waiting:
            self._idle = now
        self.run.gap = max(self.run.gap, now - self._idle)
        for asked in self.run.asked[self._open :]:
            if asked.number > self.turnstile.called:
                break
            asked.waited = now - asked.at
            self._open += 1

    def ask(self, now: float) -> None:
        """Who is far back asks like who is near, so the asked stand in no order; they are kept by number."""
        per_minute = int(self.turnstile.shown_pace()[0] * 60 + 0.5)
        ahead = int(self.rng.random() * min(self.turnstile.waiting, 600 / 60 * per_minute))
        if per_minute <= 0 or self.turnstile.waiting <= ahead:
            return
        p50, p90 = eta_seconds(ahead, per_minute, int(self.turnstile.shown_pace()[1] * 1000))
        self.run.asked.append(Asked(now, self.turnstile.called + ahead + 1, p50, p90))
        self.run.asked[self._open :] = sorted(self.run.asked[self._open :], key=lambda asked: asked.number)

    def note(self, now: float, plant: Plant) -> None:
        t, usage = self.turnstile, plant.usage
        steering = [s.setpoint / 1000 for s in self.rules.signals if s.kind == "Utilisation"]
        rate = t.shown_pace()[0]
        eta = t.waiting / rate if rate > 0.01 else -1.0
        pressure = usage / min(steering, default=1.0)
        self.run.moments.append(
            Moment(now, t.inside, t.target, rate, pressure, t.waiting, t.called, eta, plant.latency(usage))
        )


def simulate(
    sellers: Sequence[Seller],
    world: World,
    seed: int,
    seconds: int,
    budget: int | None = None,
    law: Law = decided,
) -> list[Run]:
    """The same seed, the same night. Raises BadInput when there is no Lua."""
    pacing, rng = Pacing(), random.Random(seed)
    plant = Plant(world, random.Random(seed + 1))
    sales = [_Sale(seller, world, pacing, random.Random(rng.random()), law) for seller in sellers]
    for second in range(-world.window_seconds, 0):
        plant.second(second, 0)
    next_look, dead = rng.random() * STEP_SECONDS, False
    for beat in range(1, int(seconds / BEAT) + 1):
        now = beat * BEAT
        for sale in sales:
            sale.beat(now, plant)
        if now % 1 == 0:
            plant.second(now, sum(sale.turnstile.inside for sale in sales))
            for sale in sales:
                sale.note(now, plant)
        if now % ASK_SECONDS == 0:
            for sale in sales:
                sale.ask(now)
        if now >= next_look:
            next_look += STEP_SECONDS
            was_dead, dead = dead, plant.operator_dead()
            if not dead:
                _look(sales, plant, now, budget, was_dead)
        if all(sale.run.sold_out >= 0 for sale in sales):
            break
    return [sale.run for sale in sales]


def _look(sales: Sequence[_Sale], plant: Plant, now: float, budget: int | None, reborn: bool) -> None:
    if budget is not None:
        claims = [Claim(name=s.seller.name, weight=s.rules.admission.weight, wanted=s.wanted()) for s in sales]
        most = ceilings(budget, claims)
        for sale in sales:
            sale.ceiling = most.get(sale.seller.name)
    for sale in sales:
        sale.look(now, plant.read(sale.rules.signals, OPENING + now), reborn)
