"""The port of those who run the sales: dashboard, resources, overrides, dead letters, audit."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from boxoffice import deadletters, pages, sales
from boxoffice.audit import audit
from boxoffice.board import Board
from boxoffice.errors import BoxofficeError, Unauthorized
from boxoffice.eventlog import EventLog, open_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.probe import STALE_SECONDS
from boxoffice.sale import MAX_RESOURCE_BYTES, dump_sale, parse_sale, to_builtins
from boxoffice.settings import Settings
from boxoffice.spec import Policy
from boxoffice.store import Store
from boxoffice.tasks import end
from boxoffice.wire import NO_STORE, Json, bearer, check_origin, on_error, read_body, read_json

PAGES = {"/admin/dashboard": "admin", "/admin/sales/{sale}": "admin-sale"}
OVERRIDES: dict[str, Policy | None] = {"hold": "Hold", "drain": "Drain", "close": "Closed", "resume": None}
MOST_LETTER = 2**63 - 1
PAGE_WHO = "admin page"
"""Who applied a resource: its request has no place for a name."""


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes with every action."""

    who: str
    why: str


@dataclass(slots=True)
class Desk:
    """What the handlers share; made once, in the app's lifespan."""

    settings: Settings
    store: Store
    ledger: Ledger
    log: EventLog
    board: Board


Handler = Callable[[Request, Desk], Awaitable[Response]]


def build_admin(settings: Settings) -> Starlette:
    """The ASGI app of `boxoffice admin`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        store = await Store.open(settings)
        ledger = await open_ledger(settings)
        event_log = await open_log(settings, store)
        board = Board(store)
        app.state.desk = Desk(settings, store, ledger, event_log, board)
        beating = asyncio.create_task(board.run())
        try:
            yield
        finally:
            await end([beating])
            await event_log.close()
            await ledger.close()
            await store.close()

    errors = {BoxofficeError: on_error, HTTPException: on_error, Exception: on_error}
    return Starlette(routes=_routes(), exception_handlers=errors, lifespan=lifespan)


def _routes() -> list[Route]:
    sale = "/admin/api/sales/{sale}"
    return [
        _route("GET", "/admin/api/sales", list_sales),
        _route("POST", "/admin/api/sales", apply_sale),
        _route("GET", sale, get_sale),
        _route("DELETE", sale, delete_sale),
        *(_route("POST", f"{sale}/{action}", _override(policy)) for action, policy in OVERRIDES.items()),
        _route("GET", f"{sale}/audit", audit_sale),
        _route("GET", "/admin/api/dead-letters", list_letters),
        _route("POST", "/admin/api/dead-letters/{letter:int}/replay", replay_letter),
        _route("POST", "/admin/api/dead-letters/{letter:int}/discard", discard_letter),
        Route("/livez", _livez, methods=["GET"]),
        Route("/readyz", _readyz, methods=["GET"]),
        *pages.routes(PAGES, "/admin/dashboard"),
    ]


def _route(method: str, path: str, handler: Handler) -> Route:
    """Nothing under `/admin/api` without the token, and no change from another site's page."""

    async def endpoint(request: Request) -> Response:
        desk: Desk = request.app.state.desk
        check_token(desk.settings.admin_token_sha256, bearer(request.scope))
        if method != "GET":
            check_origin(request.scope)
        return await handler(request, desk)

    return Route(path, endpoint, methods=[method])


def check_token(expected_sha256: str, token: str) -> None:
    """Takes as long for a wrong token as for the right one. Raises Unauthorized."""
    found = hashlib.sha256(token.encode()).hexdigest()
    if not expected_sha256 or not hmac.compare_digest(found, expected_sha256.lower()):
        raise Unauthorized("this is not the token of the admin port", code="bad_token")


async def list_sales(request: Request, desk: Desk) -> Response:
    return _json({"sales": await sales.states(desk.store, desk.ledger, desk.board)})


async def get_sale(request: Request, desk: Desk) -> Response:
    sale = await sales.get(desk.store, request.path_params["sale"])
    if "yaml" in request.headers.get("accept", ""):
        return Response(dump_sale(sale), headers={**NO_STORE, "content-type": "application/yaml"})
    return _json(to_builtins(sale))


async def apply_sale(request: Request, desk: Desk) -> Response:
    sale = parse_sale(await read_body(request, MAX_RESOURCE_BYTES))
    new = await sales.apply(desk.store, desk.ledger, sale, PAGE_WHO)
    return _json(to_builtins(sale), 201 if new else 200)


async def delete_sale(request: Request, desk: Desk) -> Response:
    reason = await read_json(request, Reason)
    view = desk.board.view(request.path_params["sale"])
    await sales.delete(desk.store, desk.ledger, view, reason.who, reason.why)
    return Response(status_code=204)


def _override(policy: Policy | None) -> Handler:
    async def override(request: Request, desk: Desk) -> Response:
        reason = await read_json(request, Reason)
        name = request.path_params["sale"]
        in_force = await sales.override(desk.store, desk.ledger, name, policy, reason.who, reason.why)
        return _json({"policy": in_force})

    return override


async def audit_sale(request: Request, desk: Desk) -> Response:
    gateway = await open_gateway(desk.settings)
    try:
        sale = request.path_params["sale"]
        return _json(await audit(sale, desk.store, desk.log, desk.ledger, gateway))
    finally:
        await gateway.close()


async def list_letters(request: Request, desk: Desk) -> Response:
    letters = await deadletters.list_letters(desk.ledger)
    return _json({"deadLetters": [deadletters.document(letter) for letter in letters]})


async def replay_letter(request: Request, desk: Desk) -> Response:
    letter, reason = await _letter(request)
    position = await deadletters.replay_letter(desk.ledger, desk.log, letter, reason.who, reason.why)
    sales.log_action(reason.who, "replay", str(letter), reason.why)
    return _json({"partition": position.partition, "offset": position.offset})


async def discard_letter(request: Request, desk: Desk) -> Response:
    letter, reason = await _letter(request)
    await deadletters.discard_letter(desk.ledger, letter, reason.who, reason.why)
    sales.log_action(reason.who, "discard", str(letter), reason.why)
    return Response(status_code=204)


async def _letter(request: Request) -> tuple[int, Reason]:
    reason = await read_json(request, Reason)
    sales.check_who_and_why(reason.who, reason.why)
    return min(request.path_params["letter"], MOST_LETTER), reason


def _json(content: Any, status: int = 200) -> Response:
    return Json(content, status, headers=NO_STORE)


async def _livez(request: Request) -> Response:
    return Json({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """By the store alone: a hold must be possible with the ledger and the log out of reach."""
    age = time.monotonic() - request.app.state.desk.board.last_beat
    ready = age < STALE_SECONDS
    return Json(
        {"status": "ok" if ready else "not ready", "detail": f"Redis answered {age:.1f} s ago"}, 200 if ready else 503
    )
