"""pay: a hold becomes an order, recorded in Redis, published to the log, answered at once.

Nothing about an order is random: its id is a hash of the sale, the buyer and the buyer's Idempotency-Key, so a
repeat is the same order to Redis, log, ledger and gateway, whatever was lost in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Annotated, Any

import msgspec
from redis.exceptions import RedisError

from boxoffice import events, failpoint, tracing
from boxoffice.admission import entry_args, refused_entry
from boxoffice.board import Board
from boxoffice.errors import (
    BoxofficeError,
    Conflict,
    LogUnavailable,
    NotFound,
    TooMany,
    Unavailable,
    Unprocessable,
)
from boxoffice.eventlog import EventLog
from boxoffice.holds import price
from boxoffice.snapshot import View
from boxoffice.store import Store
from boxoffice.times import rfc3339
from boxoffice.tokens import Admission

LEASE_MS = 5000
RELAY_SECONDS = 1.0
RELAY_BATCH = 50
FINAL = frozenset(("paid", "declined", "refused", "refunded"))

log = logging.getLogger(__name__)


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    hold: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$")]
    payment_method: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$")]


class Order(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a buyer sees of an order. Amounts in minor units."""

    id: str
    state: str
    seats: list[str]
    amount_minor: int
    currency: str
    placed_at: str
    reason: str | None = None
    hold: str | None = None
    """The hold that can be paid again, with another card, after a decline."""
    hold_expires_at: str | None = None


def order_id(sale_uid: bytes, place: bytes, key: str) -> str:
    """Order id = event id = charge id: the first 128 bits of SHA-256 over length-prefixed fields, as hex."""
    body = b"".join([len(field).to_bytes(2, "big") + field for field in (sale_uid, place, key.encode())])
    return hashlib.sha256(body).hexdigest()[:32]


def fingerprint(hold: str, method: str) -> str:
    """What a repeat under the same key must have in common with the first request; the ledger can tell it too."""
    return hashlib.sha256(msgspec.json.encode((hold, method))).hexdigest()[:32]


async def place_order(
    store: Store,
    event_log: EventLog,
    view: View,
    admission: Admission,
    key: str,
    request: OrderRequest,
    traceparent: bytes = b"",
) -> tuple[Order, bool]:
    """Returns the order and whether this was a replay. Raises Conflict, Unprocessable, Forbidden, Unavailable."""
    order = order_id(view.uid, admission.place, key)
    method, currency = request.payment_method, view.spec.currency
    mark = fingerprint(request.hold, method)
    reply = await store.call(
        "pay", view.name, *entry_args(admission), order, request.hold, mark, method, LEASE_MS, currency
    )
    failpoint.reached("pay.recorded")
    if reply[0] == b"same":
        return await read_order(store, view, admission.place, order), True
    if reply[0] not in (b"new", b"again"):
        raise _refused(reply)
    _, placed_ms, seats = reply
    event = _event(view, order, admission.place.hex(), int(request.hold), seats, method, placed_ms)
    state = await _publish(store, event_log, view.name, event, traceparent)
    placed_at = rfc3339(placed_ms)
    answer = Order(order, state, event.names, event.amount_minor, currency, placed_at)
    return answer, reply[0] == b"again"


def _event(
    view: View, order: str, buyer: str, hold: int, seats: list[int], method: str, placed_ms: int
) -> events.OrderPlaced:
    return events.OrderPlaced(
        order=order,
        sale=view.name,
        sale_uid=view.uid.hex(),
        buyer=buyer,
        hold=hold,
        fence=hold,
        seats=seats,
        names=[view.seating.name(seat) for seat in seats],
        amount_minor=price(view, seats),
        currency=view.spec.currency,
        method=method,
        placed_ms=placed_ms,
    )


