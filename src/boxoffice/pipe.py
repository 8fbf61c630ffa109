"""One connection to Redis that many requests share.

Commands issued in the same turn of the event loop leave in one write; replies come back in the order of the
commands. A caller that is cancelled, or whose deadline passes, leaves its slot in the queue behind, so the
connection never loses step and is never thrown away for it. redis-py hands one connection to one command at a
time, which costs several times as much per call and a connection per cancelled request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import hiredis

from boxoffice.errors import StoreUnavailable
from boxoffice.rediscalls import BROKEN, CALLS, CONNECTS, FULL, LATE, REFUSED, UNREACHABLE
from boxoffice.storeurl import Access, Address

MAX_PENDING = 20_000
SWEEP_SECONDS = 0.05


class Pipe(asyncio.Protocol):
    """Use `connect`, then `send`. `closed` is set once the connection is gone; a Pipe is never reopened."""

    def __init__(self, deadline_seconds: float) -> None:
        self.closed = asyncio.Event()
        self.run_id = b""
        self.info: Mapping[bytes, bytes] = {}
        """What INFO said when the connection was opened."""
        self._deadline = deadline_seconds
        self._reader = hiredis.Reader(replyError=_reply_error)
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, address: Address, access: Access, deadline_seconds: float) -> Pipe:
        """Opens the connection, signs in, and reads the server's run_id. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_seconds):
                _, pipe = await loop.create_connection(lambda: cls(deadline_seconds), *address, ssl=access.tls)
                await pipe._sign_in(access)
        except (OSError, TimeoutError) as error:
            UNREACHABLE.inc()
            raise StoreUnavailable(f"Redis is out of reach at {address}: {error or 'no answer'}") from None
        return pipe

    async def _sign_in(self, access: Access) -> None:
        """Raises StoreUnavailable: a wrong password, or a server that is still loading, is one that is not there."""
        try:
            if access.password:
                await self.send("AUTH", *([access.user] if access.user else []), access.password)
            if access.database:
                await self.send("SELECT", access.database)
            self.info = fields_of(await self.send("INFO"))
        except BaseException as error:
            self.abort()
            if isinstance(error, ReplyError):
                raise StoreUnavailable(f"Redis does not let us in: {error}") from None
            raise
        self.run_id = self.info[b"run_id"]

    def send(self, *command: str | bytes | int | float) -> asyncio.Future[Any]:
        """Queues one command. The future gives the reply, or raises ReplyError or StoreUnavailable."""
        future = self._loop.create_future()
        if self.closed.is_set():
            future.set_exception(StoreUnavailable("the connection to Redis is gone"))
        elif len(self._pending) >= MAX_PENDING:
            FULL.inc()
            future.set_exception(StoreUnavailable("too many calls wait for Redis", retry_after=5))
        else:
            packed = hiredis.pack_command(command)  # type: ignore[arg-type]
            self._enqueue(packed, future)
        return future

    def _enqueue(self, packed: bytes, future: asyncio.Future[Any]) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        self._pending.append((future, self._loop.time() + self._deadline))
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _flush(self) -> None:
        if self._transport is not None and not self.closed.is_set():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _sweep(self) -> None:
        """Ends the wait of callers whose deadline has passed; their slots stay to absorb the reply."""
        self._sweeper = None
        now = self._loop.time()
        for future, deadline in self._pending:
            if deadline > now:
                break
            if not future.done():
                LATE.inc()
                future.set_exception(StoreUnavailable("Redis did not answer in time"))
        if self._pending:
            late = now - self._pending[0][1]
            if late > self._deadline:
                self.abort()  # a server that is silent for twice the deadline: connect anew
                return
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        CONNECTS.inc()
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        now = self._loop.time() + self._deadline
        while (reply := self._reader.gets()) is not False:
            future, deadline = self._pending.popleft()
            CALLS.seconds.add(now - deadline)
            if future.done():
                continue
            if isinstance(reply, ReplyError):
                REFUSED.inc()
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for future, _ in self._pending:
            if not future.done():
                BROKEN.inc()
                future.set_exception(StoreUnavailable("the connection to Redis broke; outcome unknown"))
        self._pending.clear()

    def abort(self) -> None:
        """At once; whoever waits for a reply hears that its outcome is unknown."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            await self.closed.wait()


def fields_of(info: bytes) -> dict[bytes, bytes]:
    """What INFO and its like answer: `name:value` lines."""
    return dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)


class ReplyError(Exception):
    """Redis refused a command; the text is Redis' own."""


def _reply_error(text: str) -> ReplyError:
    return ReplyError(text)
