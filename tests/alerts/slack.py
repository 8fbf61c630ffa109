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


class Attachment(msgspec.Struct, frozen=True):
    """Of what Alertmanager posts, that which people see. Slack wants a fallback for notifications."""

    title: str
    text: str
    fallback: str
    footer: str
    color: str
    title_link: str = ""


class Message(msgspec.Struct, frozen=True):
    attachments: list[Attachment]
    channel: str = ""


class Slack:
    """`messages` are the channel and what was posted there, the oldest first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[tuple[str, Attachment]] = []
        self._more = asyncio.Condition()

    async def take(self, request: Request) -> PlainTextResponse:
        message = msgspec.json.decode(await request.body(), type=Message)
        async with self._more:
            self.messages += [(request.path_params["channel"], each) for each in message.attachments]
            self._more.notify_all()
        return PlainTextResponse("ok")

    async def until(self, holds: Callable[[str, Attachment], bool], after: int = 0, seconds: float = 90.0) -> int:
        """The number of the first message that does, from `after` on."""
        async with asyncio.timeout(seconds), self._more:
            while True:
                for number, (channel, attachment) in enumerate(self.messages[after:], after):
                    if holds(channel, attachment):
                        return number
                await self._more.wait()


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
