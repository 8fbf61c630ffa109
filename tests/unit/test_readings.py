"""What a number means for its signal."""

from __future__ import annotations

import math

import pytest

from boxoffice.readings import LOWEST_PRESSURE, Reading, counts, is_lost, measured, pressure
from boxoffice.spec import Signal

CPU = Signal(name="DatabaseCpu", kind="Utilisation", query="cpu", setpoint=700)
ERRORS = Signal(name="Errors", kind="Errors", query="errors", setpoint=10, stale_seconds=300)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(0.0, "success"), (0.7, "success"), (0.71, "breach"), (math.nan, "idle"), (math.inf, "inconclusive"),
     (-0.1, "inconclusive")],
)  # fmt: skip
def test_outcomes(value: float, outcome: str) -> None:
    reading = measured(CPU, value, 5.0)
    assert reading.outcome == outcome
    assert reading.value == (value if outcome in ("success", "breach") else None)
    assert reading.at == 5.0


def test_pressure_is_a_share_of_the_setpoint_and_never_nothing() -> None:
    assert pressure(CPU, 1.4) == pytest.approx(2.0)
    assert pressure(CPU, 0.0) == LOWEST_PRESSURE


def test_what_counts() -> None:
    assert counts(CPU, measured(CPU, 0.5, 100), 130)
    assert not counts(CPU, measured(CPU, 0.5, 100), 131)
    assert not counts(CPU, measured(CPU, math.nan, 100), 100), "what steers is never undefined"
    assert counts(ERRORS, measured(ERRORS, math.nan, 100), 100), "no requests, no errors"
    assert not counts(ERRORS, Reading(name="Errors", outcome="inconclusive", at=100), 100)
    assert not counts(CPU, None, 100)


def test_lost_after_two_minutes_or_after_what_the_sale_says() -> None:
    assert (is_lost(CPU, 0, 120), is_lost(CPU, 0, 121)) == (False, True)
    assert (is_lost(ERRORS, 0, 300), is_lost(ERRORS, 0, 301)) == (False, True)
