"""What stands in the event log: one record an order, keyed by the order's id.

Additive changes keep `v`; a change that an older reader would misread raises it.
"""

from __future__ import annotations

import re

import msgspec

VERSION = 1


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


_decoder = msgspec.json.Decoder(OrderPlaced)
_is_id = re.compile(r"[0-9a-f]{32}").fullmatch


def encode(event: OrderPlaced) -> bytes:
    return msgspec.json.encode(event)


def decode(value: bytes) -> OrderPlaced:
    """Raises Malformed with a reason a person can act on."""
    try:
        event = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None
    if event.v != VERSION:
        raise Malformed(f"schema version {event.v}, this reader knows {VERSION}")
    if not (_is_id(event.order) and _is_id(event.sale_uid) and _is_id(event.buyer)):
        raise Malformed("order, sale_uid and buyer must be 32 hex digits")
    if not event.seats or len(event.seats) != len(event.names) or len(set(event.seats)) != len(event.seats):
        raise Malformed("seats must be given, once each, with a name each")
    if event.amount_minor < 0 or min(event.seats) < 0:
        raise Malformed("amount_minor and seats must not be negative")
    return event
