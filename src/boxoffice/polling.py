"""The two requests that a crowd repeats, `GET …/line` and `GET …/places/me`.

But for the exchange of an old ticket they touch nothing but the pod's snapshot.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from boxoffice.admission import check_admission
from boxoffice.context import Context
from boxoffice.errors import Unauthorized
from boxoffice.identity import visitor_of
from boxoffice.line import check_ticket, exchange, needs_exchange, whereabouts
from boxoffice.snapshot import View
from boxoffice.tokens import Admission, Ticket, binding
from boxoffice.wire import JSON, PRIVATE, Answer, bearer, header

PREFIX = "/api/v1/sales/"
MOST_KEPT_BYTES = 512
_PUBLIC = (b"cache-control", b"public, max-age=1")


async def get_line(ctx: Context, view: View, request: Request) -> Response:
    etag = (b"etag", view.line_etag)
    if header(request.scope, b"if-none-match") == view.line_etag:
        return Answer(304, b"", [etag, _PUBLIC])
    return Answer(200, view.line_document, [JSON, etag, _PUBLIC])


async def get_whereabouts(ctx: Context, view: View, request: Request) -> Response:
    ticket = _known_ticket(ctx, view, request.scope)
    where = whereabouts(view, ticket.number)
    ctx.polls.check(ticket.place, where.poll)
    fresh = ""
    if needs_exchange(view, ticket) and not (view.recovering or view.archived):
        fresh = ctx.keys.ticket(await exchange(ctx.store, view, ticket))
    headers = [JSON, PRIVATE, (b"retry-after", b"%d" % where.poll)]
    return Answer(200, where.json(ticket.number, fresh), headers)


def _known_ticket(ctx: Context, view: View, scope: Scope) -> Ticket:
    """A buyer polls with the same headers again and again: they are checked once."""
    authorization, cookie = header(scope, b"authorization"), header(scope, b"cookie")
    key = b"%b%b\n%b" % (view.uid, authorization, cookie)
    ticket = ctx.tickets.get(key)
    if ticket is None:
        ticket = ticket_of(ctx, view, scope)
        if len(authorization) + len(cookie) <= MOST_KEPT_BYTES:
            ctx.tickets.put(key, ticket)
    return ticket


def ticket_of(ctx: Context, view: View, scope: Scope) -> Ticket:
    """The ticket that the request bears. Raises Unauthorized."""
    ticket = ctx.keys.read_ticket(bearer(scope))
    check_ticket(view, ticket, binding_of(ctx, scope))
    return ticket


def admission_of(ctx: Context, view: View, scope: Scope) -> Admission:
    """The admission that the request bears; whether its time is up is for Redis to tell. Raises Unauthorized."""
    admitted = ctx.keys.read_admission(bearer(scope))
    check_admission(view, admitted, binding_of(ctx, scope))
    return admitted


def binding_of(ctx: Context, scope: Scope) -> bytes:
    """Of the browser that the request comes from. Raises Unauthorized."""
    visitor = visitor_of(header(scope, b"cookie"), ctx.cookie)
    if visitor is None:
        raise Unauthorized("send the visitor cookie that came with the ticket", code="cookie_required")
    return binding(visitor)
