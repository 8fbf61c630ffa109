"""How many connections a pod keeps: each takes some 10 KB, an idle one as much as a busy one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from prometheus_client import Counter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from boxoffice.errors import Unavailable
from boxoffice.wire import problem_headers

FULL_SECONDS = 5
"""For whoever came when there was no room, to be told so."""

REFUSED = Counter("boxoffice_connections_refused", "Connections that came when there were too many")


def bounded(most: int) -> type[HttpToolsProtocol]:
    """With it one more than `most` is told 503, and who connects and says nothing is not waited for for ever."""

    class Bounded(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            patience = self.timeout_keep_alive
            if len(self.connections) > most:
                REFUSED.inc()
                self.app, patience = partial(_full, self.app), FULL_SECONDS
            self.timeout_keep_alive_task = self.loop.call_later(patience, self.timeout_keep_alive_handler)

    return Bounded


async def _full(app: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """The kubelet must not take a full pod for a dead one; not ready it is, so that the next goes elsewhere."""
    if scope["path"] == "/livez":
        return await app(scope, receive, send)  # type: ignore[no-any-return]
    error = Unavailable("this pod has no room for one more connection", code="pod_full", retry_after=2)
    answer = Response(error.problem(), error.status, {**problem_headers(error), "connection": "close"})
    await answer(scope, receive, send)
