"""The pages and their assets: plain files, read once at start, under a policy that lets no foreign code in."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
PAGES = {
    "/concerts": "concerts",
    "/concerts/{sale}": "concert",
    "/concerts/{sale}/wait": "wait",
    "/concerts/{sale}/seats": "seats",
    "/concerts/{sale}/pay": "pay",
    "/concerts/{sale}/tickets": "tickets",
    "/docs": "docs",
}


class Web:
    """The files of `web/`, each with its ETag."""

    def __init__(self) -> None:
        folder = resources.files("boxoffice") / "web"
        self._files = {f.name: _load(f) for f in folder.iterdir() if _suffix(f.name) in TYPES}

    def answer(self, request: Request, name: str) -> Response:
        """Raises HTTPException 404."""
        if name not in self._files:
            raise HTTPException(404)
        body, etag = self._files[name]
        headers = {
            "etag": etag,
            "cache-control": "no-cache",
            "content-security-policy": CSP,
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
        }
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=TYPES[_suffix(name)])


def routes(pages: dict[str, str], home: str) -> list[Route]:
    """A route for each page (path to file name without `.html`), the assets, and `/` to `home`."""
    web = Web()

    def page(path: str, name: str) -> Route:
        async def show(request: Request) -> Response:
            return web.answer(request, f"{name}.html")

        return Route(path, show, methods=["GET"])

    async def asset(request: Request) -> Response:
        return web.answer(request, request.path_params["name"])

    async def start(request: Request) -> Response:
        return RedirectResponse(home, 302)

    return [
        *(page(path, name) for path, name in pages.items()),
        Route("/assets/{name}", asset, methods=["GET"]),
        Route("/", start, methods=["GET"]),
    ]


def _load(file: Traversable) -> tuple[bytes, str]:
    body = file.read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
