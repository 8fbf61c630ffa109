"""A back end as Prometheus remembers it: how many were inside, how it was used then, and what follows for capacity.

The file is the answer of `/api/v1/query_range`. Its series carry a label `signal`: `inside` for the number inside, and
a signal's name for each signal; one query makes it:

  label_replace(sum(boxoffice_admission_inside), "signal", "inside", "", "")
    or label_replace(<the signal's query>, "signal", "DatabaseCpu", "", "")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import msgspec
from msgspec.structs import replace

from boxoffice.errors import Unprocessable
from boxoffice.plant import World
from boxoffice.spec import Signal

LEAST_POINTS = 10
INSIDE = "inside"


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: list[_Series]


class _Export(msgspec.Struct):
    status: str
    data: _Data


def fitted(world: World, text: bytes, signals: Sequence[Signal]) -> World:
    """The world with the capacity, and the noise, that the night of the export had. Raises Unprocessable."""
    series = read_export(text)
    if INSIDE not in series:
        raise Unprocessable('the export has no series with the label signal="inside"', code="invalid_export")
    names = [s.name for s in signals if s.kind == "Utilisation" and s.name in series]
    if not names:
        wanted = ", ".join(s.name for s in signals if s.kind == "Utilisation")
        raise Unprocessable(f"the export has no series of a Utilisation signal ({wanted})", code="invalid_export")
    pairs = [_pairs(series[INSIDE], series[name]) for name in names]
    if min(map(len, pairs)) < LEAST_POINTS:
        raise Unprocessable(
            f"the export has fewer than {LEAST_POINTS} points with somebody inside", code="invalid_export"
        )
    capacity, noise = min(map(_fit, pairs))
    return replace(world, capacity=capacity, noise=noise * math.sqrt(world.window_seconds))


def read_export(text: bytes, label: str = "signal") -> dict[str, dict[float, float]]:
    """Series by a label; without one by their place in the answer. Raises Unprocessable."""
    try:
        found = msgspec.json.decode(text, type=_Export).data.result
        names = [s.metric.get(label, "") if label else str(place) for place, s in enumerate(found)]
        return {name: {at: float(value) for at, value in s.values} for name, s in zip(names, found, strict=True)}
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unprocessable(f"this is no answer of query_range: {error}", code="invalid_export") from None


def _pairs(inside: dict[float, float], usage: dict[float, float]) -> list[tuple[float, float]]:
    both = [(inside[at], usage[at]) for at in inside.keys() & usage.keys()]
    return [(n, u) for n, u in both if n > 0 and 0 < u < math.inf]


def _fit(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Inside / usage is the capacity; the median, for the ends of a night are odd."""
    each = [n / u for n, u in pairs]
    capacity = median(each)
    return capacity, min(1.0, median(abs(one / capacity - 1) for one in each) * 1.48)
