"""What a simulated night comes to, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, pstdev

import msgspec

from boxoffice.simulate import Moment, Run

SETTLED = 0.10
"""Inside is where it should be when it is this near."""
STEADY_SECONDS = 200
"""The end of a night without faults counts as steady."""


class Figures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of one sale's night. None: it did not come to that."""

    seed: int
    settling_seconds: float | None
    overshoot: float
    """Of the inside over what uses the setpoint up, as a share of it."""
    utilisation: float
    """Of the setpoint, while the night is steady."""
    variation: float
    """Of the target, while the night is steady: its coefficient of variation."""
    seconds_over: int
    """With the setpoint exceeded by more than a tenth."""
    eta_covered: float | None
    """Share of the waits that were no longer than the p90 that was told."""
    sold_out_seconds: float | None
    peak_latency_seconds: float


def figures(run: Run, seed: int) -> Figures:
    steady = run.moments[-STEADY_SECONDS:]
    return Figures(
        seed=seed,
        settling_seconds=settling(run.moments, lambda m: m.pressure),
        overshoot=round(max(m.pressure for m in run.moments) - 1, 4),
        utilisation=round(fmean(m.pressure for m in steady), 4),
        variation=round(variation([m.target for m in steady]), 4),
        seconds_over=sum(m.pressure > 1 + SETTLED for m in run.moments),
        eta_covered=covered([run]),
        sold_out_seconds=run.sold_out if run.sold_out >= 0 else None,
        peak_latency_seconds=round(max(m.latency for m in run.moments), 3),
    )


def settling(moments: Sequence[Moment], level: Callable[[Moment], float]) -> float | None:
    """Seconds until the level is near 1 and stays there; None when it is not there at the end."""
    away = [m.at for m in moments if abs(level(m) - 1) > SETTLED]
    if away and away[-1] == moments[-1].at:
        return None
    return away[-1] - moments[0].at + 1 if away else 0.0


def variation(values: Sequence[float]) -> float:
    return pstdev(values) / fmean(values) if fmean(values) else 0.0


def covered(runs: Sequence[Run]) -> float | None:
    """Of all who asked and were called."""
    told = [asked.waited <= asked.p90 for run in runs for asked in run.asked if asked.waited >= 0]
    return round(fmean(told), 4) if told else None


def waits(moments: Sequence[Moment]) -> list[float]:
    """How long each second's last comer waited; who is still waiting at the end is left out."""
    found, end = list[float](), 0
    for moment in moments:
        while end < len(moments) and moments[end].called < moment.called + moment.waiting:
            end += 1
        if end < len(moments):
            found.append(max(0.0, moments[end].at - moment.at))
    return found


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
