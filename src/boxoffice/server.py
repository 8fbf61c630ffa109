"""uvicorn, set up as a pod needs it: no access log, slow goodbyes, quick parsers."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from boxoffice.connections import bounded
from boxoffice.settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer keeps an idle one, so that we never close a connection under a request."""
FAREWELL_TICKS = 30
"""Of 0.1 s each; longer than a buyer lets pass between two requests."""


def run_server(app: ASGIApp, settings: Settings, port: int, leave: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT, then calls `leave` and lets open requests end. Exits with 3 when it cannot
    start."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        loop="uvloop",
        http=bounded(settings.max_connections),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app itself reads X-Forwarded-For, from trusted proxies alone
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    _Server(config, leave).run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, leave: Callable[[], None]) -> None:
        super().__init__(config)
        self._leave = leave

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Streams would hold the server up until it is killed: they are told first."""
        self._leave()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """What is alive now stays alive: the collector need not look at it again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """A request that meets a connection being closed is lost: each is told first, by an answer that is its last."""
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for _ in range(FAREWELL_TICKS):
            if self.server_state.connections and not self.force_exit:
                await asyncio.sleep(0.1)
        await super().shutdown(sockets)
