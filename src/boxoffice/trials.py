"""The nights that the control code must get through, and how well: `boxoffice simulate --check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, median

import msgspec
from msgspec.structs import replace

from boxoffice.decisionlog import decided
from boxoffice.figures import SETTLED, covered, quantile, settling, variation, waits
from boxoffice.plant import World, parse_fault
from boxoffice.rivals import Compared, laws
from boxoffice.simulate import OPENING, Law, Moment, Run, Seller, simulate
from boxoffice.spec import AdmissionSpec, SeatingSpec, Section, Spec

CAPACITY, SETPOINT = 9000.0, 0.7
FALLBACK, MOST = 500, 30_000
DARK_FROM, DARK_TO = 500, 1100
FRESH_SECONDS = 108
"""Two minutes, but for the time that the last step may lie before the dark."""
SALES, BUDGET = 50, 4000
NEVER = 1e9
STEPS = ("capacity=0.5@600-1200",)
BLINDNESS = ("dark", "nan", "empty")


class Gate(msgspec.Struct, frozen=True):
    """A figure of a night, and the range in which it must lie."""

    name: str
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Of one gate, over all seeds."""

    name: str
    low: float
    high: float
    least: float
    middle: float
    most: float
    passed: bool


CALM_WAITS = "waits within the p90 told, back end as it was"
ALL_WAITS = "waits within the p90 told, nights with steps too"
"""Nobody can foresee that half of the back end goes: a figure of many nights."""
GATES = [
    Gate("cold start: seconds to settle", 0, 180),
    Gate("cold start: overshoot", -1, 0.10),
    Gate("steady: share of the setpoint used", 0.95, 1.05),
    Gate("steady: variation of the target", 0, 0.02),
    Gate("capacity halved: seconds to settle", 0, 300),
    Gate("capacity doubled: seconds to use it", 0, 300),
    Gate("any show-rate: inside away from the target", 0, 0.05),
    Gate("any show-rate: most inside / target", 0, 1.1),
    Gate("60 % no-shows: seconds without a call", 0, 10),
    Gate("blind: increases", 0, 0),
    Gate("blind: change in two minutes", 0, 0),
    Gate("blind: end / fallback", 1, 1.15),
    Gate("one signal blind, capacity halved: cut in a minute", 0.2, 1),
    Gate("a brake blind: increases", 0, 0),
    Gate("a brake blind: share of the target left", 0.85, 1),
    Gate("operator dead: increases", 0, 0),
    Gate("operator dead: change in two minutes", 0, 0),
    Gate("operator back: jump", 0, 0.1),
    Gate("50 sales: share away from max-min", 0, 0.05),
    Gate("50 sales: p99 of the others' waits, one at 100 times", 0, 1.1),
    Gate(CALM_WAITS, 0.85, 0.95),
    Gate(ALL_WAITS, 0.85, 0.95),
]
Found = dict[str, float]


def night(seconds: int, seed: int, *faults: str, show: float = World().show, law: Law = decided) -> Run:
    """From a start at 2 % of the capacity."""
    spec = sale_spec(initial_active=int(0.02 * CAPACITY), min_active=50, fallback_active=FALLBACK, max_active=MOST)
    there = World(capacity=CAPACITY, faults=tuple(map(parse_fault, faults)), show=show)
    return simulate([Seller(name="one", spec=spec)], there, seed, seconds, law=law)[0]


def sale_spec(**admission: int) -> Spec:
    opens = datetime.fromtimestamp(OPENING, UTC)
    return Spec(
        concert="simulated",
        title="Simulated",
        venue="Nowhere",
        currency="EUR",
        opens_time=opens,
        closes_time=opens.replace(year=opens.year + 1),
        seating=SeatingSpec(sections=[Section(name="floor", capacity=1, price_minor=0)]),
        admission=replace(AdmissionSpec(), **admission),
    )


def try_all(seeds: Sequence[int], tell: Callable[[int], None]) -> list[Result]:
    """`tell` hears of each seed that is done."""
    found, stepped, calm = list[Found](), list[Run](), list[Run]()
    for place, seed in enumerate(seeds):
        values, steps, others = _try(seed, place, len(seeds))
        found.append(values)
        stepped.append(steps)
        calm += others
        tell(seed)
    found[-1] |= {CALM_WAITS: _told(calm), ALL_WAITS: _told(stepped + calm)}
    return [_result(gate, [values[gate.name] for values in found if gate.name in values]) for gate in GATES]


def _told(runs: Sequence[Run]) -> float:
    """The mean of the nights."""
    return fmean(share for run in runs if (share := covered([run])) is not None)


def _result(gate: Gate, values: Sequence[float]) -> Result:
    return Result(
        name=gate.name,
        low=gate.low,
        high=gate.high,
        least=round(min(values), 4),
        middle=round(median(values), 4),
        most=round(max(values), 4),
        passed=all(map(gate.holds, values)),
    )


def _try(seed: int, place: int, of: int) -> tuple[Found, Run, list[Run]]:
    """One night of each kind. The show-rates of all seeds together cover their range."""
    show = 0.3 + 0.7 * (place / (of - 1) if of > 1 else 0.5)
    steps = night(1700, seed, *STEPS)
    shown, absent = night(700, seed, show=show), night(700, seed, show=0.4)
    blind = night(1200, seed, f"{BLINDNESS[place % 3]}@{DARK_FROM}-{DARK_TO}")
    partly = night(700, seed, f"{BLINDNESS[place % 3]}=DatabaseCpu@{DARK_FROM}-700", f"capacity=0.5@{DARK_FROM}-700")
    unbraked = night(DARK_TO + 1, seed, f"{('dark', 'empty')[place % 2]}=Latency@{DARK_FROM}-{DARK_TO}")
    dead = night(1300, seed, f"operator@{DARK_FROM}-{DARK_TO}")
    found = _steps(steps) | _shown(shown) | _blind(blind) | _dead(dead) | _fifty(seed)
    found |= _unbraked(unbraked)
    found["60 % no-shows: seconds without a call"] = absent.gap
    before, after = partly.moments[DARK_FROM - 1].target, partly.moments[DARK_FROM + 60].target
    found["one signal blind, capacity halved: cut in a minute"] = 1 - after / before
    return found, steps, [shown, absent]


