"""Other laws for the number inside, to compare with ours on the same nights: `boxoffice simulate --rivals`.

Each gets the same signals at the same times, inside the same bounds; none knows of staleness, draining or demand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from boxoffice.control import STEP_SECONDS, Decision, State
from boxoffice.decisionlog import Entry, decided
from boxoffice.pressures import judge
from boxoffice.readings import Load, Reading, Rules
from boxoffice.simulate import Law

AIMD_ADDS, AIMD_KEEPS = 0.02, 0.8
"""Of maxActive, and of the target: AIMD as limiters do it by default."""
HPA_TOLERANCE, HPA_MOST = 0.1, 2.0
"""Kubernetes' HorizontalPodAutoscaler: no change within a tenth, double at most."""
GRADIENT_RANGE, GRADIENT_TOLERANCE = (0.5, 1.0), 1.5
"""Gradient2's, by the best latency seen and what it may grow to."""

Next = Callable[[float, float, float], float]
"""Of target, pressure and latency (seconds; 0 when unknown)."""


def aimd(most: float) -> Next:
    return lambda target, pressure, _: target * AIMD_KEEPS if pressure > 1 else target + AIMD_ADDS * most


def proportional(target: float, pressure: float, _: float) -> float:
    return target if abs(pressure - 1) <= HPA_TOLERANCE else target * min(HPA_MOST, 1 / pressure)


def gradient() -> Next:
    best = math.inf

    def law(target: float, _: float, latency: float) -> float:
        nonlocal best
        if not latency:
            return target
        best = min(best, latency)
        low, high = GRADIENT_RANGE
        return max(low, min(high, GRADIENT_TOLERANCE * best / latency)) * target + math.sqrt(target)

    return law


def laws(most: float) -> dict[str, Law]:
    """By name; each is for one night."""
    return {
        "this one": decided,
        "AIMD": _law(aimd(most)),
        "proportional": _law(proportional),
        "gradient": _law(gradient()),
    }


def _law(following: Next) -> Law:
    def law(sale: str, state: State, readings: Sequence[Reading], load: Load, rules: Rules, now: float) -> Entry:
        found, admission = judge(rules.signals, readings, state.seen, now), rules.admission
        latency = next((r.value for r, s in zip(readings, rules.signals, strict=True) if s.kind == "Latency"), None)
        target = state.target
        if found.highest is not None and now - state.stepped >= STEP_SECONDS:
            target = following(target, found.highest, latency or 0.0)
        target = min(float(admission.max_active), max(float(admission.min_active), target))
        after = replace(state, target=target, at=now, seen=found.seen)
        decision = Decision(at=now, active_target=int(target), applied=True, limited_by=found.leader, reason="a rival")
        return Entry(
            sale=sale,
            now=now,
            state=state,
            readings=[*readings],
            load=load,
            rules=rules,
            after=after,
            decision=decision,
        )

    return law


class Compared(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One law on the nights of all seeds: medians. None: it did not settle in half of them."""

    law: str
    settling_seconds: float | None
    overshoot: float
    settling_seconds_halved: float | None
    utilisation: float
    variation: float
    seconds_over: float
