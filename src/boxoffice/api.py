"""The buyers' API, `/api/v1`: enter, wait, admit, hold, pay. (The two polls of the crowd are in polling.py.)"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from boxoffice import admission, holds, identity, line, payments, tokens
from boxoffice.context import Context
from boxoffice.errors import BadInput, Unauthorized, Unavailable
from boxoffice.polling import PREFIX, get_line, get_whereabouts
from boxoffice.snapshot import View
from boxoffice.tokens import Admission, Ticket
from boxoffice.wire import NO_STORE, Json, bearer, check_origin, header, read_json

COOKIE_SECONDS = 14 * 86400
MAX_STREAMS = 2000
STREAM_SECONDS = 60.0


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    proof: Annotated[str, msgspec.Meta(max_length=2048)] | None = None


def _context(request: Request) -> Context:
    return request.app.state.context  # type: ignore[no-any-return]


def _view(request: Request) -> View:
    return _context(request).board.view(request.path_params["sale"])


def _binding(ctx: Context, request: Request) -> bytes:
    visitor = identity.visitor_of(header(request.scope, b"cookie"), ctx.cookie)
    if visitor is None:
        raise Unauthorized("send the visitor cookie that came with the ticket", code="cookie_required")
    return tokens.binding(visitor)


def _ticket(ctx: Context, view: View, request: Request) -> Ticket:
    ticket = ctx.keys.read_ticket(bearer(request.scope))
    line.check_ticket(view, ticket, _binding(ctx, request))
    return ticket


def _admission(ctx: Context, view: View, request: Request) -> Admission:
    admitted = ctx.keys.read_admission(bearer(request.scope))
    admission.check_admission(view, admitted, _binding(ctx, request))
    return admitted


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _summary(view: View) -> dict[str, Any]:
    spec = view.spec
    return {
        "name": view.name,
        "concert": spec.concert,
        "title": spec.title,
        "venue": spec.venue,
        "timeZone": spec.time_zone,
        "currency": spec.currency,
        "preQueueTime": spec.pre_queue_time or spec.opens_time,
        "opensTime": spec.opens_time,
        "closesTime": spec.closes_time,
        "state": "recovering" if view.recovering else view.state,
        "total": view.total,
        "free": view.free,
        "sold": view.sold,
        "fromPriceMinor": min(s.price_minor for s in view.seating.sections),
    }


async def list_sales(request: Request) -> Response:
    views = sorted((v for v in _context(request).board.views.values() if v.ready), key=lambda v: v.name)
    return Json({"sales": [_summary(view) for view in views]}, headers={"cache-control": "public, max-age=1"})


async def get_sale(request: Request) -> Response:
    view = _view(request)
    spec = view.spec
    more = {
        "maxSeatsPerBuyer": spec.hold.max_seats_per_buyer,
        "holdSeconds": spec.hold.seconds,
        "claimSeconds": spec.line.claim_seconds,
        "sessionSeconds": spec.admission.session_seconds,
        "proofOfWork": spec.abuse.proof_of_work,
        "serverTime": _rfc3339(view.now_ms()),
    }
    return Json(_summary(view) | more, headers=NO_STORE)


async def get_challenge(request: Request) -> Response:
    return Json(_context(request).proofs.challenge(_view(request).uid), headers=NO_STORE)


async def join(request: Request) -> Response:
    check_origin(request.scope)
    ctx, view = _context(request), _view(request)
    body = await read_json(request, JoinRequest, empty=b"{}")
    visitor = identity.visitor_of(header(request.scope, b"cookie"), ctx.cookie)
    new_visitor = identity.new_visitor() if visitor is None else None
    who = visitor or new_visitor or ""
    place = _place(ctx, view, request, who)
    proof = ctx.proofs.check(view.uid, body.proof) if view.spec.abuse.proof_of_work == "Always" else ""
    client = request.scope["client"]
    forwarded = header(request.scope, b"x-forwarded-for").decode("latin-1")
    address = ctx.address_of(client[0] if client else "", forwarded)
    ticket, created, left = await line.join(ctx.store, view, ctx.keys, place, address, proof, tokens.binding(who))
    where = line.whereabouts(view, ticket.number)
    limit = view.spec.abuse.joins_per_minute_per_address
    headers = NO_STORE | {
        "retry-after": str(where.poll),
        "ratelimit-policy": f'"join";q={limit};w=60',
        "ratelimit": f'"join";r={left}',
    }
    if new_visitor is not None:
        headers["set-cookie"] = _cookie(ctx, new_visitor)
    return Json(where.json(ticket.number, ctx.keys.ticket(ticket)), 201 if created else 200, headers)


def _place(ctx: Context, view: View, request: Request, visitor: str) -> bytes:
    if view.spec.line.one_per == "Visitor":
        return ctx.places.place(view.uid, b"visitor", visitor)
    account = ctx.accounts.account(bearer(request.scope))
    return ctx.places.place(view.uid, b"account", account)


def _cookie(ctx: Context, visitor: str) -> str:
    secure = "" if ctx.settings.insecure_cookies else "; Secure"
    return f"{ctx.cookie.decode()}={visitor}; HttpOnly; Max-Age={COOKIE_SECONDS}; Path=/; SameSite=lax{secure}"


async def leave(request: Request) -> Response:
    check_origin(request.scope)
    ctx, view = _context(request), _view(request)
    _binding(ctx, request)  # said here, because the second try below says something else
    try:
        held: Ticket | Admission = _ticket(ctx, view, request)
    except Unauthorized:
        held = _admission(ctx, view, request)
    await line.leave(ctx.store, view, held.place, held.number)
    return Response(status_code=204)


async def claim(request: Request) -> Response:
    check_origin(request.scope)
    ctx, view = _context(request), _view(request)
    admitted, called_ms = await admission.claim(ctx.store, view, _ticket(ctx, view, request))
    return Json(
        {
            "admission": ctx.keys.admission(admitted),
            "number": admitted.number,
            "calledAtMs": called_ms,
            "expiresAt": _rfc3339(admitted.until_ms),
            "expiresInSeconds": (admitted.until_ms - admitted.issued_ms) // 1000,
        },
        201,
        NO_STORE,
    )


async def get_seats(request: Request) -> Response:
    view = _view(request)
    headers = {"etag": view.seats_etag.decode(), "cache-control": "public, max-age=1"}
    if header(request.scope, b"if-none-match") == view.seats_etag:
        return Response(status_code=304, headers=headers)
    return Json(view.seats_document, headers=headers)


async def take_hold(request: Request) -> Response:
    check_origin(request.scope)
    ctx, view = _context(request), _view(request)
    admitted = _admission(ctx, view, request)
    body = await read_json(request, holds.HoldRequest)
    hold = await holds.take(ctx.store, view, admitted, body)
    return Json(
        {
            "id": hold.id,
            "fence": int(hold.id),
            "seats": [view.seating.name(seat) for seat in hold.seats],
            "amountMinor": holds.price(view, hold.seats),
            "currency": view.spec.currency,
            "expiresAt": _rfc3339(hold.until_ms),
            "expiresInSeconds": (hold.until_ms - hold.now_ms) // 1000,
        },
        201,
        NO_STORE | {"ratelimit-policy": '"hold";q=30;w=30', "ratelimit": f'"hold";r={hold.left}'},
    )


async def release_hold(request: Request) -> Response:
    check_origin(request.scope)
    ctx, view = _context(request), _view(request)
    admitted = _admission(ctx, view, request)
    await holds.release(ctx.store, view, admitted, request.path_params["hold"])
    return Response(status_code=204)


async def place_order(request: Request) -> Response:
    check_origin(request.scope)
    ctx, view = _context(request), _view(request)
    admitted = _admission(ctx, view, request)
    key = header(request.scope, b"idempotency-key").decode("latin-1")
    if not 1 <= len(key) <= 255:
        raise BadInput("send an Idempotency-Key of 1 to 255 characters", code="idempotency_key_required")
    body = await read_json(request, payments.OrderRequest)
    order, replayed = await payments.place_order(ctx.store, ctx.log, view, admitted, key, body)
    headers = NO_STORE | {"location": f"{PREFIX}{view.name}/orders/{order.id}"}
    if replayed:
        headers["idempotent-replayed"] = "true"
    return Json(order, 202, headers)


async def get_order(request: Request) -> Response:
    ctx, view = _context(request), _view(request)
    place = _admission(ctx, view, request).place
    order = await payments.read_order(ctx.store, view, place, request.path_params["order"])
    return Json(order, headers=NO_STORE)


async def list_orders(request: Request) -> Response:
    ctx, view = _context(request), _view(request)
    place = _admission(ctx, view, request).place
    return Json({"orders": await payments.list_orders(ctx.store, view, place)}, headers=NO_STORE)


async def stream_order(request: Request) -> Response:
    """Server-sent events: the order, and again whenever it changes, until it is final."""
    ctx, view = _context(request), _view(request)
    place, order = _admission(ctx, view, request).place, request.path_params["order"]
    if ctx.streams >= MAX_STREAMS:
        raise Unavailable("too many streams are open; poll the order instead", code="too_many_streams")
    first = await payments.read_order(ctx.store, view, place, order)
    return StreamingResponse(_follow(ctx, view, place, first), media_type="text/event-stream", headers=NO_STORE)


async def _follow(ctx: Context, view: View, place: bytes, order: payments.Order) -> AsyncIterator[bytes]:
    ctx.streams += 1
    try:
        async with asyncio.timeout(STREAM_SECONDS):
            yield _sse(order)
            while order.state not in payments.FINAL and not ctx.draining:
                await view.changed(order.id, at_most_seconds=1.0)
                newer = await payments.read_order(ctx.store, view, place, order.id)
                if newer != order:
                    yield _sse(newer)
                order = newer
    except TimeoutError:
        return  # the client connects again
    finally:
        ctx.streams -= 1


def _sse(order: payments.Order) -> bytes:
    return b"event: order\ndata: " + msgspec.json.encode(order) + b"\n\n"


_SALE = "/api/v1/sales/{sale}"

routes = [
    Route(f"{_SALE}/places", join, methods=["POST"]),
    Route(f"{_SALE}/holds", take_hold, methods=["POST"]),
    Route(f"{_SALE}/orders", place_order, methods=["POST"]),
    Route(f"{_SALE}/orders/{{order}}", get_order, methods=["GET"]),
    Route(f"{_SALE}/admissions", claim, methods=["POST"]),
    Route(f"{_SALE}/seats", get_seats, methods=["GET"]),
    Route(f"{_SALE}/places/me", leave, methods=["DELETE"]),
    Route(f"{_SALE}/holds/{{hold}}", release_hold, methods=["DELETE"]),
    Route(f"{_SALE}/orders", list_orders, methods=["GET"]),
    Route(f"{_SALE}/orders/{{order}}/events", stream_order, methods=["GET"]),
    Route(f"{_SALE}/challenge", get_challenge, methods=["GET"]),
    Route(f"{_SALE}/line", get_line, methods=["GET"]),
    Route(f"{_SALE}/places/me", get_whereabouts, methods=["GET"]),
    Route(_SALE, get_sale, methods=["GET"]),
    Route("/api/v1/sales", list_sales, methods=["GET"]),
]

Handler = Callable[[Request], Awaitable[Response]]

SHORTCUTS: dict[tuple[str, str], Handler] = {
    ("GET", "line"): get_line,
    ("GET", "places/me"): get_whereabouts,
    ("POST", "places"): join,
    ("POST", "holds"): take_hold,
    ("POST", "orders"): place_order,
}
"""What a crowd sends, by method and what follows the sale in the path: it need not go through the routes."""
