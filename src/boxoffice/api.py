"""The buyers' API, `/api/v1`: enter, wait, admit, hold, pay. (The two polls of the crowd are in polling.py.)"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from boxoffice import admission, holds, identity, line, tokens
from boxoffice.context import Context
from boxoffice.errors import Gone, LedgerUnavailable, NotFound, Recovering, Unauthorized
from boxoffice.ordering import get_order, list_orders, place_order, stream_order
from boxoffice.polling import admission_of, binding_of, get_line, get_whereabouts, ticket_of
from boxoffice.snapshot import View
from boxoffice.times import rfc3339
from boxoffice.tokens import Admission, Ticket
from boxoffice.traffic import Step
from boxoffice.wire import JSON, NO_STORE, PRIVATE, Answer, Json, bearer, check_origin, header, read_json

COOKIE_SECONDS = 14 * 86400
_HOLD_POLICY = (b"ratelimit-policy", b'"hold";q=30;w=30')


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    proof: Annotated[str, msgspec.Meta(max_length=2048)] | None = None


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
    ctx: Context = request.app.state.context
    shown = (v for v in ctx.board.views.values() if v.ready and v.spec.listing == "Listed")
    views = sorted(shown, key=lambda v: v.name)
    return Json({"sales": [_summary(view) for view in views]}, headers={"cache-control": "public, max-age=1"})


async def get_sale(ctx: Context, view: View, request: Request) -> Response:
    spec = view.spec
    more = {
        "maxSeatsPerBuyer": spec.hold.max_seats_per_buyer,
        "holdSeconds": spec.hold.seconds,
        "claimSeconds": spec.line.claim_seconds,
        "sessionSeconds": spec.admission.session_seconds,
        "proofOfWork": spec.abuse.proof_of_work,
        "serverTime": rfc3339(view.now_ms()),
    }
    return Json(_summary(view) | more, headers=NO_STORE)


async def get_challenge(ctx: Context, view: View, request: Request) -> Response:
    return Json(ctx.proofs.challenge(view.uid), headers=NO_STORE)


async def join(ctx: Context, view: View, request: Request) -> Response:
    check_origin(request.scope)
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
    headers = [
        JSON,
        PRIVATE,
        (b"retry-after", b"%d" % where.poll),
        (b"ratelimit-policy", b'"join";q=%d;w=60' % limit),
        (b"ratelimit", b'"join";r=%d' % left),
    ]
    if new_visitor is not None:
        headers.append((b"set-cookie", _cookie(ctx, new_visitor)))
    return Answer(201 if created else 200, where.json(ticket.number, ctx.keys.ticket(ticket)), headers)


def _place(ctx: Context, view: View, request: Request, visitor: str) -> bytes:
    if view.spec.line.one_per == "Visitor":
        return ctx.places.place(view.uid, b"visitor", visitor)
    account = ctx.accounts.account(bearer(request.scope))
    return ctx.places.place(view.uid, b"account", account)


def _cookie(ctx: Context, visitor: str) -> bytes:
    secure = b"" if ctx.settings.insecure_cookies else b"; Secure"
    rest = b"HttpOnly; Max-Age=%d; Path=/; SameSite=lax%b" % (COOKIE_SECONDS, secure)
    return b"%b=%b; %b" % (ctx.cookie, visitor.encode(), rest)


async def leave(ctx: Context, view: View, request: Request) -> Response:
    check_origin(request.scope)
    binding_of(ctx, request.scope)  # said here, because the second try below says something else
    try:
        held: Ticket | Admission = ticket_of(ctx, view, request.scope)
    except Unauthorized:
        held = admission_of(ctx, view, request.scope)
    await line.leave(ctx.store, view, held.place, held.number)
    return Response(status_code=204)


async def claim(ctx: Context, view: View, request: Request) -> Response:
    check_origin(request.scope)
    admitted, called_ms = await admission.claim(ctx.store, view, ticket_of(ctx, view, request.scope))
    return Json(
        {
            "admission": ctx.keys.admission(admitted),
            "number": admitted.number,
            "calledAtMs": called_ms,
            "expiresAt": rfc3339(admitted.until_ms),
            "expiresInSeconds": (admitted.until_ms - admitted.issued_ms) // 1000,
        },
        201,
        NO_STORE,
    )


async def get_seats(ctx: Context, view: View, request: Request) -> Response:
    if view.archived:
        raise _over()
    headers = {"etag": view.seats_etag.decode(), "cache-control": "public, max-age=1"}
    if header(request.scope, b"if-none-match") == view.seats_etag:
        return Response(status_code=304, headers=headers)
    return Json(view.seats_document, headers=headers)


async def take_hold(ctx: Context, view: View, request: Request) -> Response:
    check_origin(request.scope)
    admitted = admission_of(ctx, view, request.scope)
    body = await read_json(request, holds.HoldRequest)
    hold = await holds.take(ctx.store, view, admitted, body)
    answer = {
        "id": hold.id,
        "fence": int(hold.id),
        "seats": body.seats or [view.seating.name(seat) for seat in hold.seats],
        "amountMinor": holds.price(view, hold.seats),
        "currency": view.spec.currency,
        "expiresAt": rfc3339(hold.until_ms),
        "expiresInSeconds": (hold.until_ms - hold.now_ms) // 1000,
    }
    headers = [JSON, PRIVATE, _HOLD_POLICY, (b"ratelimit", b'"hold";r=%d' % hold.left)]
    return Answer(201, msgspec.json.encode(answer), headers)


async def release_hold(ctx: Context, view: View, request: Request) -> Response:
    check_origin(request.scope)
    admitted = admission_of(ctx, view, request.scope)
    await holds.release(ctx.store, view, admitted, request.path_params["hold"])
    return Response(status_code=204)


Handler = Callable[[Context, View, Request], Awaitable[Response]]


async def _find(ctx: Context, sale: str) -> View:
    """One that is not on: the ledger may have it, where this pod has not seen it leave Redis. Raises NotFound,
    Unavailable."""
    try:
        view = ctx.board.view(sale)
    except NotFound:
        found = await ctx.past.find(sale)
        if found is None:
            raise
        ctx.board.archive(found)
        return found
    if view.recovering and view.is_over() and await _has_left(ctx, sale):
        ctx.board.archive(view)
    return view


async def _has_left(ctx: Context, sale: str) -> bool:
    try:
        return await ctx.past.find(sale) is not None
    except LedgerUnavailable:
        return False


def _over() -> Gone:
    return Gone("this sale is over", code="over")


async def answer(handler: Handler, ctx: Context, sale: str, request: Request) -> Response:
    """Redis that does not know a sale of this pod has lost it, or it was dropped since the last beat: it is not known
    which before the next."""
    view = ctx.board.views.get(sale)
    if view is None or not view.ready or view.recovering:
        view = await _find(ctx, sale)
    if view.archived and request.method in ("POST", "DELETE"):
        raise _over()
    try:
        return await handler(ctx, view, request)
    except NotFound as error:
        if error.code != "unknown_sale":
            raise
        raise Recovering(f"Redis does not know {sale!r}; it is being restored if it was lost") from None


def _route(rest: str, method: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        return await answer(handler, request.app.state.context, request.path_params["sale"], request)

    return Route("/api/v1/sales/{sale}" + rest, endpoint, methods=[method])


routes = [
    _route("/line", "GET", get_line),
    _route("/places/me", "GET", get_whereabouts),
    _route("/places/me", "DELETE", leave),
    _route("/places", "POST", join),
    _route("/admissions", "POST", claim),
    _route("/seats", "GET", get_seats),
    _route("/holds", "POST", take_hold),
    _route("/holds/{hold}", "DELETE", release_hold),
    _route("/orders", "POST", place_order),
    _route("/orders", "GET", list_orders),
    _route("/orders/{order}", "GET", get_order),
    _route("/orders/{order}/events", "GET", stream_order),
    _route("/challenge", "GET", get_challenge),
    _route("", "GET", get_sale),
    Route("/api/v1/sales", list_sales, methods=["GET"]),
]

SHORTCUTS: dict[tuple[str, str], tuple[Step, Handler]] = {
    ("GET", "line"): ("line", get_line),
    ("GET", "places/me"): ("whereabouts", get_whereabouts),
    ("POST", "places"): ("join", join),
    ("POST", "admissions"): ("claim", claim),
    ("POST", "holds"): ("hold", take_hold),
    ("POST", "orders"): ("order", place_order),
}
"""What a crowd sends, by method and what follows the sale in the path: it need not go through the routes, and each is a
step that is counted."""
