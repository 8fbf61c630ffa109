"""The floor: a bare ASGI app on the very server settings of `boxoffice serve`.

python load/bench/hello.py PORT
"""

from __future__ import annotations

import sys

from starlette.types import Receive, Scope, Send

from boxoffice.server import run_server
from boxoffice.settings import Settings

_BODY = b'{"hello":"world"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


if __name__ == "__main__":
    run_server(hello, Settings(), int(sys.argv[1]), leave=lambda: None)
