"""What the operator saw of a sale, in the words of its status. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from boxoffice.status import AdmissionStatus, Condition, ConditionType, DrawStatus, Seats, Status
from decisions import reason_of, signals_of
from facts import Facts, Sight

MOST_MESSAGE = 1024
OVER = AdmissionStatus(limited_by="Over", reason="the sale is over; its orders are in the ledger")

Truth = Literal["True", "False", "Unknown"]
Verdict = tuple[Truth, str, str]
"""Status, reason and message of a condition."""


def status_of(before: Status, facts: Facts, now: datetime) -> Status:
    """The status that should stand there; what could not be seen stays as it was seen last."""
    sight = facts.sight
    if sight is None:
        body = msgspec.structs.replace(before, admission=OVER, waiting=0) if facts.archived else before
    else:
        body = Status(
            uid=sight.uid,
            opened_time=_time(sight.opened_ms),
            admission=_admission(facts, sight),
            seats=Seats(total=sight.total, held=sight.taken, sold=sight.sold),
            waiting=sight.waiting,
            draw=DrawStatus(),
            signals=signals_of(facts.steered, facts.spec.signals) if facts.steered and facts.spec else [],
            decisions=facts.steered.lately if facts.steered else before.decisions,
        )
        body = msgspec.structs.replace(body, last_decision_time=_decision_time(before, body, facts, now))
    conditions = list(_conditions(before, facts, now))
    return msgspec.structs.replace(body, observed_generation=facts.generation, conditions=conditions)


def _decision_time(before: Status, after: Status, facts: Facts, now: datetime) -> datetime | None:
    """Of the last decision that said something new."""
    was, is_ = before.admission, after.admission
    same = (was.active_target, was.limited_by) == (is_.active_target, is_.limited_by)
    return before.last_decision_time if facts.steered is None or same else now.replace(microsecond=0)


def _time(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms // 1000, UTC) if ms else None


def _admission(facts: Facts, sight: Sight) -> AdmissionStatus:
    limited_by, reason = limits(facts, sight)
    return AdmissionStatus(
        active=sight.active,
        active_target=sight.target,
        per_minute=sight.per_minute,
        limited_by=limited_by,
        reason=reason[:MOST_MESSAGE],
    )


def limits(facts: Facts, sight: Sight) -> tuple[str, str]:
    """What keeps the pace from being higher when no signal does: a word for the column, and a sentence."""
    over, spec = facts.override, facts.spec
    if sight.state in ("scheduled", "prequeue"):
        return "NotOpen", "nobody is called before opensTime"
    if sight.state == "closed":
        return "Over", "the sale is over"
    if sight.state == "soldOut":
        return "SoldOut", "every seat is sold"
    if sight.policy != "Open":
        if over and over.policy == sight.policy:
            return "Override", f"{over.who} gave {over.policy}: {over.why}"
        return "Policy", f"the policy is {sight.policy}"
    if sight.free == 0:
        return "Seats", "every seat is taken for now; those that come back are offered to the next in line"
    if facts.steered:
        return facts.steered.decision.limited_by, reason_of(facts.steered.decision)
    if sight.waiting == 0:
        return "Demand", "nobody waits: whoever comes is let in"
    if spec and spec.admission.mode == "Manual":
        return "Manual", f"{spec.admission.per_minute} a minute by spec.admission.perMinute"
    inside = f"{sight.active} of {sight.target} are inside"
    if sight.active < FILLED * sight.target:
        return "Filling", f"only {inside}: they leave as fast as those who are called come"
    return "Target", inside


def _conditions(before: Status, facts: Facts, now: datetime) -> Iterator[Condition]:
    verdicts: dict[ConditionType, Verdict] = {
        "Ready": _ready(facts),
        "Admitting": _admitting(facts),
        "SignalsFresh": _signals(facts),
        "LedgerHealthy": _ledger(facts),
        "SoldOut": _sold_out(before, facts),
        "Overridden": _overridden(facts),
        "Degraded": _degraded(facts),
        "Prescaled": _prescaled(facts),
    }
    last = {condition.type: condition for condition in before.conditions}
    for kind, (truth, reason, message) in verdicts.items():
        old = last.get(kind)
        kept = old.last_transition_time if old and old.status == truth else now.replace(microsecond=0)
        yield Condition(
            type=kind,
            status=truth,
            reason=reason,
            message=message[:MOST_MESSAGE],
            last_transition_time=kept,
            observed_generation=facts.generation,
        )


def _ready(facts: Facts) -> Verdict:
    if facts.archived:
        return "True", "SaleArchived", "the sale is over; its orders and tickets are in the ledger"
    if facts.unready:
        return "False", facts.unready.reason, facts.unready.message
    if facts.store:
        return "False", facts.store.reason, facts.store.message
    return "True", "SpecInForce", "every pod sells by this spec"


ADMITTING: dict[str, Verdict] = {
    "scheduled": ("False", "SaleNotOpen", "nobody is called before opensTime"),
    "prequeue": ("False", "SaleNotOpen", "buyers gather; nobody is called before opensTime"),
    "open": ("True", "SaleOpen", "the next in line are called"),
    "hold": ("False", "AdmissionHeld", "nobody new is let in; the line is kept"),
    "drain": ("False", "AdmissionDrained", "nobody new may join or is let in"),
    "allTaken": ("False", "SeatsAllTaken", "every seat is taken for now; the line is kept"),
    "soldOut": ("False", "SaleSoldOut", "every seat is sold"),
    "closed": ("False", "SaleClosed", "the sale is over"),
}


def _admitting(facts: Facts) -> Verdict:
    if facts.archived:
        return ADMITTING["closed"]
    if facts.sight is None:
        return "Unknown", "SaleNotSeen", "the sale could not be asked in Redis"
    return ADMITTING[facts.sight.state]


def _signals(facts: Facts) -> Verdict:
    if facts.steered is None:
        return "Unknown", "SignalsNotUsed", "nothing is steered by signals here"
    decision = facts.steered.decision
    silent = "; ".join(f"{r.name}: {r.message}" for r in facts.steered.readings if r.name in decision.stale)
    if decision.lost:
        return "False", "SignalsLost", f"nothing is known for two minutes of {', '.join(decision.lost)}; {silent}"
    if decision.stale:
        return "False", "SignalsStale", f"no number now of {', '.join(decision.stale)}; {silent}"
    return "True", "SignalsFresh", "every signal is fresh"


def _ledger(facts: Facts) -> Verdict:
    if facts.ledger:
        return "False", facts.ledger.reason, facts.ledger.message
    return "True", "LedgerAnswers", "the ledger answers and has this spec"


def _sold_out(before: Status, facts: Facts) -> Verdict:
    sold, total = (facts.sight.sold, facts.sight.total) if facts.sight else (before.seats.sold, before.seats.total)
    if total and sold >= total:
        return "True", "SeatsSoldOut", f"all {total} seats are sold"
    return "False", "SeatsLeft", "not every seat is sold"


def _overridden(facts: Facts) -> Verdict:
    if facts.annotation:
        return "Unknown", facts.annotation.reason, facts.annotation.message
    if facts.override is None:
        return "False", "OverrideAbsent", "what the spec says counts"
    over = facts.override
    return "True", f"Override{over.policy}", f"{over.policy} by {over.who}: {over.why}"


def _degraded(facts: Facts) -> Verdict:
    for fault in (facts.store, facts.ledger, facts.annotation):
        if fault:
            return "True", fault.reason, fault.message
    return "False", "EnginesAnswer", "nothing is known to be wrong"


def _prescaled(facts: Facts) -> Verdict:
    if facts.prescaled is None:
        return "Unknown", "PrescaleNotDue", "no more pods are asked for than usual"
    return (
        ("True", "PodsReady", facts.prescaled.message)
        if facts.prescaled.ready
        else ("False", "PodsStarting", facts.prescaled.message)
    )


FILLED = 0.8
"""Of the target; with fewer inside it is not the target that holds the pace."""
QUIET = {"", "NotOpen", "Over", "SoldOut", "Seats", "Policy", "Override", "Demand", "Filling", "Target", "Manual"}
"""What limits a sale without anybody's doing, or what a condition tells of already."""
NOTABLE = {
    ("Ready", "True"),
    ("Ready", "False"),
    ("Degraded", "True"),
    ("Overridden", "True"),
    ("Overridden", "Unknown"),
}
"""Conditions that are told of even when nothing was known before."""
WARNINGS = {
    *(("Ready", "False"), ("Degraded", "True"), ("LedgerHealthy", "False"), ("Overridden", "Unknown")),
    ("SignalsFresh", "False"),
}


def changes(before: Status, after: Status) -> Iterator[tuple[Literal["Normal", "Warning"], str, str]]:
    """Events to tell of what has changed: kind, reason, message. One fault is told once, by its first condition."""
    last = {condition.type: condition for condition in before.conditions}
    told: set[str] = set()
    for condition in after.conditions:
        old, key = last.get(condition.type), (condition.type, condition.status)
        same = old is not None and (old.status, old.reason) == (condition.status, condition.reason)
        if same or (old is None and key not in NOTABLE) or condition.reason in told:
            continue
        told.add(condition.reason)
        yield ("Warning" if key in WARNINGS else "Normal"), condition.reason, condition.message
    limited_by = after.admission.limited_by
    if limited_by != before.admission.limited_by and limited_by not in QUIET:
        yield "Normal", "PaceLimited", f"by {limited_by}: {after.admission.reason}"
