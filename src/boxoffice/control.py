"""The outer loop: how many buyers should be inside, from what the signals say. One pure function, `decide`.

The same in production, in `mode: Advise`, in `boxoffice simulate` and in tests. The inner loop (`lua/pace.lua`) hides
how long buyers stay, so what is left to steer is a back end that answers within the signals' window. rivals.py has
other laws, and trials.py the nights on which the numbers here were found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import field
from msgspec.structs import replace

from boxoffice.pressures import Pressures, judge
from boxoffice.readings import Fact, Load, Reading, Rules
from boxoffice.spec import AdmissionSpec

STEP_SECONDS = 10.0
"""Between two steps: two scrapes of 5 s, so that each sees something new."""
EARLY_SECONDS = 0.5
"""A timer may be this early and the step is due all the same."""
KP, TI_SECONDS = 0.75, 30.0
"""By SIMC's rule for a process whose only lags are the signals' 15 s window and the 10 s step."""
ERROR_RANGE = (-1.0, 0.15)
"""Of -ln(pressure): a back end that idles says little about how much more it bears, one that suffers says a lot."""
DEAD_BAND = 0.03
"""The noise that is left of a 15 s window; without it the target never rests."""
STEP_RANGE = (math.log(0.65), math.log(1.10))
"""The envelope of a step: -35 % to +10 %."""
PROBE_BELOW, PROBE_GAIN, PROBE_GOAL = 0.5, 0.36, 0.92
"""The start: from below half of the setpoint the target grows by e^0.36 a step to where 92 % is to be expected. Without
that expectation a gain of 0.5 overshot by half, and one of 0.25 took up to 240 s from 2 % of the capacity."""
SMOOTHING = 0.5
PRESSURE_MOST = 3.0
"""A latency of thirty times its setpoint must not brake for a minute after it is over; any above two halves."""
BRAKE_OVER, BRAKE_MOST, BRAKE_SECONDS = 1.5, 0.5, 30.0
"""One cut, to half at most, in the time that it takes to be seen: as TCP cuts once a round trip."""
DEMAND_SHARE, PROBE_SHARE = 0.8, 0.5
"""With fewer inside than this share of the target nothing is learned of the target. At the start, when those inside
come after the target, half is enough, as for Netflix' limiters."""
DRAINING_OVER = 1.08
"""With more inside than this times the target the last cut is still being carried out. With 1.1, which the door lets
in, the next cuts came before those at the door were through: 340 s to settle on half the capacity, not 160."""
UNSEEN = "the last brake is still to be seen"
STOP_SECONDS = 30.0
"""How long admission stops for one measurement of too many errors."""
DECAY_SECONDS = 60.0
"""Half-life of what is above fallbackActive, once nothing is known any more."""
JUMP_SECONDS = 60.0
"""No clock makes more of one step than this."""

CLOSED = {
    "scheduled": ("NotOpen", "the sale is not open yet"),
    "prequeue": ("NotOpen", "the sale is not open yet"),
    "hold": ("Policy", "nobody new is admitted"),
    "drain": ("Policy", "nobody new is admitted"),
    "allTaken": ("Seats", "all seats are taken for now"),
    "soldOut": ("SoldOut", "all seats are sold"),
    "closed": ("Over", "the sale is over"),
}
"""What limits a sale that calls nobody, by its state."""


class State(Fact, frozen=True, kw_only=True):
    """What the next decision has to know of those before it. Numbers are rounded, so that logs compare."""

    target: float
    """A*, with its fraction."""
    at: float
    stepped: float
    """When the target could last move."""
    pressure: float | None = None
    """The highest, smoothed."""
    error: float = 0.0
    probing: bool = False
    inside: int | None = None
    """When the target could last move: those whom the signals' window has seen."""
    braked: float = 0.0
    stop_until: float = 0.0
    stop_by: str = ""
    seen: dict[str, float] = field(default_factory=dict)
    """When each signal last counted."""


class Decision(Fact, frozen=True, kw_only=True):
    """What should be, and why."""

    at: float
    active_target: int
    applied: bool
    """False in Advise: decided and shown, but not done."""
    limited_by: str
    """A signal's name, or a word such as Maximum."""
    reason: str
    stop_until: float = 0.0
    """Until then nobody is called, whatever the target."""
    pressures: dict[str, float] = field(default_factory=dict)
    """Measured / setpoint, of every signal that has a number."""
    stale: list[str] = field(default_factory=list)
    """Signals that do not count now."""
    lost: list[str] = field(default_factory=list)
    """Those that have not counted for so long that nothing is known of them any more."""


