"""The outer loop: bounds, direction, silence; on any trace, and on traces made for one rule each."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from boxoffice.control import (
    BRAKE_MOST,
    PROBE_GAIN,
    STEP_RANGE,
    STEP_SECONDS,
    Decision,
    State,
    begin,
    decide,
)
from boxoffice.decisionlog import decided, first_difference, line
from boxoffice.errors import Unprocessable
from boxoffice.readings import DARK_SECONDS, Load, Reading, Rules, measured
from boxoffice.spec import AdmissionSpec, Signal

TRACES = int(os.environ.get("BOXOFFICE_TEST_TRACES", "300"))
NOW = 1_900_000_000.0
CPU = Signal(name="DatabaseCpu", kind="Utilisation", query="cpu", setpoint=700)
LATENCY = Signal(name="Latency", kind="Latency", query="latency", setpoint=300)
LAG = Signal(name="Lag", kind="Lag", query="lag", setpoint=10_000)
ERRORS = Signal(name="Errors", kind="Errors", query="errors", setpoint=10)
ADMISSION = AdmissionSpec(min_active=50, max_active=10_000, initial_active=1000, fallback_active=200)
RULES = Rules(admission=ADMISSION, signals=[CPU, LATENCY, LAG, ERRORS])
CALM = {"DatabaseCpu": 0.7, "Latency": 0.1, "Lag": 0.0, "Errors": 0.0}


def read(at: float, **values: float | None) -> list[Reading]:
    """The calm, but for some; None does not answer."""
    found = []
    for signal in RULES.signals:
        value = (CALM | values)[signal.name]
        silent = Reading(name=signal.name, outcome="error", message="no answer")
        found.append(silent if value is None else measured(signal, value, at))
    return found


def full(state: State) -> Load:
    return Load(state="open", active=int(state.target), waiting=10_000)


def steps(state: State, rules: Rules, *readings: dict[str, float | None]) -> Iterator[tuple[State, Decision]]:
    """A step each, with the house as full as it should be."""
    for values in readings:
        now = state.at + STEP_SECONDS
        state, decision = decide(state, read(now, **values), full(state), rules, now)
        yield state, decision


def after(*readings: dict[str, float | None], rules: Rules = RULES, start: float = 1000) -> tuple[State, Decision]:
    return list(steps(begin(start, NOW), rules, *readings))[-1]


def with_mode(mode: str) -> Rules:
    admission = msgspec.convert(msgspec.to_builtins(ADMISSION) | {"mode": mode}, AdmissionSpec)
    return Rules(admission=admission, signals=RULES.signals)


def test_at_the_setpoint_nothing_moves() -> None:
    state, decision = after({}, {}, {})
    assert (state.target, decision.active_target, decision.limited_by) == (1000, 1000, "DatabaseCpu")
    assert decision.reason == "DatabaseCpu is at 1.00 of its setpoint: stays at 1,000"


def test_below_it_the_target_rises_above_it_falls() -> None:
    assert after({"DatabaseCpu": 0.5})[0].target > 1000
    state, decision = after({"DatabaseCpu": 0.9})
    assert state.target < 1000
    assert decision.reason.startswith("DatabaseCpu is at 1.29 of its setpoint: down ")


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_more_pressure_never_makes_a_higher_target(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert after({"DatabaseCpu": high})[0].target <= after({"DatabaseCpu": low})[0].target


def test_latency_brakes_and_does_not_steer() -> None:
    assert after({"Latency": 0.01})[0].target == 1000
    state, decision = after({"Latency": 0.4})
    assert state.target < 1000
    assert decision.limited_by == "Latency"


def test_a_lag_only_limits() -> None:
    state, decision = after({"DatabaseCpu": 0.5, "Lag": 60.0})
    assert (state.target, decision.limited_by) == (1000, "Lag")
    assert "Lag is at 6.00 of its setpoint" in decision.reason


def test_a_brake_halves_at_most_and_waits_to_be_seen() -> None:
    slow: dict[str, float | None] = {"Latency": 30.0}
    (first, _), (second, _), (third, _), (fourth, _) = steps(begin(1000, NOW), RULES, slow, slow, slow, slow)
    assert first.target == second.target == third.target == 500
    assert fourth.target < 500
    assert fourth.braked == first.braked + 30
    calm = decide(first, read(first.at + 10, DatabaseCpu=0.1), full(first), RULES, first.at + 10)[1]
    assert calm.active_target == 500, "it rose before the brake could be seen"


def test_a_brake_is_seen_only_when_as_many_have_left() -> None:
    slow: dict[str, float | None] = {"Latency": 30.0}
    [(state, _)] = steps(begin(1000, NOW), RULES, slow)
    for seconds in (10, 20, 30, 40, 50):
        draining = Load(state="open", active=900, waiting=1000)
        state, decision = decide(state, read(NOW + 10 + seconds, **slow), draining, RULES, NOW + 10 + seconds)
        assert (state.target, decision.limited_by) == (500, "Draining")
    for seconds in (60, 70):
        state, decision = decide(state, read(NOW + 10 + seconds, **slow), full(state), RULES, NOW + 10 + seconds)
        assert (state.target, decision.limited_by) == (500, "Latency"), "what is measured is older than that"
    state, _ = decide(state, read(NOW + 90, **slow), full(state), RULES, NOW + 90)
    assert state.target < 500


def test_errors_stop_for_half_a_minute_and_only_a_new_measurement_renews_it() -> None:
    state, decision = after({"Errors": 0.3})
    assert decision.stop_until == state.at + 30
    assert decision.limited_by == "Errors"
    old = read(state.at, Errors=0.3)
    assert decide(state, old, full(state), RULES, state.at + 10)[1].stop_until == state.at + 30
    assert decide(state, read(0, Errors=None), full(state), RULES, state.at + 31)[1].stop_until == 0
    assert after({"Errors": 0.19})[1].stop_until == 0


def test_the_start_doubles_until_the_setpoint_is_in_sight() -> None:
    state, _ = after({"DatabaseCpu": 0.05})
    assert math.isclose(state.target, 1000 * math.exp(PROBE_GAIN), rel_tol=1e-6)
    near = decide(state, read(state.at + 10, DatabaseCpu=0.6), full(state), RULES, state.at + 10)[0]
    assert near.target < 1.05 * state.target, "those who were called already make it 92 % and more"


def test_a_step_keeps_to_its_envelope() -> None:
    (high, _), (back, _) = steps(begin(1000, NOW), RULES, {"DatabaseCpu": 1.0}, {"DatabaseCpu": 0.4})
    assert back.target == pytest.approx(1.1 * high.target), "the error fell by half: four times as much were due"


def test_what_is_too_much_but_falls_is_no_time_to_grow() -> None:
    (high, _), (lower, decision) = steps(begin(1000, NOW), RULES, {"DatabaseCpu": 1.0}, {"DatabaseCpu": 0.75})
    assert lower.target == high.target, decision.reason


def test_nobody_there_no_increase() -> None:
    state = begin(1000, NOW)
    quiet = Load(state="open", active=700)
    _, decision = decide(state, read(NOW + 10, DatabaseCpu=0.5), quiet, RULES, NOW + 10)
    assert (decision.active_target, decision.limited_by) == (1000, "Demand")


def test_no_cut_while_the_last_one_drains() -> None:
    state = begin(1000, NOW)
    crowded = Load(state="open", active=1090, waiting=50)
    _, decision = decide(state, read(NOW + 10, DatabaseCpu=0.95), crowded, RULES, NOW + 10)
    assert (decision.active_target, decision.limited_by) == (1000, "Draining")


@pytest.mark.parametrize(("start", "cpu", "word"), [(10_000, 0.1, "Maximum"), (50, 0.99, "Minimum")])
def test_bounds(start: float, cpu: float, word: str) -> None:
    state, decision = after({"DatabaseCpu": cpu}, start=start)
    assert (state.target, decision.limited_by) == (start, word)


def test_a_budget_is_a_ceiling() -> None:
    load = Load(state="open", active=1000, waiting=10, ceiling=300)
    _, decision = decide(begin(1000, NOW), read(NOW + 10, DatabaseCpu=0.1), load, RULES, NOW + 10)
    assert (decision.active_target, decision.limited_by) == (300, "Budget")


def test_between_steps_only_a_stop_is_new() -> None:
    state, _ = after({})
    again, decision = decide(state, read(state.at + 2, DatabaseCpu=0.1), full(state), RULES, state.at + 2)
    assert (again.target, again.stepped, decision.active_target) == (1000, state.stepped, 1000)
    assert decide(state, read(state.at + 2, Errors=0.9), full(state), RULES, state.at + 2)[1].stop_until > 0


SILENT: dict[str, float | None] = dict.fromkeys(CALM)


def test_ten_dark_minutes_stand_still_for_two_and_then_fall_to_the_fallback() -> None:
    decisions = [decision for _, decision in steps(begin(1000, NOW), RULES, {}, *[SILENT] * 60)]
    targets = [decision.active_target for decision in decisions]
    assert targets == sorted(targets, reverse=True)
    assert set(targets[: 1 + int(DARK_SECONDS / STEP_SECONDS)]) == {1000}
    assert 200 <= targets[-1] <= 205
    assert (decisions[1].limited_by, decisions[20].limited_by) == ("SignalsStale", "Fallback")
    assert decisions[20].lost == ["DatabaseCpu", "Latency", "Lag", "Errors"]


def test_no_number_is_never_zero() -> None:
    for value in (math.nan, math.inf, -1.0):
        state, decision = after({"DatabaseCpu": value})
        assert state.target == 1000
        assert decision.stale == ["DatabaseCpu"]


def test_nothing_to_brake_for_does_not_stop_an_increase() -> None:
    assert after({"DatabaseCpu": 0.5, "Latency": math.nan, "Errors": math.nan})[0].target > 1000


def test_a_dead_signal_does_not_hide_a_live_one() -> None:
    state, decision = after({"DatabaseCpu": None, "Latency": 0.45})
    assert state.target < 1000
    assert (decision.limited_by, decision.stale) == ("Latency", ["DatabaseCpu"])
    assert after({"DatabaseCpu": 0.1, "Lag": None})[0].target == 1000


@pytest.mark.parametrize("dead", ["Latency", "Lag", "Errors"])
def test_a_dead_brake_stops_the_rise_and_lets_nothing_fall(dead: str) -> None:
    """The back end is known to be well: a fallback would close the door on everybody for one exporter."""
    decisions = [
        decision for _, decision in steps(begin(1000, NOW), RULES, {}, *[{"DatabaseCpu": 0.5, dead: None}] * 60)
    ]
    assert {decision.active_target for decision in decisions} == {1000}
    assert (decisions[-1].limited_by, decisions[-1].lost) == ("SignalsStale", [dead])
    assert after({"DatabaseCpu": 0.9, dead: None})[0].target < 1000


POOL = Signal(name="Pool", kind="Utilisation", query="pool", setpoint=700)


def test_the_fall_begins_when_nothing_that_steers_is_left() -> None:
    rules, state = Rules(admission=ADMISSION, signals=[CPU, POOL, LATENCY]), begin(1000, NOW)
    for minute in range(10):
        now = state.at + 10
        state, decision = decide(state, [measured(POOL, 0.5, now)], full(state), rules, now)
        assert (decision.active_target, decision.limited_by) == (1000, "SignalsStale"), minute
    for _ in range(30):
        now = state.at + 10
        state, decision = decide(state, [measured(LATENCY, 0.1, now)], full(state), rules, now)
    assert (decision.limited_by, decision.lost) == ("Fallback", ["DatabaseCpu", "Pool"])
    assert 200 <= decision.active_target < 400


def test_where_nothing_steers_the_fall_begins_when_all_are_lost() -> None:
    rules, state = Rules(admission=ADMISSION, signals=[LATENCY, LAG]), begin(1000, NOW)
    for seconds in range(10, 600, 10):
        readings = [measured(LAG, 0.0, NOW + seconds)] if seconds < 300 else []
        state, decision = decide(state, readings, full(state), rules, NOW + seconds)
        assert (decision.active_target < 1000) == (seconds > 290 + DARK_SECONDS), decision


def test_an_old_sample_is_stale() -> None:
    state = begin(1000, NOW)
    _, decision = decide(state, read(NOW - 21, DatabaseCpu=0.1), full(state), RULES, NOW + 10)
    assert decision.limited_by == "SignalsStale"


@pytest.mark.parametrize(
    ("state", "word"),
    [("scheduled", "NotOpen"), ("prequeue", "NotOpen"), ("hold", "Policy"), ("drain", "Policy"), ("closed", "Over"),
     ("allTaken", "Seats"), ("soldOut", "SoldOut")],
)  # fmt: skip
def test_a_sale_that_calls_nobody(state: str, word: str) -> None:
    _, decision = decide(begin(700, NOW), read(NOW), Load(state=state, active=10), RULES, NOW + 10)
    assert decision.limited_by == word
    assert decision.active_target == (1000 if word == "NotOpen" else 700)


def test_manual_stands_and_auto_goes_on_from_those_inside() -> None:
    state, decision = decide(begin(1000, NOW), read(NOW), Load(state="open", active=3000), with_mode("Manual"), NOW)
    assert (decision.active_target, decision.limited_by) == (10_000, "Manual")
    assert decision.reason == "600 calls a minute, up to 10,000 inside"
    assert decide(state, read(NOW + 10), full(state), RULES, NOW + 10)[1].active_target == 3000


def test_advise_decides_the_same_and_does_not_do_it() -> None:
    told, done = after({"DatabaseCpu": 0.5}, rules=with_mode("Advise")), after({"DatabaseCpu": 0.5})
    assert told[0] == done[0]
    assert (told[1].applied, done[1].applied) == (False, True)
    assert msgspec.structs.replace(told[1], applied=True) == done[1]


def test_without_signals_it_stays_where_the_spec_says() -> None:
    _, decision = decide(begin(3, NOW), [], Load(state="open", active=3), Rules(admission=ADMISSION), NOW + 10)
    assert (decision.active_target, decision.limited_by) == (1000, "Target")


def test_a_restart_is_no_jump() -> None:
    state = begin(1000, NOW)
    assert decide(state, read(NOW, DatabaseCpu=0.05), full(state), RULES, NOW)[1].active_target == 1000


TIMES = st.sampled_from([0.25, 3.0, 10.0, 10.0, 10.0, 10.2, 40.0, 700.0, -3600.0])
VALUES = st.one_of(
    st.none(),
    st.floats(0.0, 2.0),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, 5e-324]),
)
MOMENTS = st.tuples(
    TIMES,
    st.tuples(VALUES, VALUES, VALUES, VALUES),
    st.integers(0, 30_000),
    st.integers(0, 10),
    st.sampled_from(["open"] * 9 + ["hold", "allTaken", "of tomorrow"]),
)


@settings(max_examples=TRACES, deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=40), st.floats(0, 20_000), st.sampled_from(["Auto", "Advise"]))
def test_any_trace(trace: list[tuple[float, tuple[float | None, ...], int, int, str]], start: float, mode: str) -> None:
    """Inside the bounds, inside the envelope, no increase while a signal is silent, the same again from the log."""
    rules, state, now, entries = with_mode(mode), begin(start, NOW), NOW, []
    for seconds, values, active, waiting, word in trace:
        now += seconds
        readings = read(now, **dict(zip(CALM, values, strict=True)))
        entry = decided("any", state, readings, Load(state=word, active=active, waiting=waiting), rules, now)
        entries.append(line(entry))
        check_step(state, entry.after, entry.decision)
        state = entry.after
    assert first_difference(entries) is None


def check_step(before: State, after: State, decision: Decision) -> None:
    low, high = ADMISSION.min_active, ADMISSION.max_active
    assert low <= after.target <= high
    assert low <= decision.active_target <= high
    assert decision.stop_until <= decision.at + 30
    assert after.braked <= decision.at
    assert decision.limited_by
    assert decision.reason
    was = min(max(before.target, low), high)
    least = min(BRAKE_MOST, math.exp(STEP_RANGE[0])) * (BRAKE_MOST if CPU.name in decision.lost else 1)
    assert max(low, least * was) - 1e-3 <= after.target <= math.exp(PROBE_GAIN) * was + 1e-3
    if decision.stale or decision.stop_until:
        assert after.target <= was + 1e-6


def test_a_log_that_was_changed_is_found() -> None:
    state, entries = begin(1000, NOW), list[bytes]()
    for n in range(5):
        entry = decided("one", state, read(NOW + 10 * n, DatabaseCpu=0.5), full(state), RULES, NOW + 10 * n)
        entries.append(line(entry))
        state = entry.after
    assert first_difference(entries) is None
    changed: Sequence[bytes] = [*entries[:3], entries[3].replace(b'"activeTarget":', b'"activeTarget":1'), entries[4]]
    found = first_difference(changed)
    assert found is not None
    assert found[0] == 4
    with pytest.raises(Unprocessable, match="line 2: "):
        first_difference([entries[0], b"{}"])
