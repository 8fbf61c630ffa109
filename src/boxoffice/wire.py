"""Reading requests and writing answers: bounded bodies, strict JSON, tokens, cookies, problem documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from boxoffice.errors import BadInput, BoxofficeError, Forbidden, NotJson, TooLarge, Unauthorized

MAX_BODY_BYTES = 4096
NO_STORE = {"cache-control": "no-store"}
PRIVATE = (b"cache-control", b"no-store")
JSON = (b"content-type", b"application/json")

T = TypeVar("T")


class Answer(Response):
    """An answer whose bytes and headers are ready to go out; only the length of the body is added."""

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = headers
        if status != 304:
            headers.append((b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


class Json(Answer):
    """A JSON answer; `content` is encoded by msgspec unless it is bytes already. Names of headers in lower case."""

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        more = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        super().__init__(status_code, body, [JSON, *more])


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that (lower-case) name, or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return value  # type: ignore[no-any-return]
    return b""


def bearer(scope: Scope) -> str:
    """The token of the Authorization header. Raises Unauthorized."""
    value = header(scope, b"authorization")
    if value[:7].lower() != b"bearer ":
        raise Unauthorized("send `Authorization: Bearer <token>`", code="token_required")
    return value[7:].strip().decode("latin-1")


async def read_body(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    """Raises TooLarge past `most` bytes, without reading on; BadInput when the client goes away."""
    body, more = b"", True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the body broke off")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise TooLarge(f"a body may have {most} bytes at most")
    return body


async def read_json(request: Request, kind: type[T], *, empty: bytes | None = None) -> T:
    """A strict body: unknown fields and wrong types are refused. `empty` stands in for a body of no bytes."""
    body = await read_body(request)
    if not body and empty is not None:
        body = empty
    elif header(request.scope, b"content-type").partition(b";")[0].strip().lower() != b"application/json":
        raise NotJson("send `Content-Type: application/json`")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the body is not as expected: {error}") from None


def check_origin(scope: Scope) -> None:
    """A page of another site may not change anything here, whatever cookies the browser adds."""
    origin = header(scope, b"origin")
    if origin and origin.partition(b"://")[2].lower() != header(scope, b"host").lower():
        raise Forbidden("this request comes from another site", code="foreign_origin")


def problem_headers(error: BoxofficeError) -> dict[str, str]:
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


async def on_error(request: Request, error: Exception) -> Response:
    """Every error as a problem document (RFC 9457)."""
    problem = as_problem(error)
    extra = {"allow": ", ".join(_allowed(request))} if problem.status == 405 else {}
    return Response(problem.problem(), problem.status, {**problem_headers(problem), **extra})


def _allowed(request: Request) -> list[str]:
    """All methods of an address; the framework names those of the first of its routes."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in route.methods or ()})


def as_problem(error: Exception) -> BoxofficeError:
    if isinstance(error, BoxofficeError):
        return error
    if isinstance(error, HTTPException):
        codes = {404: "not_found", 405: "method_not_allowed"}
        details = {404: "there is nothing here", 405: "this method is not for this address"}
        problem = BoxofficeError(
            details.get(error.status_code, error.detail), code=codes.get(error.status_code, "http")
        )
        problem.status = error.status_code
        return problem
    return BoxofficeError("something went wrong here; it was logged")