async def _publish(
    store: Store, event_log: EventLog, sale: str, event: events.OrderPlaced, traceparent: bytes = b""
) -> str:
    """`accepted` once the log has it; `pending` when only Redis has it, as safe as Redis can make it."""
    try:
        with tracing.step("publish", "producer"):
            headers = events.headers(tracing.outgoing(traceparent))
            position = await event_log.publish(bytes.fromhex(event.order), events.encode(event), headers)
    except LogUnavailable:
        await _make_safe(store, sale)
        await store.call("unpublished", sale, event.order)
        return "pending"
    failpoint.reached("pay.published")
    try:
        reply = await store.call("published", sale, event.order, position.partition, position.offset)
    except Unavailable:
        return "accepted"  # it is in the log; the relay may publish it twice, which ends at the order's id
    failpoint.reached("pay.marked")
    return "accepted" if reply[0] != b"ok" else reply[1].decode()


async def _make_safe(store: Store, sale: str) -> None:
    """Raises Unavailable when Redis cannot say that the order is on a replica or on disk."""
    try:
        async with asyncio.timeout(2.0):
            safe = await store.flushed(sale)
    except (BoxofficeError, RedisError, OSError, TimeoutError):
        safe = False
    if not safe:
        raise Unavailable("your payment could not be recorded safely; send it again with the same key")


def _refused(reply: list[Any]) -> BoxofficeError:
    if error := refused_entry(reply[0]):
        return error
    match reply[0]:
        case b"busy":
            wait = max(1, -(-reply[1] // 1000))
            return Conflict("this very payment is being sent", code="publishing", retry_after=wait)
        case b"mismatch":
            return Unprocessable("this Idempotency-Key was used for another payment", code="idempotency_mismatch")
        case b"gone":
            return Conflict("this hold has run out, or is not yours", code="hold_gone")
        case b"limited":
            return TooMany("too many payments in a short time", retry_after=max(1, -(-reply[1] // 1000)))
    raise AssertionError(reply[0])


_FIELDS = ("state", "place", "seats", "currency", "placed_ms", "reason", "hold", "hold_until_ms")


async def read_order(store: Store, view: View, place: bytes, order: str) -> Order:
    """The buyer's own order. Raises NotFound for anybody else's."""
    flat = await store.execute("HMGET", store.key(view.name, f"order:{order}"), *_FIELDS)
    fields = dict(zip(_FIELDS, flat, strict=True))
    if fields["state"] is None or fields["place"] != place:
        raise NotFound("you have no such order", code="unknown_order")
    return _order(view, order, fields)


async def list_orders(store: Store, view: View, place: bytes) -> list[Order]:
    ids = await store.execute("LRANGE", store.key_bytes(view.name, b"orders:" + place), 0, 99)
    return list(await asyncio.gather(*(read_order(store, view, place, i.decode()) for i in ids)))


def _order(view: View, order: str, fields: dict[str, bytes]) -> Order:
    seats = [int(seat) for seat in fields["seats"].split(b",")]
    state = fields["state"].decode()
    until_ms = int(fields["hold_until_ms"] or 0)
    again = state == "declined" and until_ms > view.now_ms()
    return Order(
        order,
        state,
        [view.seating.name(seat) for seat in seats],
        price(view, seats),
        fields["currency"].decode(),
        rfc3339(int(fields["placed_ms"])),
        (fields["reason"] or b"").decode() or None,
        fields["hold"].decode() if again else None,
        rfc3339(until_ms) if again else None,
    )


class Relay:
    """Publishes what a pod recorded and did not live to publish. One in every pod; leases keep them apart."""

    def __init__(self, store: Store, event_log: EventLog, board: Board) -> None:
        self._store, self._log, self._board = store, event_log, board

    async def run(self) -> None:
        while True:
            for view in [v for v in self._board.views.values() if v.ready]:
                try:
                    await self._sweep(view)
                except BoxofficeError as error:
                    log.debug("relay of %s: %s", view.name, error)
                except Exception:
                    log.exception("relay of %s", view.name)
            await asyncio.sleep(RELAY_SECONDS)

    async def _sweep(self, view: View) -> None:
        flat = (await self._store.call("relay", view.name, RELAY_BATCH, LEASE_MS))[1]
        for i in range(0, len(flat), 7):
            order, placed_ms, place, hold, seats, method, _ = flat[i : i + 7]
            indices = [int(seat) for seat in seats.split(b",")]
            event = _event(view, order.decode(), place.hex(), int(hold), indices, method.decode(), int(placed_ms))
            await _publish(self._store, self._log, view.name, event)
