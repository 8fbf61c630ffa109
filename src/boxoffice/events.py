"""What stands in the event log: one record an order, keyed by the order's id; and what third parties are told.

Two versions write and read here side by side while pods are replaced: docs/upgrade.md says what may change when.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from boxoffice.eventlog import Headers
from boxoffice.tracing import well_formed

VERSION = 1
"""Of a record in the log: rises with every field that comes, goes or is filled otherwise."""
NEEDS = 1
"""The version of the oldest reader that does not misread what is written now."""
NOTICE_VERSION = 1
SCHEMA_HEADER = "schema-version"
TRACE_HEADER = "traceparent"


class Malformed(Exception):
    """A record that cannot be an order; the reason goes with it to the dead letters."""


class OrderPlaced(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A buyer wants to pay these held seats. Amounts in minor units, times in Unix milliseconds."""

    order: str
    """32 hex digits: the order's id, the event's id and the charge's id in one."""
    sale: str
    sale_uid: str
    buyer: str
    """32 hex digits: the buyer's place, a keyed hash of the identity."""
    hold: int
    fence: int
    seats: list[int]
    """Indices in the sale's seating."""
    names: list[str]
    amount_minor: int
    currency: str
    method: str
    placed_ms: int
    v: int = VERSION
    needs: int = NEEDS


Id = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order, for third parties: docs/order-events.md. Nothing in it tells who the buyer is."""

    order: Annotated[Id, Meta(description="The order, and the charge at the payment gateway.")]
    sale: Annotated[str, Meta(description="The name of the ConcertSale.")]
    sale_uid: Annotated[Id, Meta(description="The sale itself: another one under the same name has another.")]
    state: Annotated[
        Literal["paid", "declined", "refused", "refunded"],
        Meta(description="refused: the seats were sold to someone else, nothing is charged."),
    ]
    reason: Annotated[str, Meta(description="Why it is not paid, in words; empty when it is.")]
    seats: Annotated[list[str], Meta(description="The names of the seats, as on the tickets.")]
    amount_minor: Annotated[int, Meta(description="In minor units of the currency (cents; won).", ge=0)]
    currency: Annotated[str, Meta(description="ISO 4217.")]
    at_ms: Annotated[int, Meta(description="When this was decided, Unix milliseconds.", ge=0)]
    v: Annotated[int, Meta(description="Raised when an older reader would misread it; fields may be added.")] = (
        NOTICE_VERSION
    )


_decoder = msgspec.json.Decoder(OrderPlaced)
_is_id = re.compile(r"[0-9a-f]{32}").fullmatch
_untraced: Headers = ((SCHEMA_HEADER, b"%d" % VERSION),)


def encode(event: OrderPlaced) -> bytes:
    return msgspec.json.encode(event)


def headers(traceparent: bytes = b"") -> Headers:
    """What goes beside a record; the W3C trace context of the request only when it is well formed."""
    return (*_untraced, (TRACE_HEADER, traceparent)) if well_formed(traceparent) else _untraced


def notice(event: OrderEvent) -> tuple[bytes, bytes]:
    """Key and value on the topic of order events."""
    return event.order.encode(), msgspec.json.encode(event)


def decode(value: bytes) -> OrderPlaced:
    """Raises Malformed with a reason a person can act on."""
    try:
        event = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None
    if event.needs > VERSION:
        raise Malformed(f"schema version {event.v} needs a reader of {event.needs}, this one knows {VERSION}")
    if not (_is_id(event.order) and _is_id(event.sale_uid) and _is_id(event.buyer)):
        raise Malformed("order, sale_uid and buyer must be 32 hex digits")
    if not event.seats or len(event.seats) != len(event.names) or len(set(event.seats)) != len(event.seats):
        raise Malformed("seats must be given, once each, with a name each")
    if event.amount_minor < 0 or min(event.seats) < 0:
        raise Malformed("amount_minor and seats must not be negative")
    return event
