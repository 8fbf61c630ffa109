"""What goes over the wire in one sale: the examples of the OpenAPI document, by the schema that each is of."""

from __future__ import annotations

from typing import Any

import msgspec

_TOKEN = "AVQCazEQZ3Jh4m0Q-hold-on-to-it_8Zt0kM5ZqzN7w"
_ORDER_ID = "5f0d8c6f1f5e4f0e9b1f6c1a2d3e4b5c"

_SALE = {
    "name": "tide-seoul",
    "concert": "tide",
    "title": "Tide: A Night by the Sea",
    "venue": "Olympic Hall, Seoul",
    "timeZone": "Asia/Seoul",
    "currency": "KRW",
    "preQueueTime": "2027-03-01T10:30:00Z",
    "opensTime": "2027-03-01T11:00:00Z",
    "closesTime": "2027-03-02T11:00:00Z",
    "state": "open",
    "total": 2400,
    "free": 1807,
    "sold": 411,
    "fromPriceMinor": 88000,
}
_WHEREABOUTS = {
    "state": "waiting",
    "number": 4711,
    "ahead": 1204,
    "etaSeconds": {"p50": 310, "p90": 420},
    "pollAfterSeconds": 20,
}
_ORDER = {
    "id": _ORDER_ID,
    "state": "accepted",
    "seats": ["stalls/3/12", "stalls/3/13"],
    "amountMinor": 242000,
    "currency": "KRW",
    "placedAt": "2027-03-01T11:07:41.118Z",
}
_PAID = _ORDER | {"state": "paid"}
_CHALLENGE = {
    "algorithm": "SHA-256",
    "challenge": "3b6f0d6a1f0f0d4d7c8b0d1c5a9a8f7e6d5c4b3a29181706f5e4d3c2b1a09f8e",
    "salt": "a1b2c3d4e5f60718?expires=1803900000",
    "signature": "7d1c0b9a8f7e6d5c4b3a29181706f5e4d3c2b1a09f8e3b6f0d6a1f0f0d4d7c8b",
    "maxnumber": 50000,
}

EXAMPLES: dict[str, Any] = {
    "SaleList": {"sales": [_SALE]},
    "SaleDetail": _SALE
    | {"maxSeatsPerBuyer": 4, "holdSeconds": 300, "claimSeconds": 90, "sessionSeconds": 600, "proofOfWork": "Off"}
    | {"serverTime": "2027-03-01T11:04:12.902Z"},
    "Challenge": _CHALLENGE,
    "Place": _WHEREABOUTS | {"ticket": _TOKEN},
    "Whereabouts": _WHEREABOUTS | {"state": "called", "ahead": 0, "etaSeconds": None, "pollAfterSeconds": 2},
    "Line": {
        "version": 20817,
        "state": "open",
        "epoch": 1,
        "issued": 9120,
        "called": 3507,
        "lapsed": 3301,
        "waiting": 5402,
        "free": 1807,
        "pacePerMinute": 230,
        "poll": {"minSeconds": 2, "maxSeconds": 30},
    },
    "Admission": {
        "admission": _TOKEN,
        "number": 4711,
        "calledAtMs": 1803898021447,
        "expiresAt": "2027-03-01T11:17:03Z",
        "expiresInSeconds": 600,
    },
    "SeatMap": {
        "sale": "tide-seoul",
        "version": 931,
        "currency": "KRW",
        "total": 12,
        "free": 9,
        "held": 1,
        "sold": 1,
        "sections": [
            {
                "name": "stalls",
                "kind": "rows",
                "rows": 2,
                "seatsPerRow": 6,
                "capacity": 12,
                "first": 0,
                "size": 12,
                "free": 9,
                "priceMinor": 121000,
            }
        ],
        "map": "BwAg",
    },
    "Hold": {
        "id": "17",
        "fence": 17,
        "seats": ["stalls/3/12", "stalls/3/13"],
        "amountMinor": 242000,
        "currency": "KRW",
        "expiresAt": "2027-03-01T11:12:03Z",
        "expiresInSeconds": 300,
    },
    "Order": _ORDER,
    "OrderList": {"orders": [_PAID]},
}
"""One answer each."""

REQUESTS: dict[str, dict[str, Any]] = {
    "JoinRequest": {"no proof of work": {}, "with proof of work": {"proof": "eyJhbGdvcml0aG0iOiJTSEEtMjU2In0"}},
    "HoldRequest": {
        "seats by name": {"seats": ["stalls/3/12", "stalls/3/13"]},
        "the best there are": {"section": "stalls", "count": 2, "together": True},
    },
    "OrderRequest": {"a card": {"hold": "17", "paymentMethod": "pm_card_visa"}},
}

PARAMETERS = {
    "sale": "tide-seoul",
    "hold": "17",
    "order": _ORDER_ID,
    "match": '"20817"',
    "key": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}

EVENTS = "".join(f"event: order\ndata: {msgspec.json.encode(order).decode()}\n\n" for order in (_ORDER, _PAID))
