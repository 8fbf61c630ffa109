"""What a sale needs, from what a request costs: pods, cores, memory, partitions, money."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from boxoffice.errors import Unprocessable
from boxoffice.plant import World
from boxoffice.seating import size_of
from boxoffice.simulate import Moment, Seller, simulate
from boxoffice.snapshot import POLL_MAX_SECONDS, POLL_MIN_SECONDS
from boxoffice.spec import Spec

JOIN_SECONDS = 60.0
"""Most of a crowd comes within the first minute of the pre-queue, or of the opening."""
JOIN_PEAK = 2.0
"""Of the busiest second over the mean of that minute."""
POD_LOAD = 0.6
"""Of a core; the rest is for what comes in bursts. An app process has one core."""
SPARE_PODS = 1
"""One may be gone: a node, a rollout."""
SETTLED_PER_SECOND = 1500
"""Orders of two tickets a second that one settle process takes from Kafka into MySQL: two thirds of what `make
bench-settle` measures with a gateway of 200 ms, on two cores that the engines share."""
PARTITION_ORDERS = 250
"""A second, each: a partition is one consumer's, and its batches wait for the gateway (200 ms)."""
MAP_SECONDS = 3.0
"""How often the page of a buyer inside asks for the seats; see web/seats.js."""
VISIT_REQUESTS = {"join": 1, "seatMap": 1, "hold": 2, "whereabouts": 3}
"""Of a buyer inside, beside that: a claim costs what a join does, a seat is lost to somebody else, the order is looked
after."""
PEAK_SECONDS = 10
"""Over which the busiest moment is a mean."""
FASTEST = 0.2
"""Calls a second at the opening, of initialActive; see `calls_per_second` in lua/pace.lua."""
LONGEST_SECONDS = 3 * 3600
"""A sale that is not sold out by then has seen its peak."""
REDIS_INSIDE_BYTES, REDIS_SEAT_BYTES, REDIS_BASE_BYTES = 2000, 200, 64 * 2**20
"""Of a buyer inside with session, holds and orders; of a seat with its owner; of the server itself: estimates."""
REDIS_SPARE = 2.0
"""A copy for a snapshot or a replica may take as much again."""


class BenchLine(msgspec.Struct, rename="camel"):
    name: str
    cpu_micros: float


class BenchMemory(msgspec.Struct, rename="camel"):
    bytes_per_buyer: float


class Bench(msgspec.Struct):
    """What a plan needs of the JSON of `make bench`."""

    lines: list[BenchLine]
    memory: BenchMemory


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """An hour, each."""

    core: float = 0.04
    gibibyte: float = 0.005


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """For the busiest minute of a sale."""

    crowd: int
    peak_joins_per_second: float
    peak_polls_per_second: float
    peak_orders_per_second: float
    peak_requests_per_second: float
    mean_requests_per_second: float
    """Of the time in which it sells."""
    app_cores: float
    app_pods: int
    settle_pods: int
    partitions: int
    redis_mebibytes: int
    inside: int
    selling_minutes: float
    cost_per_hour: float
    cost_of_sale: float


def parse_bench(text: bytes) -> dict[str, float]:
    """CPU microseconds a request by kind, and `bytes` of a buyer who waits. Raises Unprocessable."""
    try:
        bench = msgspec.json.decode(text, type=Bench)
    except msgspec.MsgspecError as error:
        raise Unprocessable(f"this is no JSON of `make bench`: {error}", code="invalid_bench") from None
    costs = {line.name: line.cpu_micros for line in bench.lines} | {"bytes": bench.memory.bytes_per_buyer}
    if missing := {"line", "join", "order", *VISIT_REQUESTS} - costs.keys():
        raise Unprocessable(f"the bench says nothing of {', '.join(sorted(missing))}", code="invalid_bench")
    return costs