def begin(target: float, now: float) -> State:
    """At the opening with initialActive; after a restart with what is in force, so that nothing jumps."""
    return State(target=float(target), at=round(now, 3), stepped=round(now, 3))


def decide(state: State, readings: Sequence[Reading], load: Load, rules: Rules, now: float) -> tuple[State, Decision]:
    """May be called at any time: the target moves in steps of ten seconds. Never raises."""
    now, admission = round(now, 3), rules.admission
    found = judge(rules.signals, readings, state.seen, now)
    # A clock that was set back must not make a pause of seconds one of hours.
    until = min(state.stop_until, now + STOP_SECONDS)
    state = replace(state, seen=found.seen, stop_until=until, braked=min(state.braked, now))
    if found.stop:
        state = replace(state, stop_until=now + STOP_SECONDS, stop_by=found.stop)
    if load.state != "open":
        limit, why = CLOSED.get(load.state, ("Policy", f"the sale's state is {load.state}"))
        keeps = admission.initial_active if limit == "NotOpen" else state.target
        return _stand(state, found, load, rules, now, keeps, limit, why)
    if admission.mode == "Manual":
        why = f"{admission.per_minute:,} calls a minute, up to {admission.max_active:,} inside"
        return _stand(state, found, load, rules, now, max(admission.initial_active, load.active), "Manual", why)
    if not rules.signals:
        return _stand(state, found, load, rules, now, admission.initial_active, "Target", "there are no signals")
    return _Step(state, found, load, rules, now).taken()


def _stand(
    state: State, found: Pressures, load: Load, rules: Rules, now: float, target: float, limit: str, why: str
) -> tuple[State, Decision]:
    """No signal moves it. In Manual the target is the most; Auto would go on from those inside."""
    admission = rules.admission
    target, bound = _bounded(target, load, admission)
    shown = admission.max_active if limit == "Manual" else int(target)
    state = replace(state, target=round(target, 6), at=now, stepped=now, pressure=None, error=0.0)
    return state, _decision(state, found, rules, shown, bound if limit == "Target" and bound else limit, why)


def _bounded(target: float, load: Load, admission: AdmissionSpec) -> tuple[float, str]:
    """Inside [min, max] and the budget's share, and which of these holds it."""
    most, word = float(admission.max_active), "Maximum"
    if load.ceiling is not None and load.ceiling < most:
        most, word = float(load.ceiling), "Budget"
    if target >= most:
        return max(most, float(admission.min_active)), word
    if target < admission.min_active:
        return float(admission.min_active), "Minimum"
    return float(target), ""


def _decision(state: State, found: Pressures, rules: Rules, target: int, limit: str, why: str) -> Decision:
    return Decision(
        at=state.at,
        active_target=target,
        applied=rules.admission.mode != "Advise",
        limited_by=limit,
        reason=why,
        stop_until=state.stop_until if state.stop_until > state.at else 0.0,
        pressures=found.by_name,
        stale=found.stale,
        lost=found.lost,
    )


