"""How hard the signals press at one moment: which of them count, and which of them leads."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxoffice.readings import Reading, counts, is_lost, pressure
from boxoffice.spec import Signal

STOP_OVER = 0.2
"""A share of errors over it stops admission: no load that a back end bears makes so many. Few requests must not look
like many: the query divides by `clamp_min(requests, 200)`."""


class Pressures(msgspec.Struct, frozen=True, kw_only=True):
    """Of all signals, at one moment."""

    by_name: dict[str, float]
    """Measured / setpoint, of every signal that has a number now."""
    stale: list[str]
    """Signals that do not count now."""
    lost: list[str]
    """Those of them that have not counted for so long that nothing is known of them any more."""
    blind: bool
    """Nothing that steers is left: of all Utilisation signals nothing is known, or of all signals where none steers."""
    leader: str
    """Of the signals that may move the target the one that presses most; '' without one."""
    limit: str
    """A lag over its setpoint, or ''."""
    stop: str
    """Errors that stop, measured since the last look, or ''."""
    seen: dict[str, float]
    """When each signal counted last; of one that never did, when it was asked first."""

    @property
    def highest(self) -> float | None:
        return self.by_name[self.leader] if self.leader else None


def judge(signals: Sequence[Signal], readings: Sequence[Reading], seen: dict[str, float], now: float) -> Pressures:
    """`seen`: of the look before."""
    by_name = {reading.name: reading for reading in readings}
    good = {s.name: r for s in signals if (r := by_name.get(s.name)) is not None and counts(s, r, now)}
    found = {s.name: round(pressure(s, r.value), 6) for s in signals if (r := good.get(s.name)) and r.value is not None}
    at = {s.name: _seen(good.get(s.name), seen.get(s.name, now), now) for s in signals}
    lost = [s.name for s in signals if s.name not in good and is_lost(s, at[s.name], now)]
    stops = [s.name for s in signals if _stops(s, good.get(s.name)) and at[s.name] != seen.get(s.name)]
    return Pressures(
        by_name=found,
        stale=[s.name for s in signals if s.name not in good],
        lost=lost,
        blind=bool(lost) and {s.name for s in _steering(signals)} <= {*lost},
        leader=_highest({s.name: found[s.name] for s in signals if s.name in found and _moves(s, found[s.name])}),
        limit=_highest({s.name: found[s.name] for s in signals if s.kind == "Lag" and found.get(s.name, 0) > 1}),
        stop=stops[0] if stops else "",
        seen=at,
    )


def _steering(signals: Sequence[Signal]) -> Sequence[Signal]:
    return [signal for signal in signals if signal.kind == "Utilisation"] or signals


def _seen(reading: Reading | None, before: float, now: float) -> float:
    """No clock is ahead of ours."""
    return round(min(now, before if reading is None else reading.at), 3)


def _moves(signal: Signal, pressure: float) -> bool:
    """Utilisation steers. Latency and errors are flat, and then a wall: they only brake. Lag is an integrator: who
    steers by it swings for ever (by a third of the target, in simulations), so it only limits."""
    return signal.kind == "Utilisation" or (signal.kind != "Lag" and pressure > 1)


def _stops(signal: Signal, reading: Reading | None) -> bool:
    """Only a measurement stops, and only once."""
    return signal.kind == "Errors" and reading is not None and (reading.value or 0) > STOP_OVER


def _highest(pressures: dict[str, float]) -> str:
    return max(pressures, key=lambda name: pressures[name], default="")
