"""The buyers' API as an OpenAPI 3.1 document, served at `/openapi.json`."""

from __future__ import annotations

from typing import Any

from boxoffice.examples import EVENTS, EXAMPLES, PARAMETERS, REQUESTS
from boxoffice.polling import PREFIX
from boxoffice.problems import RETRY_AFTER, refusals
from boxoffice.schemas import SCHEMAS, TEXT, Schema, ref

Operation = dict[str, Any]

_SALE = PREFIX + "{sale}"
_TOKEN = ("token_required", "bad_token", "cookie_required")
_SALE_CODES = ("unknown_sale", "ledger_unavailable")
_STORE = (*_SALE_CODES, "store_unavailable", "recovering")
_CHANGE = ("foreign_origin", *_STORE)
_BODY = ("bad_input", "body_too_large", "not_json")
_INSIDE = ("not_admitted", "superseded", "too_many_requests")


def _header(schema: Schema, description: str, *, always: bool = True) -> Schema:
    return {"description": description, "required": always, "schema": schema}


_SHARED = {
    "ETag": _header(TEXT, "Send it back in If-None-Match."),
    "Cache-Control": _header({"const": "public, max-age=1"}, "The same bytes for everybody."),
}
_LIMITS = {
    "RateLimit-Policy": _header(TEXT, 'Such as "hold";q=30;w=30'),
    "RateLimit": _header(TEXT, 'What is left of it, such as "hold";r=29'),
}


def _path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_PARAMETERS = {
    "sale": _path("sale", {"type": "string", "minLength": 1, "maxLength": 53, "examples": ["tide-seoul"]}),
    "hold": _path("hold", {"type": "string", "minLength": 1, "maxLength": 20, "examples": ["17"]}),
    "order": _path("order", {"type": "string", "minLength": 1, "maxLength": 64}),
    "match": {"name": "If-None-Match", "in": "header", "schema": TEXT},
    "key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "One for each payment you intend; the same again for every repeat of it.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}


def _answer(description: str, schema: str, headers: Schema | None = None) -> Schema:
    content = {"application/json": {"schema": ref(schema), "example": EXAMPLES[schema]}}
    answer: Schema = {"description": description, "content": content}
    return answer | {"headers": headers} if headers else answer


def _needs(token: str) -> Operation:
    return {"security": [{"visitor": [], token: []}]}


def _body(name: str, *, required: bool = True) -> Operation:
    examples = {title: {"value": value} for title, value in REQUESTS[name].items()}
    content = {"application/json": {"schema": ref(name), "examples": examples}}
    return {"requestBody": {"required": required, "content": content}}


def _operation(name: str, summary: str, answers: Schema, codes: tuple[str, ...] = (), **more: Any) -> Operation:
    return {"operationId": name, "summary": summary, **more, "responses": answers | refusals(*codes)}


def _with(*parameters: str) -> list[Schema]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in parameters]


_EVENTS = {
    "description": "Events named `order`; the data is the order",
    "content": {"text/event-stream": {"example": EVENTS}},
}
_NEXT = RETRY_AFTER | {"description": "Seconds until the next poll."}


def _joining() -> Operation:
    cookie = _header(TEXT, "The visitor cookie, when there was none.", always=False)
    headers = {"Retry-After": _NEXT, "Set-Cookie": cookie, **_LIMITS}
    codes = ("bad_account", "proof_required", "over", "joining_closed", "too_early", "line_full")
    return _operation(
        "join",
        "Enter the line, or find the place already held",
        {
            "200": _answer("The place already held", "Place", headers),
            "201": _answer("A new place", "Place", headers),
        },
        (*codes, "token_required", "too_many_requests", *_BODY, *_CHANGE),
        security=[{}, {"visitor": []}, {"account": []}, {"visitor": [], "account": []}],
        **_body("JoinRequest", required=False),
    )


def _me() -> Operation:
    codes = ("not_newest", "lapsed", "too_many_requests", *_TOKEN, *_STORE)
    answers = {"200": _answer("Where the place stands", "Whereabouts", {"Retry-After": _NEXT})}
    return _operation("whereabouts", "Where am I in the line?", answers, codes, **_needs("ticket"))


def _leaving() -> Operation:
    either: list[Schema] = [{"visitor": [], "ticket": []}, {"visitor": [], "admission": []}]
    answers = {"204": {"description": "Left; seats that were held are free"}}
    return _operation("leave", "Leave line and hall", answers, ("over", *_TOKEN, *_CHANGE), security=either)


def _claiming() -> Operation:
    codes = ("ticket_stale", "not_called", "crowded", "lapsed", "over", *_TOKEN, *_CHANGE)
    answers = {"201": _answer("Admitted", "Admission")}
    return _operation("claim", "Swap a called ticket for an admission", answers, codes, **_needs("ticket"))