class _Step:
    """One look at an open sale that is steered."""

    def __init__(self, state: State, found: Pressures, load: Load, rules: Rules, now: float) -> None:
        self.state, self.found, self.load, self.rules, self.now = state, found, load, rules, now
        self.before = _bounded(state.target, load, rules.admission)[0]
        self.due = not 0 <= now - state.stepped < STEP_SECONDS - EARLY_SECONDS
        self.pressure, self.error = state.pressure, state.error
        if self.due:
            self.pressure = self._smoothed()
            self.error = _error(self.pressure) if self.pressure is not None else 0.0
        self.expected = self._expected()
        self.probing = self.expected < PROBE_GOAL and (state.probing or (found.highest or 1.0) < PROBE_BELOW)
        self.brakes = (self.pressure or 0) > BRAKE_OVER and now - state.braked >= BRAKE_SECONDS

    def taken(self) -> tuple[State, Decision]:
        wish = self._wish() if self.due else 0.0
        bar, why = self._bar(wish)
        move = 0.0 if bar else wish
        target, bound = _bounded(self._faded(self.before * math.exp(move)), self.load, self.rules.admission)
        limit = bar or (bound if wish >= 0 or bound == "Minimum" else "") or self.found.leader or "Target"
        state = replace(
            self.state,
            target=round(target, 6),
            at=self.now,
            stepped=self.now if self.due else self.state.stepped,
            pressure=None if self.pressure is None else round(self.pressure, 6),
            error=round(self.error, 6),
            probing=self.probing,
            inside=self.load.active if self.due or self.state.inside is None else self.state.inside,
            braked=self.now if self.due and self._cutting(bar, move) else self.state.braked,
        )
        return state, _decision(state, self.found, self.rules, int(target), limit, self._words(why, target))

    def _cutting(self, bar: str, move: float) -> bool:
        """A brake, or its effect under way."""
        return (self.brakes and move < 0) or (bar == "Draining" and self._unseen())

    def _unseen(self) -> bool:
        """What is measured lags behind those inside by a window: until then a brake is not judged."""
        return self.now - self.state.braked < BRAKE_SECONDS

    def _smoothed(self) -> float | None:
        before, new = self.state.pressure, self.found.highest
        if new is None:
            return None
        new = min(new, PRESSURE_MOST)
        return new if before is None else SMOOTHING * new + (1 - SMOOTHING) * before

    def _expected(self) -> float:
        """The pressure when all of the target are inside; a start is too quick to wait for it."""
        seen = max(1, self.load.active if self.state.inside is None else self.state.inside)
        return (self.found.highest or 1.0) * max(1.0, self.before / seen)

    def _wish(self) -> float:
        """By which logarithm the signals would move the target."""
        p = self.pressure
        if p is None:
            return 0.0
        if self.brakes:
            filled = min(1.0, self.load.active / self.before)
            return math.log(max(BRAKE_MOST, filled * max(BRAKE_MOST, 1 / p)))
        if self.probing:
            return min(PROBE_GAIN, math.log(PROBE_GOAL / self.expected))
        move = KP * (self.error - self.state.error) + KP * STEP_SECONDS / TI_SECONDS * self.error
        return _clip(move, STEP_RANGE[0], 0.0 if self.error < 0 else STEP_RANGE[1])  # too much is no time to grow

    def _bar(self, wish: float) -> tuple[str, str]:
        """What forbids the move, or any move up; and why. ('', '') when nothing does."""
        state, found, load = self.state, self.found, self.load
        if wish < 0:
            if load.active > DRAINING_OVER * self.before:
                return "Draining", f"{load.active:,} are still inside after the last cut"
            return (found.leader, UNSEEN) if self._unseen() else ("", "")
        if self.now < state.stop_until:
            return state.stop_by, f"{state.stop_by} stopped admission"
        if found.blind:
            return "Fallback", f"nothing is known of {', '.join(found.lost)}"
        if found.stale:
            return "SignalsStale", f"{', '.join(found.stale)} gave no number"
        if found.limit:
            return found.limit, f"{found.limit} is at {found.by_name[found.limit]:.2f} of its setpoint"
        if self._unseen():
            return found.leader or "Draining", UNSEEN
        share = PROBE_SHARE if self.probing and load.waiting else DEMAND_SHARE
        if wish > 0 and load.active < share * self.before:
            return "Filling" if load.waiting else "Demand", f"only {load.active:,} are inside"
        return "", ""

    def _faded(self, target: float) -> float:
        """Towards the fallback, never up to it, once nothing that steers is left."""
        fallback = float(self.rules.admission.fallback_active)
        if not self.found.blind or target <= fallback:
            return target
        seconds = _clip(self.now - self.state.at, 0.0, JUMP_SECONDS)
        return fallback + (target - fallback) * 2 ** (-seconds / DECAY_SECONDS)

    def _words(self, why: str, target: float) -> str:
        found, before = self.found, self.before
        parts = [f"{found.leader} is at {found.highest:.2f} of its setpoint"] if found.leader else []
        parts += [why] if why and not why.startswith(parts[0] if parts else " ") else []
        change = 100 * (target / before - 1)
        if int(target) == int(before):
            move = f"stays at {int(target):,}"
        else:
            move = f"{'up' if target > before else 'down'} {abs(change):.1f} % to {int(target):,}"
        return f"{', '.join(parts) or 'no signal steers'}: {move}"


def _error(pressure: float) -> float:
    error = _clip(-math.log(pressure), *ERROR_RANGE)
    return math.copysign(max(0.0, abs(error) - DEAD_BAND), error)


def _clip(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
