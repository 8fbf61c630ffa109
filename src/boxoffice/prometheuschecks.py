"""Whether Prometheus answers what the signals of a sale ask, and tells somebody when something is wrong."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import msgspec

from boxoffice.check import Check, failed, ok, warning
from boxoffice.errors import told
from boxoffice.spec import Signal

SECONDS = 5.0
ALERTS_PATH = "/api/v2/alerts"
IDLE = "NaN"
"""What a query says that divides by what has not happened yet: the operator takes it for no reason to brake."""
NO_URL = "set prometheusUrl in the chart's values (BOXOFFICE_PROMETHEUS_URL)"


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: Any = None
    active_alertmanagers: list[dict[str, str]] = []


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""


class _Receiver(msgspec.Struct):
    name: str


async def prometheus_checks(url: str, signals: Sequence[Signal]) -> AsyncIterator[Check]:
    if not url:
        if signals:
            yield failed("prometheus", f"not set, and {len(signals)} signals wait for it", NO_URL)
        else:
            yield warning("prometheus", "not set: the number inside stays at initialActive", NO_URL)
        return
    async with httpx2.AsyncClient(base_url=url, timeout=SECONDS) as client:
        fault = await _fault(client, "vector(1)", SECONDS)
        if fault:
            yield failed("prometheus", f"{url}: {fault}", f"look whether it runs and may be reached; {NO_URL}")
            return
        yield ok("prometheus", f"{url} answers")
        for signal in signals:
            yield await _signal(client, signal)
        yield await _alert_route(client)


async def _signal(client: httpx2.AsyncClient, signal: Signal) -> Check:
    name = f"signal {signal.name}"
    fault = await _fault(client, signal.query, signal.stale_seconds)
    if fault == IDLE:
        return warning(
            name, f"{IDLE}: it has nothing to measure now", "look again while somebody buys; a rehearsal does"
        )
    if fault:
        return failed(name, fault, f"try the query in Prometheus, and mend it in spec.signals: {signal.query}")
    return ok(name, "one fresh number")


async def _fault(client: httpx2.AsyncClient, query: str, stale_seconds: float) -> str:
    """Why this is not one fresh number; nothing when it is."""
    try:
        looking_back = {"lookback_delta": f"{stale_seconds:.0f}s"}  # a sample that is older counts as none
        answer = await _asked(client, "/api/v1/query", {"query": query, **looking_back})
    except (httpx2.HTTPError, msgspec.MsgspecError) as error:
        return f"no answer: {told(error)}"
    if answer.status != "success":
        return answer.error
    result = answer.data.result
    if answer.data.result_type == "scalar":
        return _stale_or_no_number(result, stale_seconds)
    if answer.data.result_type != "vector" or len(result) != 1:
        count = len(result) if isinstance(result, list) else 0
        return f"a {answer.data.result_type} of {count}, where one number is wanted"
    return _stale_or_no_number(result[0]["value"], stale_seconds)


def _stale_or_no_number(sample: Any, stale_seconds: float) -> str:
    at, text = sample
    if text == IDLE:
        return IDLE
    if not math.isfinite(float(text)):
        return f"{text} is no number"
    age = time.time() - float(at)
    return f"{age:.0f} s old, more than {stale_seconds:.0f} s" if abs(age) > stale_seconds else ""


async def _alert_route(client: httpx2.AsyncClient) -> Check:
    mend = "give Prometheus an Alertmanager, and that a receiver which wakes somebody"
    try:
        managers = (await _asked(client, "/api/v1/alertmanagers", {})).data.active_alertmanagers
        urls = [manager["url"].removesuffix(ALERTS_PATH) for manager in managers]
        if not urls:
            return warning("alert route", "Prometheus knows no Alertmanager", mend)
        answer = await client.get(f"{urls[0]}/api/v2/receivers")
        names = [each.name for each in msgspec.json.decode(answer.content, type=list[_Receiver])]
    except (httpx2.HTTPError, msgspec.MsgspecError) as error:
        return warning("alert route", f"cannot be seen: {told(error)}", mend)
    return ok("alert route", f"{len(urls)} Alertmanager, receivers: {', '.join(names)}")


async def _asked(client: httpx2.AsyncClient, path: str, parameters: dict[str, str]) -> _Answer:
    """Prometheus says what is wrong with a query in the body of a 400."""
    answer = await client.get(path, params=parameters)
    return msgspec.json.decode(answer.content, type=_Answer)
