"""What is said of a sale's pace."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from boxoffice.explain import LABEL, SeenEvent, explain, to_let_more_in
from boxoffice.seen import SeenSale
from tests.unit.resources import MANUAL, NOW, condition, override, seen

OPENED: dict[str, Any] = {
    "openedTime": "2030-09-06T08:00:00Z",
    "conditions": [condition("Ready", message="the pods have it")],
}


def said(sale: SeenSale, *events: SeenEvent) -> dict[str, str]:
    """By label; conditions and events by their first word."""
    found = {}
    for line in list(explain(sale, events, NOW))[1:]:
        label = line[:LABEL].strip() if not line.startswith("  ") else line.split()[0]
        found[label] = line[LABEL:].strip()
    return found


def test_says_the_pace_and_what_limits_it() -> None:
    admission = {"active": 380, "activeTarget": 400, "perMinute": 612, "limitedBy": "Target", "reason": "as wanted"}
    seats = {"total": 4000, "held": 120, "sold": 1000}
    words = said(seen(admission=admission, seats=seats, waiting=1200, **OPENED))
    assert words["policy"] == "Open, as the resource says"
    assert words["state"] == "open since 2030-09-06T08:00:00Z (60m ago)"
    assert words["seats"] == "1,000 of 4,000 sold, 120 held, 2,880 free"
    assert words["mode"] == "Auto: between 50 and 2,000 inside, 400 at the opening"
    assert words["pace"] == "612 a minute; 380 inside of 400 that should be; 1,200 wait"
    assert words["limited by"] == "Target: as wanted"
    assert words["to let more in"].startswith("raise spec.admission.initialActive (400)")
    assert "Applied: the pods have it" in words["Ready"]


@pytest.mark.parametrize(
    ("own", "over", "policy"),
    [
        ("Open", "Hold", "Hold, by override; the resource says Open"),
        ("Hold", "Drain", "Drain, by override; the resource says Hold"),
        ("Closed", "Hold", "Closed, as the resource says; that is stricter than the override"),
    ],
)
def test_says_which_policy_is_in_force_and_by_whom(own: str, over: str, policy: str) -> None:
    words = said(seen(annotations=override(over, 20), spec={"policy": own}))
    assert words["policy"] == policy
    assert words["override"].startswith(
        "the ledger is slow (ann, 2030-09-06T08:57:00Z (3m ago), until 2030-09-06T09:20"
    )


@pytest.mark.parametrize(
    ("spec", "state"),
    [
        ({"preQueueTime": "2030-09-06T10:00:00Z", "opensTime": "2030-09-06T11:00:00Z"}, "scheduled"),
        ({"opensTime": "2030-09-06T11:00:00Z"}, "pre-queue"),
        ({"preQueueTime": None, "opensTime": "2030-09-06T11:00:00Z"}, "scheduled"),
        ({}, "its time has come, but nobody has seen it open"),
        ({"closesTime": "2030-09-06T08:30:00Z"}, "over"),
        ({"policy": "Closed"}, "over"),
    ],
)
def test_says_what_state_the_times_make(spec: dict[str, str], state: str) -> None:
    assert said(seen(spec=spec))["state"].startswith(state)


@pytest.mark.parametrize(
    ("limit", "admission", "advice"),
    [
        ("Override", {}, "kubectl sale resume tide-seoul --why"),
        ("Policy", {}, "set spec.policy to Open"),
        ("NotOpen", {}, "opens by itself"),
        ("Seats", {}, "spec.hold.seconds"),
        ("Manual", MANUAL, "kubectl sale rate tide-seoul 1200; or"),
        ("Target", {"initialActive": 50}, "raise spec.admission.initialActive (50)"),
        ("Maximum", {"maxActive": 400}, "raise spec.admission.maxActive (400)"),
        ("Minimum", {"minActive": 50}, "raise spec.admission.minActive (50)"),
        ("SignalsStale", {}, "mend the signals"),
        ("Fallback", {}, "mend the signals"),
        ("Budget", {}, "budgetMaxActive"),
        ("Demand", {}, "nothing to do"),
        ("SoldOut", {}, "no seat left"),
        ("Over", {}, "the sale is over"),
    ],
)
def test_says_what_would_let_more_in(limit: str, admission: dict[str, object], advice: str) -> None:
    assert advice in to_let_more_in(seen(spec={"admission": admission}, admission={"limitedBy": limit}))


def test_a_signal_that_limits_is_named() -> None:
    spec = {"signals": [{"name": "DatabaseCpu"}]}
    assert "what DatabaseCpu measures" in to_let_more_in(seen(spec=spec, admission={"limitedBy": "DatabaseCpu"}))


def test_says_nothing_of_a_limit_that_it_does_not_know() -> None:
    assert to_let_more_in(seen(admission={"limitedBy": "ledger-cpu"})) == ""


def test_says_what_every_signal_measures_and_which_one_limits() -> None:
    signals = [
        {
            "name": "DatabaseCpu",
            "kind": "Utilisation",
            "value": 903,
            "setpoint": 700,
            "pressure": 1290,
            "state": "Fresh",
        },
        {"name": "Latency", "kind": "Latency", "value": 312, "setpoint": 300, "pressure": 1040, "state": "Fresh"},
        {"name": "Lag", "kind": "Lag", "setpoint": 12_500_000, "state": "Lost", "message": "the query gives nothing"},
        {"name": "Errors", "kind": "Errors", "value": 0, "setpoint": 10, "pressure": 10, "state": "Fresh"},
        {"name": "Pool", "kind": "OfTomorrow", "setpoint": 700, "state": "OfTomorrow"},
    ]
    lines = list(explain(seen(signals=signals, admission={"limitedBy": "DatabaseCpu"}), (), NOW))
    first = next(i for i, line in enumerate(lines) if line.startswith("signals"))
    assert lines[first : first + 6] == [
        "signals        kind         measured  setpoint  pressure",
        "  DatabaseCpu  Utilisation     0.903       0.7     129 %  limits",
        "  Latency      Latency         0.312       0.3     104 %  over its setpoint",
        "  Lag          Lag                 -    12,500         -  lost: the query gives nothing",
        "  Errors       Errors              0      0.01       1 %",
        "  Pool         OfTomorrow          -       0.7         -  oftomorrow",
    ]


def test_says_what_was_decided_of_late_oldest_first() -> None:
    decisions = [
        {"time": "2030-09-06T08:57:50Z", "activeTarget": 1364, "limitedBy": "Maximum", "reason": "up 4.9 % to 1,364"},
        {
            "time": "2030-09-06T08:59:48Z",
            "activeTarget": 886,
            "limitedBy": "DatabaseCpu",
            "reason": "down 35.0 % to 886",
        },
    ]
    lines = list(explain(seen(decisions=decisions), (), NOW))
    assert lines[lines.index("decisions") :] == [
        "decisions",
        "  130s ago    1,364  Maximum      up 4.9 % to 1,364",
        "  12s ago       886  DatabaseCpu  down 35.0 % to 886",
    ]


def test_says_nothing_of_signals_that_are_not_there() -> None:
    assert not [line for line in explain(seen(), (), NOW) if line.startswith(("signals", "decisions"))]


def test_says_how_far_it_can_be_trusted() -> None:
    assert said(seen())["seen"].startswith("never: no operator")
    assert "not been seen by the operator" in said(seen(**{**OPENED, "observedGeneration": 1}))["seen"]
    assert "seen" not in said(seen(**OPENED))


def test_says_the_last_events_oldest_first() -> None:
    events = [
        SeenEvent(reason=f"Reason{i}", message="so it is", last_timestamp=NOW - timedelta(minutes=i), count=i or None)
        for i in (1, 0, 7, 6, 5, 4)
    ]
    lines = list(explain(seen(), events, NOW))[-6:]
    assert lines[0] == "events"
    assert [line.split("Reason")[1][0] for line in lines[1:]] == ["6", "5", "4", "1", "0"]
    assert lines[1] == "  6m ago      Normal   Reason6: so it is (6 times)"
