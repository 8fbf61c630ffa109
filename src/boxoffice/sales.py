"""The sales of an instance, as those who run them see and steer them: the command line and the admin port."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from boxoffice.archive import is_over
from boxoffice.board import Board
from boxoffice.errors import Conflict, Gone, LedgerUnavailable, NotFound, Unprocessable
from boxoffice.ledger import Ledger
from boxoffice.override import MOST_WHO, MOST_WHY
from boxoffice.sale import ConcertSale, Metadata, record_of
from boxoffice.salerecords import Sums
from boxoffice.seating import Seating
from boxoffice.snapshot import View
from boxoffice.spec import Policy, stored_spec
from boxoffice.store import Store

DROP_CHUNK = 500
log = logging.getLogger("boxoffice.actions")


class Writer(msgspec.Struct, frozen=True):
    """An operator's turn: a lower number than the last is refused. `namespace`: where its resources are."""

    number: int
    namespace: str


class OldWriter(Conflict):
    """Another operator has taken its turn since."""

    def __init__(self, present: int) -> None:
        super().__init__(f"another operator writes to this sale: its turn is number {present}", code="old_writer")
        self.present = present


class InForce(msgspec.Struct, frozen=True):
    """An override as the sale's record has it. `until` in Unix ms, 0: until taken back."""

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
    override: InForce | None
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
    """By the ledger; null while it is out of reach. Of a rehearsal 0."""
    currency: str
    sell_through_per_mille: int


async def apply(
    store: Store, ledger: Ledger, sale: ConcertSale, who: str, why: str = "", writer: Writer | None = None
) -> bool:
    """Makes the sale or changes it; true when it is new here. Raises Conflict when its seating is fixed, Gone when it
    was archived and this spec does not open it again.

    The ledger keeps the uid, so that a sale that Redis has lost or dropped is the same sale when it is back. What
    Redis knows already is changed there first: that must not wait for a ledger that is out of reach.
    """
    name, seating = sale.metadata.name, Seating.of(sale.spec)
    spec = spec_text(sale)
    uid = await _uid_here(store, name, seating)
    if uid is not None:
        await _check_listing_here(store, sale)
        await _write(store, sale, uid, known=True, writer=writer)  # should it leave Redis just now, it is rebuilt
    else:
        before = await ledger.sale(name)
        if is_over(before, sale.spec, await store.now_ms(name)):
            text = f"{name} is over and in the ledger alone; a later closesTime would open it again"
            raise Gone(text, code="archived")
        if before is not None:
            _check_listing(sale, before.spec)
    record = await ledger.ensure_sale(name, seating.digest, spec, seating.total)
    if uid not in (None, record.uid):
        raise _other_uid(name)
    known = record.opened_ms is not None or await ledger.checkpoint_of(record.uid) is not None
    new = uid is None and await _write(store, sale, record.uid, known, writer)
    await store.add_name(name)
    await _note(ledger, who, "apply", name, why)
    return new


def spec_text(sale: ConcertSale) -> str:
    """As Redis and the ledger keep it."""
    return msgspec.json.encode(sale.spec).decode()


async def _check_listing_here(store: Store, sale: ConcertSale) -> None:
    before = await store.execute("GET", store.key(sale.metadata.name, "spec"))
    if before is not None:
        _check_listing(sale, before)


def _check_listing(sale: ConcertSale, before: str | bytes) -> None:
    """A rehearsal may be erased with all its orders: no sale becomes one."""
    name = sale.metadata.name
    was = resource(name, before).spec.listing
    if (sale.spec.listing == "Rehearsal") != (was == "Rehearsal"):
        raise Conflict(f"{name}: a rehearsal stays one, and a sale never becomes one", code="listing_fixed")


async def _uid_here(store: Store, name: str, seating: Seating) -> str | None:
    """Of the sale in Redis when it has this seating. Raises Conflict when it was opened with another one."""
    uid, digest, epoch = await store.execute("HMGET", store.key(name, "sale"), "uid", "digest", "epoch")
    if digest is None or digest.decode() == seating.digest:
        return None if uid is None else str(uid.decode())
    if epoch != b"1":
        raise _seating_fixed(name)
    return None


async def _write(store: Store, sale: ConcertSale, uid: str, known: bool, writer: Writer | None) -> bool:
    """Into Redis; true when it is new there."""
    name, seating, target = sale.metadata.name, Seating.of(sale.spec), sale.spec.admission.initial_active
    turn, more = ("", []) if writer is None else (writer.number, ["namespace", writer.namespace])
    identity = (turn, uid, seating.digest, seating.total, spec_text(sale), int(known), target)
    reply = await store.call("apply", name, *identity, *record_of(sale.spec), *more)
    if reply[0] == b"other_uid":
        raise _other_uid(name)
    if reply[0] == b"seating_fixed":
        raise _seating_fixed(name)
    check_turn(reply)
    return bool(reply[1])


def check_turn(reply: list[Any]) -> None:
    """Raises OldWriter when a script refused the operator whose turn is over."""
    if reply[0] == b"old_writer":
        raise OldWriter(int(reply[1]))


def _other_uid(name: str) -> Conflict:
    return Conflict(f"Redis has another sale named {name!r} than the ledger", code="other_uid")


def _seating_fixed(name: str) -> Conflict:
    return Conflict(f"{name}: the sale was opened, its seating cannot change any more", code="seating_fixed")


async def override(
    store: Store,
    ledger: Ledger,
    name: str,
    policy: Policy | None,
    who: str,
    why: str,
    until_ms: int = 0,
    annotation: str | None = None,
) -> str:
    """Sets an override, or takes it back (None). Returns the policy in force. Works without the ledger.
    `annotation`: that of the resource which says so, if it does."""
    check_who_and_why(who, why)
    reply = await store.call("override", name, policy or "", who, why, until_ms, *([annotation] if annotation else []))
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
    await drop(store, ledger, name, who, why)


async def drop(store: Store, ledger: Ledger, name: str, who: str, why: str) -> None:
    """Takes the sale out of Redis, whatever its state; applied again it is the same sale."""
    await ledger.mark_dropped(name)
    await store.remove_name(name)
    await _drop_keys(store, name)
    await _note(ledger, who, "delete", name, why)


async def _drop_keys(store: Store, name: str) -> None:
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


async def override_of(store: Store, view: View) -> InForce | None:
    """The override that is in force now."""
    fields = ("override", "override_who", "override_why", "override_until")
    policy, who, why, until = await store.execute("HMGET", store.key(view.name, "sale"), *fields)
    if not policy or 0 < int(until or 0) <= view.now_ms():
        return None
    return InForce(policy.decode(), who.decode(), why.decode(), int(until or 0))


def _state(view: View, override: InForce | None, sums: Mapping[str, Sums] | None) -> SaleState:
    revenue = None if sums is None else sums.get(view.uid.hex(), Sums()).revenue_minor
    if view.spec.listing == "Rehearsal":
        revenue = 0
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
    return resource(name, spec)


def resource(name: str, spec: str | bytes) -> ConcertSale:
    """From the spec as Redis and the ledger keep it."""
    return ConcertSale(
        api_version="boxoffice.dev/v1alpha1",
        kind="ConcertSale",
        metadata=Metadata(name=name),
        spec=stored_spec(spec),
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
