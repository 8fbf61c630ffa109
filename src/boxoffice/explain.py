"""What the pace of a sale is, and why, in words: from what the cluster says of it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import get_args

import msgspec

from boxoffice.durations import short
from boxoffice.seen import SeenCondition, SeenSale
from boxoffice.signalwords import explained_decisions, explained_signals
from boxoffice.spec import Policy

MOST_EVENTS = 5
LABEL = 16


class SeenEvent(msgspec.Struct, frozen=True, rename="camel"):
    """An Event of Kubernetes; which of the times it has depends on who wrote it."""

    type: str = "Normal"
    reason: str = ""
    message: str = ""
    count: int | None = None
    event_time: datetime | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None

    @property
    def at(self) -> datetime:
        return self.last_timestamp or self.event_time or self.first_timestamp or datetime.fromtimestamp(0, UTC)


def explain(sale: SeenSale, events: Sequence[SeenEvent], now: datetime) -> Iterator[str]:
    yield f"{sale.name}: {sale.spec.title}" if sale.spec.title else sale.name
    for label, words in (
        ("policy", _policy(sale, now)),
        ("override", _override(sale, now)),
        ("times", _times(sale, now)),
        ("state", _state(sale, now)),
        ("seats", _seats(sale)),
        ("mode", _mode(sale)),
        ("pace", _pace(sale)),
        ("limited by", _limit(sale)),
        ("to let more in", to_let_more_in(sale)),
        ("seen", _seen(sale)),
    ):
        if words:
            yield f"{label:<{LABEL}}{words}"
    yield from explained_signals(sale.status)
    yield from explained_decisions(sale.status.decisions, now)
    yield from _conditions(sale.status.conditions, now)
    yield from _events(events, now)


def _policy(sale: SeenSale, now: datetime) -> str:
    """The stricter of the two is in force."""
    override, own = sale.override(now), sale.spec.policy
    if override is None:
        return f"{own}, as the resource says"
    if _stricter(own, override.policy):
        return f"{own}, as the resource says; that is stricter than the override"
    return f"{override.policy}, by override; the resource says {own}"


def _stricter(policy: str, other: str) -> bool:
    """The type has them in this order."""
    order = get_args(Policy)
    return policy in order and order.index(policy) > order.index(other)


def _override(sale: SeenSale, now: datetime) -> str:
    override = sale.override(now)
    if override is None:
        return ""
    until = f", until {_at(override.until, now)}" if override.until else ", until it is taken back"
    return f"{override.why} ({override.who}, {_at(override.at, now)}{until})"


def _times(sale: SeenSale, now: datetime) -> str:
    spec = sale.spec
    times = [("pre-queue", spec.pre_queue_time), ("opens", spec.opens_time), ("closes", spec.closes_time)]
    return ", ".join(f"{name} {_at(time, now)}" for name, time in times if time)


def _state(sale: SeenSale, now: datetime) -> str:
    spec, override = sale.spec, sale.override(now)
    if now >= spec.closes_time or "Closed" in (spec.policy, override and override.policy):
        return "over: nobody joins, nobody is called; orders that were placed are settled"
    if sale.status.opened_time:
        return f"open since {_at(sale.status.opened_time, now)}"
    if now >= spec.opens_time:
        return "its time has come, but nobody has seen it open: is a pod of `boxoffice serve` running?"
    if now >= (spec.pre_queue_time or spec.opens_time):
        return "pre-queue: buyers join, nobody is called yet"
    return "scheduled: nobody can join yet"


def _seats(sale: SeenSale) -> str:
    seats = sale.status.seats
    free = seats.total - seats.held - seats.sold
    return f"{seats.sold:,} of {seats.total:,} sold, {seats.held:,} held, {free:,} free" if seats.total else ""


def _mode(sale: SeenSale) -> str:
    a = sale.spec.admission
    if a.mode == "Manual":
        return f"Manual: {a.per_minute:,} are called a minute, up to {a.max_active:,} inside"
    between = f"between {a.min_active:,} and {a.max_active:,} inside, {a.initial_active:,} at the opening"
    return f"{a.mode}: {between}" + ("; what is decided is shown, not done" if a.mode == "Advise" else "")


def _pace(sale: SeenSale) -> str:
    a, waiting = sale.status.admission, sale.status.waiting
    return f"{a.per_minute:,} a minute; {a.active:,} inside of {a.active_target:,} that should be; {waiting:,} wait"


def _limit(sale: SeenSale) -> str:
    a = sale.status.admission
    return f"{a.limited_by}: {a.reason}" if a.reason else a.limited_by


def to_let_more_in(sale: SeenSale) -> str:
    """What would raise the pace, by what limits it; nothing where only time or demand can."""
    name, a = sale.name, sale.spec.admission
    over = "stop calling by hand: kubectl sale rate " + name + " auto"
    by_hand = f"kubectl sale rate {name} {max(60, 2 * a.per_minute)}"
    inside = f"raise spec.admission.maxActive ({a.max_active:,})"
    held = f"raise spec.admission.minActive ({a.min_active:,}); or {by_hand}"
    return {
        "Override": f"kubectl sale resume {name} --why '…'",
        "Policy": "set spec.policy to Open",
        "NotOpen": "wait for opensTime: it opens by itself; an earlier opensTime opens it earlier",
        "Seats": "seats that come back call the next in line; a shorter spec.hold.seconds brings them back sooner",
        "Manual": f"{by_hand}; or {over}",
        "Target": f"raise spec.admission.initialActive ({a.initial_active:,}), which stands while there are no signals",
        "Filling": "nothing to do: those who are called come in as fast as others leave",
        "Maximum": inside,
        "Minimum": held,
        "Budget": "raise the operator's budgetMaxActive, or this sale's spec.admission.weight",
        "SignalsStale": "mend the signals that the condition SignalsFresh names; meanwhile nothing goes up",
        "Fallback": f"mend the signals that the condition SignalsFresh names; or {by_hand}",
        "Draining": "nothing to do: those inside leave until the last cut is reached",
        "Demand": "nothing to do: whoever comes is let in",
        "SoldOut": "nothing to do: there is no seat left",
        "Over": "nothing to do: the sale is over",
    }.get(sale.status.admission.limited_by, _by_signal(sale))


def _by_signal(sale: SeenSale) -> str:
    """Nothing for a word that is no signal's name either."""
    limit = sale.status.admission.limited_by
    if limit not in [signal.name for signal in sale.spec.signals]:
        return ""
    return f"give what {limit} measures more room, or raise its setpoint; {sale.name} gets what it can take by itself"


