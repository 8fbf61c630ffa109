"""The buyers' app: opens the clients, keeps the snapshot fresh, and puts the parts together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from boxoffice import api, openapi, pages, tracing
from boxoffice.accesslog import AccessLog
from boxoffice.board import Board
from boxoffice.context import Context
from boxoffice.errors import BoxofficeError
from boxoffice.eventlog import open_log
from boxoffice.identity import Accounts, Places, address_reader
from boxoffice.ledgerreader import LedgerReader
from boxoffice.observe import SaleCollector, exposition
from boxoffice.payments import Relay
from boxoffice.polling import PREFIX
from boxoffice.probe import STALE_SECONDS
from boxoffice.proof import Proofs
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tasks import end
from boxoffice.tokens import KeyRing
from boxoffice.traffic import Step, Traffic
from boxoffice.vitals import watch_loop
from boxoffice.wire import Json, header, on_error

READY_PATH = "/readyz"
"""Counted as no traffic: a kubelet that is told to wait is no buyer who met a fault."""

log = logging.getLogger(__name__)


def build_app(settings: Settings) -> Starlette:
    """The ASGI app of `boxoffice serve`. Raises BadInput at once when a setting is wrong."""
    tracing.check(settings)
    keys, places, accounts = KeyRing(settings.keys), Places(settings), Accounts(settings)
    proofs, address_of = Proofs(keys.secret), address_reader(settings.trusted_proxies)

    @asynccontextmanager
    async def lifespan(app: _App) -> AsyncIterator[None]:
        store = await Store.open(settings)
        event_log = await open_log(settings, store)
        board = Board(store)
        past = LedgerReader(settings)
        context = Context(settings, store, event_log, board, keys, places, accounts, proofs, address_of, past)
        context.cookie = b"visitor" if settings.insecure_cookies else b"__Host-visitor"
        app.context = app.state.context = context
        app.traffic, app.access = Traffic(), AccessLog(settings.access_log_every)
        tracing.start(settings, "serve")
        app.state.registry = _registry(board, app.traffic)
        await board.beat()
        loops = (board.run(), Relay(store, event_log, board).run(), watch_loop())
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            await end(tasks)
            await past.close()
            await event_log.close()
            await store.close()
            await tracing.stop()

    return _assemble(lifespan)


def start_draining(app: Starlette) -> None:
    """Not ready any more; open order streams end at their next look."""
    context: Context | None = getattr(app.state, "context", None)
    if context is not None:
        context.draining = True


class _App(Starlette):
    """What a crowd sends goes straight to its handler: the way through middleware and routes costs as much."""

    context: Context
    traffic: Traffic
    access: AccessLog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        shortcut = None
        if scope["path"].startswith(PREFIX):
            sale, _, rest = scope["path"][len(PREFIX) :].partition("/")
            shortcut = api.SHORTCUTS.get((scope["method"], rest))
        if shortcut is None:
            if scope["path"] != READY_PATH:
                send = self.traffic.counted(self.access.noted(scope, send))
            return await super().__call__(scope, receive, send)
        began, (step, handler), request = time.perf_counter(), shortcut, Request(scope, receive)
        wanted = request.method == "POST" and tracing.tracing()
        traced = tracing.request(step, header(scope, b"traceparent")) if wanted else None
        if traced is None:
            response = await self._answer(step, handler, sale, request)
        else:
            with tracing.inside(traced):
                response = await self._answer(step, handler, sale, request)
                traced.answered(request.method, response.status_code)
        self.traffic.count(step, response.status_code, began)
        self.access.note(step, response.status_code, began, sale if sale in self.context.board.views else "", scope)
        await response(scope, receive, send)

    async def _answer(self, step: Step, handler: api.Handler, sale: str, request: Request) -> Response:
        try:
            return await api.answer(handler, self.context, sale, request)
        except BoxofficeError as error:
            return await on_error(request, error)
        except Exception as error:
            trace = tracing.trace_id_of(header(request.scope, b"traceparent"))
            log.exception("%s", step, extra={"fields": {"trace": trace}} if trace else None)
            return await on_error(request, error)


def _assemble(lifespan: Callable[[_App], AbstractAsyncContextManager[None]]) -> Starlette:
    return _App(
        routes=[
            *api.routes,
            Route("/livez", _livez, methods=["GET"]),
            Route(READY_PATH, _readyz, methods=["GET"]),
            Route("/metrics", _metrics, methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
            *pages.routes(pages.PAGES, "/concerts"),
        ],
        exception_handlers={BoxofficeError: on_error, HTTPException: on_error, Exception: on_error},
        lifespan=lifespan,
    )


def _registry(board: Board, traffic: Traffic) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SaleCollector(board))
    registry.register(traffic)
    return registry


async def _livez(request: Request) -> Response:
    """The event loop turns. Never a dependency: a restart mends none of them."""
    return Json({"status": "ok"})


async def _readyz(request: Request) -> Response:
    context: Context = request.app.state.context
    age = time.monotonic() - context.board.last_beat
    ready = age < STALE_SECONDS and not context.draining
    why = "draining" if context.draining else f"the last answer of Redis is {age:.1f} s old"
    return Json({"status": "ok" if ready else "not ready", "detail": why}, 200 if ready else 503)


async def _metrics(request: Request) -> Response:
    return exposition(request.app.state.registry)


async def _openapi(request: Request) -> Response:
    return Json(openapi.DOCUMENT)