def _steps(run: Run) -> Found:
    goal = CAPACITY * SETPOINT
    cold, half, back = run.moments[:600], run.moments[600:1200], run.moments[1200:]
    used = next((m.at - back[0].at for m in back if m.inside >= 0.9 * goal), NEVER)
    return {
        "cold start: seconds to settle": _or_never(settling(cold, lambda m: m.inside / goal)),
        "cold start: overshoot": max(m.inside for m in cold) / goal - 1,
        "steady: share of the setpoint used": fmean(m.inside for m in cold[-200:]) / goal,
        "steady: variation of the target": variation([m.target for m in cold[-200:]]),
        "capacity halved: seconds to settle": _or_never(settling(half, lambda m: 2 * m.inside / goal)),
        "capacity doubled: seconds to use it": used,
    }


def _or_never(seconds: float | None) -> float:
    return NEVER if seconds is None else seconds


def _shown(run: Run) -> Found:
    steady = run.moments[-300:]
    lately = [max(m.target for m in run.moments[max(0, i - 30) : i + 1]) for i in range(len(run.moments))]
    return {
        "any show-rate: inside away from the target": abs(fmean(m.inside / m.target for m in steady) - 1),
        "any show-rate: most inside / target": max(m.inside / t for m, t in zip(run.moments, lately, strict=True)),
    }


def _increases(moments: Iterable[Moment]) -> int:
    targets = [m.target for m in moments]
    return sum(b > a for a, b in pairwise(targets))


def _change(moments: Sequence[Moment]) -> float:
    return abs(moments[-1].target / moments[0].target - 1)


def _blind(run: Run) -> Found:
    dark = run.moments[DARK_FROM:DARK_TO]
    return {
        "blind: increases": _increases(dark),
        "blind: change in two minutes": _change(dark[:FRESH_SECONDS]),
        "blind: end / fallback": dark[-1].target / FALLBACK,
    }


def _unbraked(run: Run) -> Found:
    """Nothing rises, and so noise can only lower it."""
    dark = run.moments[DARK_FROM:DARK_TO]
    return {
        "a brake blind: increases": _increases(dark),
        "a brake blind: share of the target left": dark[-1].target / dark[0].target,
    }


def _dead(run: Run) -> Found:
    dark = run.moments[DARK_FROM + 1 : DARK_TO]
    back = run.moments[DARK_TO : DARK_TO + 15]
    return {
        "operator dead: increases": _increases(dark),
        "operator dead: change in two minutes": _change(dark[:FRESH_SECONDS]),
        "operator back: jump": max(abs(m.target / dark[-1].target - 1) for m in back[:10]),
    }


def _fifty(seed: int) -> Found:
    calm, stormy = (_sales(seed, hot) for hot in (1, 100))
    p99 = [quantile([w for run in runs[1:] for w in waits(run.moments[60:])], 0.99) for runs in (calm, stormy)]
    return {
        "50 sales: share away from max-min": _unfairness(calm, stormy),
        "50 sales: p99 of the others' waits, one at 100 times": p99[1] / max(1.0, p99[0]),
    }


def _sales(seed: int, hot: int) -> list[Run]:
    """Every sale has so many joining that 50 are inside at a time; the first of them `hot` times as many."""
    spec = sale_spec(initial_active=20, min_active=1, fallback_active=20, max_active=BUDGET)
    joins = [50 / 90 / 0.8 * (hot if n == 0 else 1) for n in range(SALES)]
    sellers = [Seller(name=f"sale-{n}", spec=spec, crowd=0, joins=each) for n, each in enumerate(joins)]
    return simulate(sellers, World(capacity=CAPACITY), seed, 400, budget=BUDGET)


def _unfairness(calm: Sequence[Run], stormy: Sequence[Run]) -> float:
    """How far those inside are from max-min: all that the others want for them, the rest for the one."""
    wanted = sum(map(_inside, calm[1:]))
    others, one = sum(map(_inside, stormy[1:])), _inside(stormy[0])
    return max(abs(others / wanted - 1), abs(one / (BUDGET - wanted) - 1))


def _inside(run: Run) -> float:
    return fmean(m.inside for m in run.moments[-100:])


def compare(seeds: Sequence[int]) -> list[Compared]:
    """Every law on the night with the steps, once a seed."""
    return [_compared(name, [night(1200, seed, *STEPS, law=laws(MOST)[name]) for seed in seeds]) for name in laws(MOST)]


def _compared(law: str, runs: Sequence[Run]) -> Compared:
    found = [_steps(run) for run in runs]
    middle = {name: median(values[name] for values in found) for name in found[0]}
    return Compared(
        law=law,
        settling_seconds=_known(middle["cold start: seconds to settle"]),
        overshoot=round(middle["cold start: overshoot"], 4),
        settling_seconds_halved=_known(middle["capacity halved: seconds to settle"]),
        utilisation=round(middle["steady: share of the setpoint used"], 4),
        variation=round(middle["steady: variation of the target"], 4),
        seconds_over=median(sum(m.pressure > 1 + SETTLED for m in run.moments) for run in runs),
    )


def _known(seconds: float) -> float | None:
    return seconds if seconds < NEVER else None
