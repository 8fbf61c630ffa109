"""The sales of an instance, as those who run them see and steer them: the command line and the admin port."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from boxoffice.errors import Conflict, LedgerUnavailable, NotFound, Unprocessable
from boxoffice.ledger import Ledger
from boxoffice.sale import ConcertSale, Metadata, record_of
from boxoffice.salerecords import Sums
from boxoffice.seating import Seating
from boxoffice.snapshot import Board, View
from boxoffice.spec import Policy, Spec
from boxoffice.store import Store

DROP_CHUNK = 500
MOST_WHO, MOST_WHY = 128, 255
"""Characters; as wide as the ledger's columns."""

log = logging.getLogger("boxoffice.actions")


class Override(msgspec.Struct, frozen=True):
    """An emergency order that stands beside the resource. `until` in Unix ms, 0: until taken back."""

    policy: str
    who: str
    why: str
    until: int


class SaleState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One sale as of the last beat. Money in minor units of `currency`."""

    name: str
    title: str
    concert: str
    state: str
    policy: str
    """What the resource says."""
    override: Override | None
    mode: str
    waiting: int
    active: int
    active_target: int
    rate_per_minute: int
    held: int
    paying: int
    sold: int
    total: int
    free: int
    revenue_minor: int | None
    """By the ledger; null while it is out of reach."""
    currency: str
    sell_through_per_mille: int


async def apply(store: Store, ledger: Ledger, sale: ConcertSale, who: str, why: str = "") -> bool:
    """Makes the sale or changes it; true when it is new here. Raises Conflict when its seating is fixed.

    The ledger keeps the uid, so that a sale that Redis has lost or dropped is the same sale when it is back.
    """
    name, seating = sale.metadata.name, Seating.of(sale.spec)
    spec = msgspec.json.encode(sale.spec).decode()
    await _check_seating(store, name, seating)
    record = await ledger.ensure_sale(name, seating.digest, spec, seating.total)
    known = record.opened_ms is not None or await ledger.checkpoint_of(record.uid) is not None
    target = sale.spec.admission.initial_active
    identity = ("", record.uid, seating.digest, seating.total, spec, int(known), target)
    reply = await store.call("apply", name, *identity, *record_of(sale.spec))
    if reply[0] == b"other_uid":
        raise Conflict(f"Redis has another sale named {name!r} than the ledger", code="other_uid")
    if reply[0] == b"seating_fixed":
        raise _seating_fixed(name)
    await store.add_name(name)
    await _note(ledger, who, "apply", name, why)
    return bool(reply[1])


async def _check_seating(store: Store, name: str, seating: Seating) -> None:
    """Before the ledger is changed: Redis knows of an opening first."""
    digest, epoch = await store.execute("HMGET", store.key(name, "sale"), "digest", "epoch")
    if digest is not None and epoch != b"1" and digest.decode() != seating.digest:
        raise _seating_fixed(name)


def _seating_fixed(name: str) -> Conflict:
    return Conflict(f"{name}: the sale was opened, its seating cannot change any more", code="seating_fixed")


async def override(
    store: Store, ledger: Ledger, name: str, policy: Policy | None, who: str, why: str, until_ms: int = 0
) -> str:
    """Sets an override, or takes it back (None). Returns the policy in force. Works without the ledger."""
    check_who_and_why(who, why)
    reply = await store.call("override", name, policy or "", who, why, until_ms)
    await _note(ledger, who, policy.lower() if policy else "resume", name, why)
    return str(reply[1].decode())


async def delete(store: Store, ledger: Ledger, view: View, who: str, why: str) -> None:
    """Removes the sale from Redis; the ledger keeps its orders. Raises Conflict while it is running."""
    check_who_and_why(who, why)
    name = view.name
    if view.state not in ("scheduled", "closed", "soldOut"):
        raise Conflict(f"{name} is {view.state}: close it first", code="sale_running")
    if view.paying or await store.execute("ZCARD", store.key(name, "unpublished")):
        raise Conflict(f"{name} has orders that are not settled yet; try again", code="sale_running")
    await ledger.mark_dropped(name)
    await store.remove_name(name)
    await _drop(store, name)
    await _note(ledger, who, "delete", name, why)


async def _drop(store: Store, name: str) -> None:
    keys = list(await store.keys(name, ""))
    for start in range(0, len(keys) or 1, DROP_CHUNK):
        await store.call("drop", name, *keys[start : start + DROP_CHUNK])


async def states(store: Store, ledger: Ledger, board: Board) -> list[SaleState]:
    """All sales that have a first beat behind them, by name."""
    sums = await _sums(ledger)
    views = sorted((v for v in board.views.values() if v.ready), key=lambda view: view.name)
    return [_state(view, await override_of(store, view), sums) for view in views]


async def _sums(ledger: Ledger) -> Mapping[str, Sums] | None:
    try:
        return await ledger.sums()
    except LedgerUnavailable:
        return None


async def override_of(store: Store, view: View) -> Override | None:
    """The override that is in force now."""
    fields = ("override", "override_who", "override_why", "override_until")
    policy, who, why, until = await store.execute("HMGET", store.key(view.name, "sale"), *fields)
    if not policy or 0 < int(until or 0) <= view.now_ms():
        return None
    return Override(policy.decode(), who.decode(), why.decode(), int(until or 0))


def _state(view: View, override: Override | None, sums: Mapping[str, Sums] | None) -> SaleState:
    revenue = None if sums is None else sums.get(view.uid.hex(), Sums()).revenue_minor
    return SaleState(
        name=view.name,
        title=view.spec.title,
        concert=view.spec.concert,
        state="recovering" if view.recovering else view.state,
        policy=view.spec.policy,
        override=override,
        mode=view.spec.admission.mode,
        waiting=view.waiting,
        active=view.active,
        active_target=view.target,
        rate_per_minute=view.per_minute,
        held=view.held,
        paying=view.paying,
        sold=view.sold,
        total=view.total,
        free=view.free,
        revenue_minor=revenue,
        currency=view.spec.currency,
        sell_through_per_mille=1000 * view.sold // max(1, view.total),
    )


async def get(store: Store, name: str) -> ConcertSale:
    """The resource as it was applied last. Raises NotFound."""
    spec = await store.execute("GET", store.key(name, "spec"))
    if spec is None:
        raise NotFound(f"there is no sale named {name!r}", code="unknown_sale")
    return ConcertSale(
        api_version="boxoffice.dev/v1alpha1",
        kind="ConcertSale",
        metadata=Metadata(name=name),
        spec=msgspec.json.decode(spec, type=Spec),
    )


def check_who_and_why(who: str, why: str) -> None:
    """Raises Unprocessable: nobody steers a sale without a name and a reason."""
    for field, text, most in (("who", who, MOST_WHO), ("why", why, MOST_WHY)):
        if not text.strip():
            raise Unprocessable(f"{field}: must not be empty", field=field)
        if len(text) > most:
            raise Unprocessable(f"{field}: must have {most} characters at most", field=field)


def log_action(who: str, what: str, subject: str, why: str) -> None:
    """One line of JSON in the process's log."""
    log.info("%s", msgspec.json.encode({"who": who, "what": what, "subject": subject, "why": why}).decode())


async def _note(ledger: Ledger, who: str, what: str, name: str, why: str) -> None:
    """Into the ledger's trail and the process's log; an emergency does not wait for the ledger."""
    log_action(who, what, name, why)
    try:
        await ledger.note(who, what, name, why)
    except LedgerUnavailable as error:
        log.warning("not in the ledger's trail: %s", error)
