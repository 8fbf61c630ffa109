"""What the API takes and answers, as JSON Schema. Strict types come from the structs that read the requests."""

from __future__ import annotations

from typing import Any

import msgspec

from boxoffice.api import JoinRequest
from boxoffice.holds import HoldRequest
from boxoffice.payments import Order, OrderRequest

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"


def record(properties: Schema, optional: Schema | None = None) -> Schema:
    """An object; readers must let members pass that they do not know."""
    return {"type": "object", "required": list(properties), "properties": properties | (optional or {})}


def said(schema: Schema, description: str) -> Schema:
    return schema | {"description": description}


def choice(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def listing(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}


SALE_STATES = choice("scheduled", "prequeue", "open", "allTaken", "hold", "drain", "soldOut", "closed", "recovering")
PLACE_STATES = choice("prequeue", "waiting", "called", "lapsed", "over", "soldOut")
ORDER_STATES = choice("accepted", "pending", "paid", "declined", "refused", "unresolved", "refunded")

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
MONEY = said(COUNT, "In minor units of the currency.")
CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["KRW"]}
SEATS = listing({"type": "string", "examples": ["stalls/3/12", "floor/0017"]})
ORDER_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
HOLD_ID: Schema = {"type": "string", "pattern": "^[0-9]{1,16}$", "examples": ["17"]}
TOKEN: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": 400}

_SALE = {
    "name": TEXT,
    "concert": TEXT,
    "title": TEXT,
    "venue": TEXT,
    "timeZone": said(TEXT, "IANA name."),
    "currency": CURRENCY,
    "preQueueTime": TIME,
    "opensTime": TIME,
    "closesTime": TIME,
    "state": SALE_STATES,
    "total": COUNT,
    "free": COUNT,
    "sold": COUNT,
    "fromPriceMinor": MONEY,
}

_SALE_RULES = {
    "maxSeatsPerBuyer": POSITIVE,
    "holdSeconds": POSITIVE,
    "claimSeconds": POSITIVE,
    "sessionSeconds": POSITIVE,
    "proofOfWork": choice("Off", "Always"),
    "serverTime": said(TIME, "The clock that decides."),
}

_CHALLENGE = {
    "algorithm": choice("SHA-256"),
    "challenge": TEXT,
    "salt": TEXT,
    "signature": TEXT,
    "maxnumber": POSITIVE,
}

_ETA = record({"p50": COUNT, "p90": COUNT})

_WHEREABOUTS = {
    "state": PLACE_STATES,
    "number": POSITIVE,
    "ahead": said(COUNT, "About how many live places are before this one."),
    "etaSeconds": {"anyOf": [_ETA, {"type": "null"}], "description": "Half wait less than p50, nine in ten p90."},
    "pollAfterSeconds": POSITIVE,
}

_LINE = {
    "version": said(COUNT, "Ignore a document with a lower version than the last one."),
    "state": SALE_STATES,
    "epoch": COUNT,
    "issued": COUNT,
    "called": COUNT,
    "lapsed": said(COUNT, "Numbers at or below it are over."),
    "waiting": COUNT,
    "free": COUNT,
    "pacePerMinute": COUNT,
    "poll": record({"minSeconds": POSITIVE, "maxSeconds": POSITIVE}),
}

_ADMISSION = {
    "admission": TOKEN,
    "number": POSITIVE,
    "calledAtMs": said(COUNT, "Unix ms; 0 when this place was admitted before."),
    "expiresAt": TIME,
    "expiresInSeconds": COUNT,
}

_SECTION = {
    "name": TEXT,
    "kind": choice("rows", "general"),
    "rows": COUNT,
    "seatsPerRow": COUNT,
    "capacity": POSITIVE,
    "first": said(COUNT, "Index of its first seat in the map."),
    "size": POSITIVE,
    "free": COUNT,
    "priceMinor": MONEY,
}

_SEAT_MAP = {
    "sale": TEXT,
    "version": COUNT,
    "currency": CURRENCY,
    "total": COUNT,
    "free": COUNT,
    "held": COUNT,
    "sold": COUNT,
    "sections": listing(record(_SECTION)),
    "map": {
        "type": "string",
        "contentEncoding": "base64",
        "description": "Two bits a seat: seat i in byte i//4, bits (6-2*(i%4)); 0 free 1 held 2 paying 3 sold.",
    },
}

_HOLD = {
    "id": HOLD_ID,
    "fence": said(POSITIVE, "A number that only rises."),
    "seats": SEATS,
    "amountMinor": MONEY,
    "currency": CURRENCY,
    "expiresAt": TIME,
    "expiresInSeconds": COUNT,
}

_PROBLEM = {
    "type": {"type": "string", "format": "uri"},
    "title": TEXT,
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "code": said(TEXT, "Stable; decide by it, not by the text."),
    "detail": TEXT,
}

_PROBLEM_EXTRAS = {
    "seats": said(SEATS, "seats_taken: those that are gone."),
    "opensTime": said(TIME, "too_early"),
    "preQueueTime": said(TIME, "too_early"),
    "challenge": said(ref("Challenge"), "proof_required: a fresh one."),
    "maxSeats": said(COUNT, "over_cap"),
    "have": said(COUNT, "over_cap: seats that the buyer has already."),
}


def _of_structs() -> Schema:
    _, schemas = msgspec.json.schema_components((JoinRequest, HoldRequest, OrderRequest, Order), ref_template=REF)
    order = schemas["Order"]["properties"]
    order |= {
        "id": ORDER_ID,
        "state": ORDER_STATES,
        "seats": SEATS,
        "amountMinor": MONEY,
        "currency": CURRENCY,
        "placedAt": TIME,
        "hold": said(HOLD_ID, "After a decline: the hold that can be paid again, under a new Idempotency-Key."),
        "holdExpiresAt": TIME,
    }
    return schemas


SCHEMAS: Schema = {
    **_of_structs(),
    "Problem": record(_PROBLEM, _PROBLEM_EXTRAS),
    "Sale": record(_SALE),
    "SaleDetail": record(_SALE | _SALE_RULES),
    "SaleList": record({"sales": listing(ref("Sale"))}),
    "Challenge": record(_CHALLENGE),
    "Place": record(
        _WHEREABOUTS | {"ticket": said(TOKEN, "Keep it, and send it as the bearer token.")},
    ),
    "Whereabouts": record(_WHEREABOUTS, {"ticket": said(TOKEN, "A new one for the old; keep the newest.")}),
    "Line": record(_LINE),
    "Admission": record(_ADMISSION),
    "SeatMap": record(_SEAT_MAP),
    "Hold": record(_HOLD),
    "OrderList": record({"orders": listing(ref("Order"))}),
}
