"""As much of Grafana as it takes to ask what a dashboard asks: its variables put in as Grafana does, its queries."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec

VALUES = re.compile(r"label_values\((.*), *(\w+)\)")
SPECIAL = re.compile(r"[\\^$*+?.()|{}\[\]]")
ALL = "$__all"
FIRST: Mapping[str, str] = {}


class Query(NamedTuple):
    board: str
    panel: int
    title: str
    expr: str
    legend: str


class Span(NamedTuple):
    """Of time, in Unix seconds."""

    start: float
    end: float
    step: float


class Curve(NamedTuple):
    labels: dict[str, str]
    points: list[tuple[float, float]]
    """Without those that are NaN."""


class Grafana:
    """Asks a Prometheus that scrapes every `scrape` seconds for one dashboard."""

    def __init__(
        self, client: httpx2.AsyncClient, board: Path, scrape: float, chosen: Mapping[str, str] = FIRST
    ) -> None:
        """`client` has the Prometheus' address as its base; `chosen` are values of variables."""
        self._client, self._scrape, self._chosen = client, scrape, chosen
        self.board: dict[str, Any] = msgspec.json.decode(board.read_bytes())

    def queries(self) -> Iterator[Query]:
        for panel in self.board["panels"]:
            for target in panel.get("targets", ()):
                yield Query(self.board["uid"], panel["id"], panel["title"], target["expr"], target["legendFormat"])

    async def curves(self, query: Query, values: dict[str, str], span: Span) -> list[Curve]:
        """Also of panels that show one number: what they showed at each step. `values`: of the variables."""
        expr = filled(query.expr, values | self._intervals(span))
        times = {"start": span.start, "end": span.end, "step": span.step}
        found = (await self._ask("query_range", {"query": expr, **times}))["result"]
        curves = (Curve(one["metric"], [*_numbers(one["values"])]) for one in found)
        return [curve for curve in curves if curve.points]

    async def variables(self, span: Span) -> dict[str, str]:
        """What was chosen, else what each is at first; those that ask are asked in order, for one may need another."""
        values: dict[str, str] = {}
        for variable in self.board["templating"]["list"]:
            if variable["type"] == "query":
                name = variable["name"]
                values[name] = self._chosen.get(name) or await self._value(variable, values, span)
        return values

    async def _value(self, variable: dict[str, Any], before: dict[str, str], span: Span) -> str:
        if (everything := variable.get("current", {}).get("value") == ALL) and variable.get("allValue"):
            return str(variable["allValue"])
        asked = VALUES.fullmatch(filled(variable["query"], before))
        assert asked, variable["query"]
        found = await self._ask(f"label/{asked[2]}/values", {"match[]": asked[1], "start": span.start, "end": span.end})
        if not everything:
            return next(iter(found), "")
        return f"({'|'.join(map(_escaped, found))})"

    def _intervals(self, span: Span) -> dict[str, str]:
        rate = max(span.step + self._scrape, 4 * self._scrape)
        return {"__rate_interval": f"{math.ceil(rate)}s", "__interval": f"{math.ceil(span.step)}s"}

    async def _ask(self, what: str, parameters: dict[str, Any]) -> Any:
        document = (await self._client.get(f"/api/v1/{what}", params=parameters)).json()
        assert document["status"] == "success", f"{parameters}: {document}"
        return document["data"]


def filled(text: str, values: dict[str, str]) -> str:
    """With the variables' values in place of `$name` and `${name}`; what is no variable stays."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], found[0]), text)


def _escaped(value: str) -> str:
    """For a regular expression inside of a PromQL string."""
    return SPECIAL.sub(lambda found: "\\\\" + found[0], value)


def _numbers(values: list[tuple[float, str]]) -> Iterator[tuple[float, float]]:
    for at, text in values:
        if not math.isnan(number := float(text)):
            yield at, number
