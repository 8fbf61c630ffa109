"""The two requests that a crowd repeats, `GET …/line` and `GET …/places/me`, as plain ASGI with ready headers.

They run before any routing and, but for the exchange of an old ticket, touch nothing but the pod's snapshot.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from boxoffice import tokens
from boxoffice.context import Context
from boxoffice.errors import BoxofficeError, Unauthorized
from boxoffice.identity import visitor_of
from boxoffice.line import check_ticket, exchange, needs_exchange, whereabouts
from boxoffice.snapshot import View
from boxoffice.wire import as_problem, bearer, header, problem_headers

PREFIX = "/api/v1/sales/"
_JSON = (b"content-type", b"application/json")
_PUBLIC = (b"cache-control", b"public, max-age=1")
_PRIVATE = (b"cache-control", b"no-store")


class Polling:
    """ASGI: answers the two polls itself and hands everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            sale, _, rest = scope["path"][len(PREFIX) :].partition("/")
            poll = _POLLS.get(rest)
            if poll is not None and scope["method"] in ("GET", "HEAD"):
                ctx: Context = scope["app"].state.context
                try:
                    await poll(ctx, ctx.board.view(sale), scope, send)
                except BoxofficeError as error:
                    await _send_problem(send, error)
                return
        await self._app(scope, receive, send)


async def _line(ctx: Context, view: View, scope: Scope, send: Send) -> None:
    etag = (b"etag", view.line_etag)
    if header(scope, b"if-none-match") == view.line_etag:
        await _send(send, 304, [etag, _PUBLIC], b"")
    else:
        body = view.line_document
        length = (b"content-length", b"%d" % len(body))
        await _send(send, 200, [_JSON, etag, _PUBLIC, length], body)


async def _me(ctx: Context, view: View, scope: Scope, send: Send) -> None:
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
    body = where.json(ticket.number, fresh)
    length, retry = (b"content-length", b"%d" % len(body)), (b"retry-after", b"%d" % where.poll)
    await _send(send, 200, [_JSON, _PRIVATE, length, retry], body)


_POLLS = {"line": _line, "places/me": _me}


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_problem(send: Send, error: BoxofficeError) -> None:
    body = as_problem(error).problem()
    headers = [(k.encode(), v.encode()) for k, v in problem_headers(error).items()]
    await _send(send, error.status, [*headers, (b"content-length", b"%d" % len(body))], body)
