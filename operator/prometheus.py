"""Prometheus: one instant query a signal, and what its answer is worth. Never raises, never takes long.

Nothing, NaN and infinity, several series, an error and silence are all told apart, and none of them is zero. A sample
older than the signal's `staleSeconds` is no answer, though Prometheus would show one for five minutes: its parameter
`lookback_delta` says so; 2.42, which was tried, does not know it yet and needs `--query.lookback-delta=30s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from boxoffice.readings import Reading, measured
from boxoffice.spec import Signal

QUERY_SECONDS = 5.0
"""Half of a step of the controller."""
MOST_AT_ONCE = 8
MOST_BYTES = 1_000_000
"""A query for one number that gives more is not read to the end."""


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: Any = None


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""


class TooMuch(Exception):
    """The answer is larger than any number."""


class Prometheus:
    """Use `open_prometheus`."""

    def __init__(self, client: httpx2.AsyncClient, seconds: float) -> None:
        self._client, self._seconds = client, seconds
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def read(self, signals: Sequence[Signal]) -> list[Reading]:
        """One reading each, in their order."""
        return list(await asyncio.gather(*(self._read(signal) for signal in signals)))

    async def _read(self, signal: Signal) -> Reading:
        async with self._turns:
            try:
                async with asyncio.timeout(self._seconds):
                    return _reading(signal, await self._ask(signal))
            except TooMuch:
                return _none(signal, "inconclusive", f"the query gives more than {MOST_BYTES:,} bytes")
            except TimeoutError:
                return _none(signal, "error", f"no answer in {self._seconds:g} s")
            except Exception as error:  # whatever an answer may hold: one signal is no reason to lose the others
                return _none(signal, "error", f"{type(error).__name__}: {error}")

    async def _ask(self, signal: Signal) -> bytes:
        """What is wrong with a query stands in the body of a 400."""
        parameters = {"query": signal.query, "lookback_delta": f"{signal.stale_seconds}s"}
        body = bytearray()
        async with self._client.stream("GET", "/api/v1/query", params=parameters) as answer:
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise TooMuch
            if answer.status_code >= 500 or not body.startswith(b"{"):
                raise httpx2.HTTPError(f"Prometheus answers {answer.status_code}")
        return bytes(body)


@asynccontextmanager
async def open_prometheus(url: str, seconds: float = QUERY_SECONDS) -> AsyncIterator[Prometheus]:
    """`seconds`: how long one query may take."""
    async with httpx2.AsyncClient(base_url=url, timeout=seconds) as client:
        yield Prometheus(client, seconds)


def _reading(signal: Signal, body: bytes) -> Reading:
    answer = msgspec.json.decode(body, type=_Answer)
    if answer.status != "success":
        return _none(signal, "error", answer.error or "Prometheus answers with an error that it does not name")
    kind, result = answer.data.result_type, answer.data.result
    if kind == "scalar":
        return _number(signal, result)
    if kind != "vector":
        return _none(signal, "inconclusive", f"the query gives a {kind}, not a number")
    if not result:
        return _none(signal, "inconclusive", "the query gives nothing")
    if len(result) > 1:
        return _none(signal, "inconclusive", f"the query gives {len(result)} series, not one: sum() or max() them")
    if "value" not in result[0]:
        return _none(signal, "inconclusive", "the query gives a histogram, not a number")
    return _number(signal, result[0]["value"])


def _number(signal: Signal, sample: Any) -> Reading:
    at, text = sample
    return measured(signal, float(text), float(at))


def _none(signal: Signal, outcome: Any, message: str) -> Reading:
    return Reading(name=signal.name, outcome=outcome, message=message[:300])
