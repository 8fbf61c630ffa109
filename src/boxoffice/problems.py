"""The refusals of the API, by code, as OpenAPI responses: one for each status, one example for each code."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from boxoffice.errors import PROBLEM_TYPE
from boxoffice.schemas import POSITIVE, TEXT, ref

CODES: dict[str, tuple[int, str]] = {
    "bad_input": (400, "the body is not as expected: Object contains unknown field `colour`"),
    "idempotency_key_required": (400, "send an Idempotency-Key of 1 to 255 characters"),
    "token_required": (401, "send `Authorization: Bearer <token>`"),
    "bad_token": (401, "this token was not issued here, or not for this; join the line again"),
    "bad_account": (401, "the account token is not valid; sign in again"),
    "cookie_required": (401, "send the visitor cookie that came with the ticket"),
    "ticket_stale": (401, "this ticket is old; poll for a new one first"),
    "foreign_origin": (403, "this request comes from another site"),
    "proof_required": (403, "solve the challenge first"),
    "not_admitted": (403, "your turn is over, or was never yours; join the line"),
    "superseded": (403, "you continued in another window; this one is closed"),
    "unknown_sale": (404, "there is no sale named 'night'"),
    "unknown_seat": (404, "there is no seat 'stalls/99/1' here"),
    "unknown_order": (404, "you have no such order"),
    "no_such_hold": (404, "you have no such hold"),
    "seats_taken": (409, "already taken: stalls/3/12"),
    "not_enough_seats": (409, "there are not that many seats free (side by side)"),
    "hold_gone": (409, "this hold has run out, or is not yours"),
    "publishing": (409, "this very payment is being sent"),
    "not_newest": (409, "this ticket is not the newest of its place; join again"),
    "over": (410, "this sale is over"),
    "joining_closed": (410, "nobody may join this line any more"),
    "lapsed": (410, "this place has lapsed; join again"),
    "body_too_large": (413, "a body may have 4096 bytes at most"),
    "not_json": (415, "send `Content-Type: application/json`"),
    "unprocessable": (422, "give seats, or a count from 1 to 10"),
    "over_cap": (422, "a buyer may have 4 seats; you have 4"),
    "idempotency_mismatch": (422, "this Idempotency-Key was used for another payment"),
    "too_early": (425, "the line is not open yet"),
    "not_called": (425, "your number has not been called yet"),
    "crowded": (425, "you are called, but the hall is full this second"),
    "too_many_requests": (429, "you poll faster than you were told"),
    "line_full": (503, "the line is full; try again later"),
    "too_many_streams": (503, "too many streams are open; poll the order instead"),
    "store_unavailable": (503, "Redis is out of reach"),
    "recovering": (503, "the sale is being restored after a fault; nothing was changed"),
    "ledger_unavailable": (503, "whether there was such a sale cannot be looked up now"),
    "no_ledger": (503, "this sale is over and its orders are in the ledger, which this pod was not given to read"),
    "unavailable": (503, "your payment could not be recorded safely; send it again with the same key"),
}
SPELLED = {"no_such_hold": "hold_gone", "not_newest": "ticket_stale"}
"""Codes that come with two statuses; here under a name of their own."""

RETRY_AFTER = {"description": "Seconds until it makes sense to try again.", "required": True, "schema": POSITIVE}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": TEXT}},
    **{status: {"Retry-After": RETRY_AFTER} for status in (425, 429, 503)},
}


def refusals(*codes: str) -> dict[str, Any]:
    """The responses of one operation that refuse, by status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code][0], []).append(code)
    return {str(status): _response(status, by_status[status]) for status in sorted(by_status)}


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    examples = {SPELLED.get(code, code): {"value": _example(code)} for code in codes}
    response: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(examples)}",
        "content": {"application/problem+json": {"schema": ref("Problem"), "examples": examples}},
    }
    headers = _HEADERS.get(status, {})
    if "publishing" in codes:
        headers = {"Retry-After": RETRY_AFTER | {"required": False}}
    return response | ({"headers": headers} if headers else {})


def _example(name: str) -> dict[str, Any]:
    status, detail = CODES[name]
    code = SPELLED.get(name, name)
    title = HTTPStatus(status).phrase
    return {"type": PROBLEM_TYPE + code, "title": title, "status": status, "code": code, "detail": detail}
