"""One override, two ends: the resource's annotation and the sale's record. Which of them changed last is known without
any clock: the record keeps the annotation that it was last in line with."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from boxoffice.errors import Unprocessable
from boxoffice.override import Override, parse
from boxoffice.spec import Policy
from boxoffice.store import Store

STRICTNESS: dict[Policy, int] = {"Open": 0, "Hold": 1, "Drain": 2, "Closed": 3}
FIELDS = ("override", "override_who", "override_why", "override_until", "override_at", "override_seen")


class Register(msgspec.Struct, frozen=True):
    """The end in Redis."""

    override: Override | None
    """None: nobody ever gave one."""
    seen: str
    """The annotation that it was last in line with."""


class ToStore(msgspec.Struct, frozen=True):
    override: Override
    annotation: str


class ToResource(msgspec.Struct, frozen=True):
    annotation: str


def carry(annotation: str | None, register: Register) -> ToStore | ToResource | None:
    """What brings both ends in line; None when they are. Raises Unprocessable for an annotation that says nothing.

    An annotation that is missing says nothing either: whoever replaces or makes the resource anew does not lift an
    override by that. When both ends changed since they were in line, the stricter one stays.
    """
    here = register.override
    if annotation is None:
        return None if here is None or here.policy == "Open" else ToResource(here.text())
    if annotation == register.seen:
        return None if here is None or _same(here, _was(register)) else ToResource(here.text())
    there = parse(annotation)
    changed = here is not None and not _same(here, _was(register))
    if here and changed and STRICTNESS[here.policy] > STRICTNESS[there.policy]:
        return ToResource(here.text())
    return ToStore(there, annotation)


def _was(register: Register) -> Override | None:
    try:
        return parse(register.seen) if register.seen else None
    except Unprocessable:
        return None


def _same(one: Override, other: Override | None) -> bool:
    """But for `at`, which each end writes by its own clock; times in Redis are whole milliseconds."""
    if other is None:
        return False
    ends = [None if o.until is None else int(o.until.timestamp() * 1000) for o in (one, other)]
    return (one.policy, one.who, one.why, ends[0]) == (other.policy, other.who, other.why, ends[1])


async def read(store: Store, sale: str) -> Register:
    """Raises StoreUnavailable."""
    found = await store.execute("HMGET", store.key(sale, "sale"), *FIELDS)
    policy, who, why, until, at, seen = ("" if value is None else value.decode() for value in found)
    if not who:
        return Register(None, seen)
    override = Override(
        policy=msgspec.convert(policy or "Open", Policy),
        who=who,
        why=why,
        at=_time(at),
        until=_time(until) if until not in ("", "0") else None,
    )
    return Register(override, seen)


def _time(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms or 0) / 1000, UTC)
