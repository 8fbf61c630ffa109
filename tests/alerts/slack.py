"""A stand-in for Slack's incoming webhooks: it takes what a real Alertmanager posts, and keeps it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

CHANNELS = ("pages", "tickets")
MOST_SECONDS = 90.0


class Attachment(msgspec.Struct, frozen=True):
    """Of what Alertmanager posts, that which people see. Slack wants a fallback for notifications."""

    title: str
    text: str
    fallback: str
    footer: str
    color: str
    title_link: str = ""


class _Body(msgspec.Struct, frozen=True):
    attachments: list[Attachment]


class Slack:
    """`messages` are the channel and what was posted there, the oldest first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[tuple[str, Attachment]] = []
        self._more = asyncio.Condition()

    async def take(self, request: Request) -> PlainTextResponse:
        body = msgspec.json.decode(await request.body(), type=_Body)
        async with self._more:
            self.messages += [(request.path_params["channel"], each) for each in body.attachments]
            self._more.notify_all()
        return PlainTextResponse("ok")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Looks again at each message."""
        async with asyncio.timeout(MOST_SECONDS), self._more:
            await self._more.wait_for(holds)

    def last(self, name: str, severity: str, sale: str = "") -> Attachment | None:
        """The newest message of an alert, and of that sale if it has one."""
        wanted = " · ".join([name, severity, *([f"sale {sale}"] if sale else [])])
        found = [message for _, message in self.messages if message.footer.partition(" · tickets")[0] == wanted]
        return found[-1] if found else None


@asynccontextmanager
async def open_slack() -> AsyncIterator[Slack]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        slack = Slack(f"http://127.0.0.1:{listening.getsockname()[1]}")
        app = Starlette(routes=[Route("/services/{channel}", slack.take, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False))
        serving = asyncio.create_task(server.serve([listening]))
        yield slack
        server.should_exit = True
        await serving