def plan(
    spec: Spec,
    crowd: int,
    costs: Mapping[str, float],
    prices: Prices,
    world: World,
    join_seconds: float = JOIN_SECONDS,
) -> Plan:
    """Simulates the sale to see how many come in. Raises BadInput when there is no Lua."""
    seats = sum(map(size_of, spec.seating.sections))
    line = min(crowd, spec.line.max_waiting)
    run = simulate([Seller(name="plan", spec=spec, seats=seats, crowd=line)], world, 1, LONGEST_SECONDS)[0]
    inside, selling = max(moment.inside for moment in run.moments), _selling(run.moments, spec, world)
    phases = [_coming(line, spec, join_seconds), *selling]
    orders = max(rates["order"] for rates in selling)
    cores = max(sum(rate * costs[name] for name, rate in rates.items()) for rates in phases) / 1e6
    pods = math.ceil(cores / POD_LOAD) + SPARE_PODS
    settles = math.ceil(orders / SETTLED_PER_SECOND) + SPARE_PODS
    memory = _redis_bytes(line, inside, seats, costs["bytes"])
    hours = run.moments[-1].at / 3600
    hourly = (pods + settles) * prices.core + memory / 2**30 * prices.gibibyte
    return Plan(
        crowd=crowd,
        peak_joins_per_second=round(phases[0]["join"], 1),
        peak_polls_per_second=round(max(rates["line"] for rates in phases), 1),
        peak_orders_per_second=round(orders, 1),
        peak_requests_per_second=round(max(sum(rates.values()) for rates in phases), 1),
        mean_requests_per_second=round(fmean(sum(rates.values()) for rates in selling), 1),
        app_cores=round(cores, 2),
        app_pods=pods,
        settle_pods=settles,
        partitions=max(settles, math.ceil(orders / PARTITION_ORDERS)),
        redis_mebibytes=math.ceil(memory / 2**20),
        inside=inside,
        selling_minutes=round(hours * 60, 1),
        cost_per_hour=round(hourly, 2),
        cost_of_sale=round(hourly * max(hours, 1 / 60), 2),
    )


def _coming(line: int, spec: Spec, join_seconds: float) -> dict[str, float]:
    """Requests a second, by kind, while the crowd comes: the last of them join, and the others ask."""
    fastest = FASTEST * spec.admission.initial_active
    return {"join": line / join_seconds * JOIN_PEAK, "line": _polls(line, fastest, spec)}


def _selling(moments: Sequence[Moment], spec: Spec, world: World) -> list[dict[str, float]]:
    """The same for every stretch of PEAK_SECONDS after the opening."""
    stretches = [moments[at : at + PEAK_SECONDS] for at in range(0, len(moments), PEAK_SECONDS)]
    called = [0, *(part[-1].called for part in stretches)]
    calls = [(b - a) / len(part) for a, b, part in zip(called, called[1:], stretches, strict=False)]
    return [_inside(part, each, spec, world) for part, each in zip(stretches, calls, strict=True)]


def _inside(moments: Sequence[Moment], calls: float, spec: Spec, world: World) -> dict[str, float]:
    """`calls` a second."""
    visits = calls * world.show
    rates = {name: times * visits for name, times in VISIT_REQUESTS.items()}
    rates["seatMap"] += fmean(m.inside for m in moments) / MAP_SECONDS
    asked = fmean(_polls(m.waiting, m.rate, spec) for m in moments)
    return rates | {"line": asked, "order": visits * world.buys}


def _polls(waiting: float, rate: float, spec: Spec) -> float:
    """Of a whole line, a second: each waits a tenth of the time that is left before it asks again; `line.next_poll`."""
    most = max(POLL_MIN_SECONDS, min(POLL_MAX_SECONDS, spec.line.claim_seconds // 3))
    near, far = (min(waiting, 10 * seconds * rate) for seconds in (POLL_MIN_SECONDS, most))
    between = 10 * rate * math.log(far / near) if near else 0.0
    return near / POLL_MIN_SECONDS + between + (waiting - far) / most


def _redis_bytes(waiting: int, inside: int, seats: int, each: float) -> float:
    return REDIS_BASE_BYTES + REDIS_SPARE * (waiting * each + inside * REDIS_INSIDE_BYTES + seats * REDIS_SEAT_BYTES)
