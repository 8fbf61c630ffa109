"""uvicorn, set up as a pod needs it: no access log, slow goodbyes, quick parsers."""

from __future__ import annotations

import gc
import logging
import socket

import uvicorn
from starlette.types import ASGIApp

from boxoffice.settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer keeps an idle one, so that we never close a connection under a request."""


def run_server(app: ASGIApp, settings: Settings, port: int) -> None:
    """Serves until SIGTERM or SIGINT, then lets open requests end. Exits with 3 when it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app itself reads X-Forwarded-For, from trusted proxies alone
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    _Server(config).run()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """What is alive now stays alive: the collector need not look at it again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
