"""The two requests that a crowd repeats, `GET …/line` and `GET …/places/me`.

But for the exchange of an old ticket they touch nothing but the pod's snapshot.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from boxoffice import tokens
from boxoffice.context import Context
from boxoffice.errors import Unauthorized
from boxoffice.identity import visitor_of
from boxoffice.line import check_ticket, exchange, needs_exchange, whereabouts
from boxoffice.wire import Json, bearer, header

PREFIX = "/api/v1/sales/"


async def get_line(request: Request) -> Response:
    ctx: Context = request.app.state.context
    view = ctx.board.view(request.path_params["sale"])
    headers = {"etag": view.line_etag.decode(), "cache-control": "public, max-age=1"}
    if header(request.scope, b"if-none-match") == view.line_etag:
        return Response(status_code=304, headers=headers)
    return Json(view.line_document, headers=headers)


async def get_whereabouts(request: Request) -> Response:
    ctx: Context = request.app.state.context
    view, scope = ctx.board.view(request.path_params["sale"]), request.scope
    ticket = ctx.keys.read_ticket(bearer(scope))
    visitor = visitor_of(header(scope, b"cookie"), ctx.cookie)
    if visitor is None:
        raise Unauthorized("send the visitor cookie that came with the ticket", code="cookie_required")
    check_ticket(view, ticket, tokens.binding(visitor))
    where = whereabouts(view, ticket.number)
    ctx.polls.check(ticket.place, where.poll)
    fresh = ""
    if needs_exchange(view, ticket) and not view.recovering:
        fresh = ctx.keys.ticket(await exchange(ctx.store, view, ticket))
    headers = {"cache-control": "no-store", "retry-after": str(where.poll)}
    return Json(where.json(ticket.number, fresh), headers=headers)
