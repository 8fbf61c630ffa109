"""How a back end was used while a crowd was there, as Prometheus remembers it: asked over HTTP, or from a file."""

from __future__ import annotations

import math
from collections.abc import Sequence

import httpx2
import msgspec

from boxoffice.errors import BadInput, told
from boxoffice.rangeexport import read_export
from boxoffice.spec import Signal

STEP_SECONDS = 5
SECONDS = 20.0
TARGET, SERVER_ERRORS = "target", "5xx"
"""Beside the signals: how many should be inside; and answers of 5xx within 15 s, by the pods' own count."""

Curve = list[tuple[float, float]]
"""Unix time and value."""


def queries(sale: str, signals: Sequence[Signal]) -> dict[str, str]:
    return {
        TARGET: f'max(boxoffice_admission_target{{sale="{sale}"}})',
        SERVER_ERRORS: 'sum(increase(boxoffice_requests_total{outcome="5xx"}[15s]))',
        **{signal.name: signal.query for signal in signals},
    }


async def ask_prometheus(url: str, wanted: dict[str, str], begin: float, end: float) -> dict[str, Curve]:
    """What there is of each; nothing of what is no one series. Raises BadInput when it does not answer."""
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=SECONDS) as client:
            return {name: await _ask(client, query, begin, end) for name, query in wanted.items()}
    except (httpx2.HTTPError, msgspec.MsgspecError) as error:
        raise BadInput(f"{url}: no answer of query_range: {told(error)}") from None


async def _ask(client: httpx2.AsyncClient, query: str, begin: float, end: float) -> Curve:
    within = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{STEP_SECONDS}"}
    answer = await client.get("/api/v1/query_range", params={"query": query, **within})
    answer.raise_for_status()
    series = list(read_export(answer.content, label="").values())
    return _finite(series[0]) if len(series) == 1 else []


def read_curves(text: bytes) -> dict[str, Curve]:
    """An answer of query_range whose series carry the label `signal`. Raises Unprocessable."""
    return {name: _finite(series) for name, series in read_export(text).items()}


def _finite(series: dict[float, float]) -> Curve:
    return [(at, value) for at, value in sorted(series.items()) if math.isfinite(value)]
