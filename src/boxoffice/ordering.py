"""The API's orders, `/api/v1/sales/{sale}/orders`: a hold is paid, and the buyer reads what became of it.

Of a sale that has left Redis they are read from the ledger. An admission whose time is up, and a sale that is over,
take nothing away from that: it is still the buyer's, in the same browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from boxoffice import payments
from boxoffice.context import Context
from boxoffice.errors import BadInput, BoxofficeError, Unavailable
from boxoffice.polling import PREFIX, admission_of
from boxoffice.snapshot import View
from boxoffice.wire import JSON, NO_STORE, PRIVATE, Answer, Json, check_origin, header, read_json

MAX_STREAMS = 2000
STREAM_SECONDS = 60.0


async def place_order(ctx: Context, view: View, request: Request) -> Response:
    check_origin(request.scope)
    admitted = admission_of(ctx, view, request.scope)
    key = header(request.scope, b"idempotency-key").decode("latin-1")
    if not 1 <= len(key) <= 255:
        raise BadInput("send an Idempotency-Key of 1 to 255 characters", code="idempotency_key_required")
    body = await read_json(request, payments.OrderRequest)
    trace = header(request.scope, b"traceparent")
    order, replayed = await payments.place_order(ctx.store, ctx.log, view, admitted, key, body, trace)
    headers = [JSON, PRIVATE, (b"location", f"{PREFIX}{view.name}/orders/{order.id}".encode())]
    if replayed:
        headers.append((b"idempotent-replayed", b"true"))
    return Answer(202, msgspec.json.encode(order), headers)


async def get_order(ctx: Context, view: View, request: Request) -> Response:
    place = admission_of(ctx, view, request.scope).place
    return Json(await _read_order(ctx, view, place, request.path_params["order"]), headers=NO_STORE)


async def _read_order(ctx: Context, view: View, place: bytes, order: str) -> payments.Order:
    if view.archived:
        return await ctx.past.order(view, place, order)
    return await payments.read_order(ctx.store, view, place, order)


async def list_orders(ctx: Context, view: View, request: Request) -> Response:
    place = admission_of(ctx, view, request.scope).place
    past = view.archived
    orders = await (ctx.past.orders(view, place) if past else payments.list_orders(ctx.store, view, place))
    return Json({"orders": orders}, headers=NO_STORE)


async def stream_order(ctx: Context, view: View, request: Request) -> Response:
    """Server-sent events: the order, and again whenever it changes, until it is final."""
    place, order = admission_of(ctx, view, request.scope).place, request.path_params["order"]
    if ctx.streams >= MAX_STREAMS:
        raise Unavailable("too many streams are open; poll the order instead", code="too_many_streams")
    first = await _read_order(ctx, view, place, order)
    return StreamingResponse(_follow(ctx, view, place, first), media_type="text/event-stream", headers=NO_STORE)


async def _follow(ctx: Context, view: View, place: bytes, order: payments.Order) -> AsyncIterator[bytes]:
    ctx.streams += 1
    try:
        async with asyncio.timeout(STREAM_SECONDS):
            yield _sse(order)
            while order.state not in payments.FINAL and not ctx.draining:
                await view.changed(order.id, at_most_seconds=1.0)
                newer = await _read_order(ctx, view, place, order.id)
                if newer != order:
                    yield _sse(newer)
                order = newer
    except (TimeoutError, BoxofficeError):
        return  # the client connects again, and is told then why not
    finally:
        ctx.streams -= 1


def _sse(order: payments.Order) -> bytes:
    return b"event: order\ndata: " + msgspec.json.encode(order) + b"\n\n"
