"""One simulated sale: its line, its turnstile, those inside, its seats. The pace is `lua/pace.lua`'s.

The beat follows `lua/tick.lua` step by step, with counts in the place of places.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque

from boxoffice.pacing import Pacing
from boxoffice.plant import World
from boxoffice.spec import Spec

BEAT = 0.25
LOOK_BACK = 10.0
"""Of those called so long ago nobody is expected any more."""


class Cohort:
    """Those called in one beat."""

    __slots__ = ("at", "called", "claims", "clock", "lapsed")

    def __init__(self, at: float, clock: float, called: int) -> None:
        self.at, self.clock, self.called, self.claims, self.lapsed = at, clock, called, 0, False


class Turnstile:
    """`target` is what the operator wrote; `waiting` grows by whoever joins."""

    def __init__(self, spec: Spec, world: World, seats: int, pacing: Pacing, rng: random.Random) -> None:
        self.pacing, self.world, self.rng = pacing, world, rng
        self.claim_seconds, self.max_seats = spec.line.claim_seconds, spec.hold.max_seats_per_buyer
        self.hold_seconds = float(spec.hold.seconds)
        self.session_seconds = float(spec.admission.session_seconds)
        self.manual = spec.admission.per_minute / 60 if spec.admission.mode == "Manual" else None
        self.target = float(spec.admission.initial_active)
        self.free, self.sold = seats, 0
        self.now = self.stopped = self.worked = 0.0
        self.waiting = self.called = self.inside = self.ended = self.paid = self.seats = 0
        self.departures = self.mean = self.spread = self.carry = self.tau = 0.0
        self.show_called = self.show_claimed = 0.0
        self._cohorts: deque[Cohort] = deque()
        self._recent: deque[Cohort] = deque()
        self._coming: defaultdict[int, list[Cohort]] = defaultdict(list)
        self._door: deque[Cohort] = deque()
        self._leaving: defaultdict[int, int] = defaultdict(int)
        self._outstanding = 0
        self._held: deque[tuple[float, int]] = deque()
        self._level = math.log(world.stay_seconds) - world.stay_spread**2 / 2

    @property
    def over(self) -> bool:
        return self.free <= 0 and not self.inside and not self._held

    def state(self) -> str:
        if self.free > 0:
            return "open"
        return "allTaken" if self.inside or self._held else "soldOut"

    def beat(self, now: float, speed: float, show: float, stop: bool) -> int:
        """A quarter of a second. Returns how many were called: nobody while errors stop admission."""
        self.now = now
        departed = self._leave(speed)
        self._claim()
        if self.inside + 1 > self.pacing.most_inside(self.target):
            self.stopped += BEAT
        self._lapse()
        calls = 0 if stop else self._call(show)
        self.departures, self.mean, self.spread = self.pacing.smoothed(
            self.departures, self.mean, self.spread, departed, calls, BEAT
        )
        return calls

    def shown_pace(self) -> tuple[float, float]:
        """Calls a second, and by which share they may swing."""
        return self.pacing.shown_pace(self.mean, self.spread, self.now * 1000)

    def _leave(self, speed: float) -> int:
        """Stays are measured in work: a slow back end makes them longer."""
        departed = 0
        end = self.worked + BEAT * speed
        for bucket in range(int(self.worked / BEAT), int(end / BEAT)):
            departed += self._leaving.pop(bucket, 0)
        self.worked = end
        self.inside -= departed
        self.ended += departed
        self._sell(departed)
        return departed

    def _sell(self, leaving: int) -> None:
        """A seat is taken when its buyer leaves; one whose hold lapses comes back so long after."""
        while self._held and self._held[0][0] <= self.now:
            self.free += self._held.popleft()[1]
        for _ in range(leaving):
            luck = self.rng.random()
            if self.free <= 0 or luck >= self.world.buys + self.world.lapses:
                continue
            taken = min(self.free, 1 if self.rng.random() >= self.world.seats_each - 1 else 2)
            self.free -= taken
            if luck >= self.world.buys:
                self._held.append((self.now + self.hold_seconds, taken))
            else:
                self.sold, self.seats, self.paid = self.sold + taken, self.seats + taken, self.paid + 1

    def _claim(self) -> None:
        come = self._coming.pop(round(self.now / BEAT), ())
        for cohort in come:
            self.tau = self.pacing.claim_delay(self.tau, self.now - cohort.at)
        self._door.extend(come)
        most = self.pacing.most_inside(self.target)
        while self._door and self.inside + 1 <= most:
            cohort = self._door.popleft()
            cohort.claims += 1
            self.inside += 1
            self._outstanding -= not cohort.lapsed
            stay = min(self.session_seconds, self.rng.lognormvariate(self._level, self.world.stay_spread))
            self._leaving[int((self.worked + stay) / BEAT) + 1] += 1

    def _lapse(self) -> None:
        clock = self.now - self.stopped
        while self._cohorts and self._cohorts[0].clock + self.claim_seconds <= clock:
            cohort = self._cohorts.popleft()
            cohort.lapsed = True
            self._outstanding -= cohort.called - cohort.claims
            self.show_called, self.show_claimed = self.pacing.learned(
                self.show_called, self.show_claimed, cohort.called, cohort.claims
            )

    def _call(self, show: float) -> int:
        share = self.pacing.show_rate(self.show_called, self.show_claimed)
        rate = self._calls_per_second(share) if self.manual is None else self.manual
        wish = rate * BEAT + self.carry
        if self.manual is not None and self.inside >= self.target:
            wish = 0.0
        record = (self.free, self.ended, self.paid, self.seats, self.max_seats)
        most = self.pacing.seats_cap(*record, self.inside, self.inside, self._outstanding, share)
        k, self.carry = self.pacing.whole_calls(wish, most)
        k = min(int(k), self.waiting)
        if k < 1:
            return 0
        self._send(k, show)
        return k

    def _calls_per_second(self, share: float) -> float:
        while self._recent and self._recent[0].at < self.now - LOOK_BACK:
            self._recent.popleft()
        called = sum(cohort.called for cohort in self._recent)
        claims = sum(cohort.claims for cohort in self._recent)
        coming = self.pacing.still_coming(share, called, claims, len(self._door))
        return self.pacing.calls_per_second(self.target, self.inside, coming, self.departures, self.tau, share)

    def _send(self, k: int, show: float) -> None:
        """Those who come do so after a delay; the others never."""
        cohort = Cohort(self.now, self.now - self.stopped, k)
        self._cohorts.append(cohort)
        self._recent.append(cohort)
        self.waiting, self.called, self._outstanding = self.waiting - k, self.called + k, self._outstanding + k
        for _ in range(k):
            if self.rng.random() < show:
                delay = self.rng.expovariate(1 / self.world.claim_seconds)
                if delay < self.claim_seconds:
                    self._coming[round(self.now / BEAT) + 1 + int(delay / BEAT)].append(cohort)