def _holding() -> Operation:
    codes = ("unknown_seat", "seats_taken", "not_enough_seats", "over", "unprocessable", "over_cap")
    return _operation(
        "hold",
        "Take seats by name, or the best there are; all or none",
        {"201": _answer("Held", "Hold", _LIMITS)},
        (*codes, *_INSIDE, *_BODY, *_TOKEN, *_CHANGE),
        **_body("HoldRequest"),
        **_needs("admission"),
    )


def _releasing() -> Operation:
    answers = {"204": {"description": "Given back"}}
    return _operation(
        "release", "Give a hold back", answers, ("no_such_hold", "over", *_TOKEN, *_CHANGE), **_needs("admission")
    )


def _paying() -> Operation:
    codes = ("idempotency_key_required", "hold_gone", "publishing", "idempotency_mismatch", "unavailable", "over")
    headers = {
        "Location": _header(TEXT, "The order's address."),
        "Idempotent-Replayed": _header({"const": "true"}, "On a repeat.", always=False),
    }
    return _operation(
        "order",
        "Pay a hold",
        {"202": _answer("Taken; whether it is paid is told at its address", "Order", headers)},
        (*codes, *_INSIDE, *_BODY, *_TOKEN, *_CHANGE),
        parameters=_with("key"),
        **_body("OrderRequest"),
        **_needs("admission"),
    )


def _order_reading(name: str, summary: str, answer: Schema, *codes: str) -> Operation:
    return _operation(name, summary, {"200": answer}, (*codes, "no_ledger", *_TOKEN, *_STORE), **_needs("admission"))


def _public(name: str, summary: str, schema: str, *codes: str) -> Operation:
    return _operation(name, summary, {"200": _answer("OK", schema)}, codes)


def _cached(name: str, summary: str, schema: str, *codes: str) -> Operation:
    answers = {"200": _answer("OK", schema, _SHARED), "304": {"description": "Not modified", "headers": _SHARED}}
    return _operation(name, summary, answers, (*codes, *_SALE_CODES), parameters=_with("match"))


def _at(*parameters: str, **operations: Operation) -> Operation:
    return {"parameters": _with("sale", *parameters), **operations}


def _paths() -> Schema:
    orders = _order_reading("orders", "The buyer's own orders", _answer("OK", "OrderList"))
    order = _order_reading("orderState", "One order", _answer("OK", "Order"), "unknown_order")
    events = _order_reading("orderEvents", "An order as it changes", _EVENTS, "unknown_order", "too_many_streams")
    return {
        PREFIX.rstrip("/"): {"get": _public("sales", "All sales", "SaleList")},
        _SALE: _at(get=_public("sale", "One sale", "SaleDetail", *_SALE_CODES)),
        f"{_SALE}/challenge": _at(get=_public("challenge", "Proof of work", "Challenge", *_SALE_CODES)),
        f"{_SALE}/places": _at(post=_joining()),
        f"{_SALE}/line": _at(get=_cached("line", "The line, as everybody sees it", "Line")),
        f"{_SALE}/places/me": _at(get=_me(), delete=_leaving()),
        f"{_SALE}/admissions": _at(post=_claiming()),
        f"{_SALE}/seats": _at(get=_cached("seats", "The seat map", "SeatMap", "over")),
        f"{_SALE}/holds": _at(post=_holding()),
        f"{_SALE}/holds/{{hold}}": _at("hold", delete=_releasing()),
        f"{_SALE}/orders": _at(get=orders, post=_paying()),
        f"{_SALE}/orders/{{order}}": _at("order", get=order),
        f"{_SALE}/orders/{{order}}/events": _at("order", get=events),
    }


def _bearer(description: str, form: str) -> Schema:
    return {"type": "http", "scheme": "bearer", "bearerFormat": form, "description": description}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Boxoffice",
        "version": "1.0.0",
        "description": "Enter, wait, admit, hold, pay. Members may be added within v1, never taken away.",
    },
    "servers": [{"url": "/"}],
    "paths": _paths(),
    "components": {
        "schemas": SCHEMAS,
        "parameters": {name: each | {"example": PARAMETERS[name]} for name, each in _PARAMETERS.items()},
        "securitySchemes": {
            "visitor": {
                "type": "apiKey",
                "in": "cookie",
                "name": "__Host-visitor",
                "description": "Set by the first join; tokens are bound to it.",
            },
            "ticket": _bearer("The newest ticket of the place.", "ticket"),
            "admission": _bearer("The admission that the ticket was swapped for.", "admission"),
            "account": _bearer("For sales of one place an account: the shop's OIDC token.", "JWT"),
        },
    },
}
