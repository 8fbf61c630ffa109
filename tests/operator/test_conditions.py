"""What a status says of what was seen."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from boxoffice.control import Decision
from boxoffice.readings import Reading
from boxoffice.sale import convert_sale
from boxoffice.spec import Spec
from boxoffice.status import MOST_DECISIONS, DecisionStatus, Status
from conditions import ADMITTING, changes, limits, status_of
from decisions import latest, says_more, signals_of, with_this
from facts import Facts, Fault, Overriding, Prescaled, Sight, Steered
from tests.integration.house import resource

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
GONE = Fault("RedisUnreachable", "Redis does not answer")


def spec(**more: Any) -> Spec:
    return convert_sale(resource(**more)).spec


def sight(**more: Any) -> Sight:
    seen: dict[str, Any] = {"uid": "ab" * 16, "state": "open", "policy": "Open", "waiting": 900, "active": 50}
    seen |= {"target": 200, "per_minute": 240, "taken": 10, "sold": 20, "total": 100, "free": 70, "opened_ms": 1}
    return Sight(**{**seen, **more})


def facts(**more: Any) -> Facts:
    return Facts(**{"generation": 3, "spec": spec(), "sight": sight(), **more})


def said(status: Status) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def test_a_sale_that_sells() -> None:
    status = status_of(Status(), facts(), NOW)
    assert said(status) == {
        "Ready": ("True", "SpecInForce"),
        "Admitting": ("True", "SaleOpen"),
        "SignalsFresh": ("Unknown", "SignalsNotUsed"),
        "LedgerHealthy": ("True", "LedgerAnswers"),
        "SoldOut": ("False", "SeatsLeft"),
        "Overridden": ("False", "OverrideAbsent"),
        "Degraded": ("False", "EnginesAnswer"),
        "Prescaled": ("Unknown", "PrescaleNotDue"),
    }
    assert status.observed_generation == 3
    assert (status.seats.total, status.seats.held, status.seats.sold, status.waiting) == (100, 10, 20, 900)
    assert {condition.observed_generation for condition in status.conditions} == {3}


def test_what_could_not_be_seen_stays_as_it_was_seen_last() -> None:
    before = status_of(Status(), facts(), NOW)
    after = status_of(before, facts(sight=None, store=GONE), LATER)
    assert (after.seats, after.waiting, after.admission) == (before.seats, before.waiting, before.admission)
    assert said(after)["Ready"] == ("False", "RedisUnreachable")
    assert said(after)["Admitting"] == ("Unknown", "SaleNotSeen")
    assert said(after)["Degraded"] == ("True", "RedisUnreachable")


def test_a_transition_has_its_time_and_what_stays_keeps_it() -> None:
    before = status_of(Status(), facts(), NOW)
    after = status_of(before, facts(ledger=Fault("LedgerUnreachable", "away")), LATER)
    times = {condition.type: condition.last_transition_time for condition in after.conditions}
    assert times["LedgerHealthy"] == times["Degraded"] == LATER
    assert times["Ready"] == times["Admitting"] == NOW


def test_nothing_new_is_the_same_status() -> None:
    before = status_of(Status(), facts(), NOW)
    assert status_of(before, facts(), LATER) == before
    assert msgspec.convert(msgspec.to_builtins(before), Status) == before


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ({"sight": sight(state="prequeue")}, "NotOpen"),
        ({"sight": sight(state="closed")}, "Over"),
        ({"sight": sight(state="soldOut")}, "SoldOut"),
        ({"sight": sight(state="hold", policy="Hold")}, "Policy"),
        ({"sight": sight(state="hold", policy="Hold"), "override": Overriding("Hold", "Mina", "slow")}, "Override"),
        ({"sight": sight(state="drain", policy="Drain"), "override": Overriding("Hold", "Mina", "slow")}, "Policy"),
        ({"sight": sight(state="allTaken", free=0)}, "Seats"),
        ({"sight": sight(waiting=0)}, "Demand"),
        ({"spec": spec(admission={"mode": "Manual", "perMinute": 60})}, "Manual"),
        ({}, "Filling"),
        ({"sight": sight(active=190)}, "Target"),
    ],
)
def test_what_limits(seen: dict[str, Any], word: str) -> None:
    given = facts(**seen)
    assert given.sight
    assert limits(given, given.sight)[0] == word


@given(
    st.sampled_from(sorted(ADMITTING)),
    st.sampled_from([None, GONE]),
    st.sampled_from([None, Fault("LedgerUnreachable", "x" * 2000)]),
    st.sampled_from([None, Fault("NameTaken", "taken")]),
    st.booleans(),
)
def test_whatever_is_seen_makes_a_status_that_the_cluster_takes(
    state: str, store: Fault | None, ledger: Fault | None, unready: Fault | None, archived: bool
) -> None:
    seen = None if store or archived else sight(state=state)
    status = status_of(Status(), facts(sight=seen, store=store, ledger=ledger, unready=unready, archived=archived), NOW)
    assert msgspec.convert(msgspec.to_builtins(status), Status) == status  # bounds and patterns hold
    assert len(status.conditions) == 8


def test_pods_before_the_crowd_are_told_of_until_they_are_ready() -> None:
    starting = status_of(Status(), facts(prescaled=Prescaled(False, "2 of 6 app pods are ready")), NOW)
    assert said(starting)["Prescaled"] == ("False", "PodsStarting")
    ready = status_of(starting, facts(prescaled=Prescaled(True, "6 of 6 app pods are ready")), LATER)
    assert list(changes(starting, ready)) == [("Normal", "PodsReady", "6 of 6 app pods are ready")]


def test_an_event_of_each_change_and_a_fault_only_once() -> None:
    first = status_of(Status(), facts(), NOW)
    assert [(kind, reason) for kind, reason, _ in changes(Status(), first)] == [("Normal", "SpecInForce")]
    assert not list(changes(first, first))
    lost = status_of(first, facts(sight=None, store=GONE), LATER)
    reasons = [(kind, reason) for kind, reason, _ in changes(first, lost)]
    assert reasons == [("Warning", "RedisUnreachable"), ("Normal", "SaleNotSeen")]
    assert ("Normal", "EnginesAnswer") in [(kind, reason) for kind, reason, _ in changes(lost, first)]


def test_an_archived_sale_is_over_and_keeps_what_was_sold() -> None:
    before = status_of(Status(), facts(), NOW)
    after = status_of(before, facts(sight=None, archived=True), LATER)
    assert after.seats == before.seats
    assert (after.waiting, after.admission.limited_by) == (0, "Over")
    assert said(after)["Ready"] == ("True", "SaleArchived")
    assert said(after)["Admitting"] == ("False", "SaleClosed")


def steered(limited_by: str = "DatabaseCpu", target: int = 90, applied: bool = True, **more: Any) -> Steered:
    decision = Decision(
        at=1.0, active_target=target, applied=applied, limited_by=limited_by, reason="it is at 2.00", **more
    )
    silent = Reading(name="DatabaseCpu", outcome="error", message="no answer in 5 s")
    return Steered(decision=decision, readings=[silent] if more else [])


def test_a_decision_is_the_reason() -> None:
    status = status_of(Status(), facts(steered=steered()), NOW)
    assert (status.admission.limited_by, status.admission.reason) == ("DatabaseCpu", "it is at 2.00")
    assert said(status)["SignalsFresh"] == ("True", "SignalsFresh")
    assert ("Normal", "PaceLimited", "by DatabaseCpu: it is at 2.00") in list(changes(Status(), status))
    assert not [reason for _, reason, _ in changes(status, status)]
    advice = status_of(Status(), facts(steered=steered(applied=False)), NOW)
    assert advice.admission.reason == "advice, not in force: it is at 2.00"


def test_a_decision_has_its_time_when_it_says_something_new() -> None:
    first = status_of(Status(), facts(steered=steered()), NOW)
    again = status_of(first, facts(steered=steered()), LATER)
    other = status_of(first, facts(steered=steered("Maximum")), LATER)
    assert [status.last_decision_time for status in (first, again, other)] == [NOW, NOW, LATER]


def test_signals_that_are_stale_or_lost_are_named_with_why() -> None:
    stale = status_of(Status(), facts(steered=steered("SignalsStale", stale=["DatabaseCpu"])), NOW)
    lost = status_of(stale, facts(steered=steered("Fallback", stale=["DatabaseCpu"], lost=["DatabaseCpu"])), NOW)
    assert said(stale)["SignalsFresh"] == ("False", "SignalsStale")
    assert said(lost)["SignalsFresh"] == ("False", "SignalsLost")
    [message] = [c.message for c in lost.conditions if c.type == "SignalsFresh"]
    assert message.endswith("DatabaseCpu: no answer in 5 s")


SIGNALS = [
    {"name": "Cpu", "kind": "Utilisation", "query": "cpu", "setpoint": 700},
    {"name": "Errors", "kind": "Errors", "query": "errors", "setpoint": 10},
    {"name": "Lag", "kind": "Lag", "query": "lag", "setpoint": 10_000},
    {"name": "Pool", "kind": "Utilisation", "query": "pool", "setpoint": 1},
]


def test_every_signal_is_shown_as_the_decision_had_it() -> None:
    given = Steered(
        decision=steered(pressures={"Cpu": 1.29, "Pool": math.inf}, stale=["Lag"], lost=["Lag"]).decision,
        readings=[
            Reading(name="Cpu", outcome="breach", value=0.903),
            Reading(name="Errors", outcome="idle", message="the query gives NaN"),
            Reading(name="Lag", outcome="error", message="no answer in 5 s"),
            Reading(name="Pool", outcome="breach", value=1.5e308),
        ],
    )
    status = status_of(Status(), facts(spec=spec(signals=SIGNALS), steered=given), NOW)
    assert [(s.name, s.value, s.pressure, s.state, s.message) for s in status.signals] == [
        ("Cpu", 903, 1290, "Fresh", ""),
        ("Errors", None, None, "Idle", "the query gives NaN"),
        ("Lag", None, None, "Lost", "no answer in 5 s"),
        ("Pool", 2_000_000_000, 2_000_000_000, "Fresh", ""),
    ]
    [message] = [c.message for c in status.conditions if c.type == "SignalsFresh"]
    assert message == "nothing is known for two minutes of Lag; Lag: no answer in 5 s"
    assert msgspec.convert(msgspec.to_builtins(status), Status) == status


def test_the_last_ten_decisions_that_said_something_new() -> None:
    lately: list[DecisionStatus] = []
    for target in (100, 100, *range(100, 112), 111):
        lately = with_this(lately, steered(target=target).decision)
    assert [said.active_target for said in lately] == [*range(102, 112)]
    assert len(lately) == MOST_DECISIONS
    assert with_this(lately, steered("Maximum", 111).decision)[-1].limited_by == "Maximum"
    assert with_this([], steered(applied=False).decision)[0].reason.startswith("advice, not in force: ")
    assert with_this([], steered(target=1).decision)[0].time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_what_another_operator_decided_meanwhile_is_gone_on_from() -> None:
    [older] = with_this([], steered().decision)
    newer = msgspec.structs.replace(older, time=NOW)
    assert latest([older], [newer]) == latest([newer], [older]) == [newer]
    assert latest([], [older]) == latest([older], []) == [older]


def test_decisions_stay_when_nothing_is_steered_any_more() -> None:
    lately = with_this([], steered().decision)
    before = status_of(Status(), facts(steered=Steered(decision=steered().decision, lately=lately)), NOW)
    after = status_of(before, facts(), LATER)
    assert (after.decisions, after.signals) == (lately, [])


def test_what_signals_measure_is_no_reason_to_write_at_once() -> None:
    quiet = status_of(Status(), facts(), NOW)
    [signal] = signals_of(Steered(decision=steered().decision), spec(signals=SIGNALS[:1]).signals)
    measured = msgspec.structs.replace(quiet, signals=[signal])
    assert not says_more(quiet, quiet, 1e9)
    assert not says_more(quiet, measured, 59)
    assert says_more(quiet, measured, 60)
    assert says_more(quiet, msgspec.structs.replace(measured, waiting=1), 0)