def _seen(sale: SeenSale) -> str:
    """How far what stands above can be trusted."""
    if not sale.status.conditions:
        return f"never: no operator has looked at it yet; is one running? kubectl sale preflight {sale.name}"
    behind = sale.status.observed_generation < sale.metadata.generation
    return "the last edit of spec has not been seen by the operator yet" if behind else ""


def _conditions(conditions: Sequence[SeenCondition], now: datetime) -> Iterator[str]:
    if conditions:
        yield "conditions"
    for condition in conditions:
        since = f"for {short(now - condition.last_transition_time)}" if condition.last_transition_time else ""
        words = f"{condition.reason}: {condition.message}" if condition.message else condition.reason
        yield f"  {condition.type:<15}{condition.status:<9}{since:<12}{words}".rstrip()


def _events(events: Sequence[SeenEvent], now: datetime) -> Iterator[str]:
    latest = sorted(events, key=lambda event: event.at)[-MOST_EVENTS:]
    if latest:
        yield "events"
    for event in latest:
        times = f" ({event.count} times)" if (event.count or 1) > 1 else ""
        yield f"  {short(now - event.at) + ' ago':<12}{event.type:<9}{event.reason}: {event.message}{times}"


def _at(time: datetime, now: datetime) -> str:
    """`2030-09-06T08:00:00Z (in 5d)`."""
    distance = f"in {short(time - now)}" if time > now else f"{short(now - time)} ago"
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} ({distance})"
