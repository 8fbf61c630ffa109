"""What a sale needs: more for more, and never nothing."""

from __future__ import annotations

from math import log
from pathlib import Path

import msgspec
import pytest

from boxoffice.capacityplan import Plan, Prices, parse_bench, plan
from boxoffice.errors import Unprocessable
from boxoffice.plant import World
from boxoffice.sale import parse_sale

SPEC = parse_sale((Path(__file__).parents[2] / "manifests/concertsale.yaml").read_bytes()).spec
MICROS = {"line": 40.0, "whereabouts": 47.0, "seatMap": 50.0, "join": 210.0, "hold": 190.0, "order": 600.0}


def bench(micros: dict[str, float]) -> bytes:
    lines = [{"name": name, "cpuMicros": each, "requestsPerSecond": 1} for name, each in micros.items()]
    return msgspec.json.encode({"lines": lines, "memory": {"waiting": 1, "bytesPerBuyer": 120.0}, "passed": True})


def planned(crowd: int) -> Plan:
    return plan(SPEC, crowd, parse_bench(bench(MICROS)), Prices(), World())


def test_by_hand() -> None:
    found = planned(200_000)
    assert 1500 < found.inside <= 2000
    assert 10 < found.selling_minutes < 25, "holds of five minutes lapse, twice over"
    assert found.peak_joins_per_second == pytest.approx(200_000 / 60 * 2, abs=0.1)
    pace = 400 / 5  # calls a second that fill the house at the opening; each poll is a tenth of the wait
    polls = 20 * pace / 2 + 10 * pace * log(300 / 20) + (200_000 - 300 * pace) / 30
    assert found.peak_polls_per_second == pytest.approx(polls, abs=0.1)
    assert found.peak_requests_per_second == pytest.approx(polls + 200_000 / 60 * 2, abs=0.2)
    assert 200_000 / 30 < found.mean_requests_per_second < polls
    assert 10 < found.peak_orders_per_second < 50
    assert (found.app_pods, found.settle_pods, found.partitions) == (4, 2, 2)
    assert 64 + 48 < found.redis_mebibytes < 64 + 64


def test_more_buyers_need_no_less() -> None:
    plans = [msgspec.to_builtins(planned(crowd)) for crowd in (1, 100, 10_000, 10_000_000)]
    for name in ("peakRequestsPerSecond", "appCores", "appPods", "settlePods", "partitions", "redisMebibytes"):
        values = [each[name] for each in plans]
        assert values == sorted(values)
    assert min(plans[0][name] for name in ("appPods", "settlePods", "partitions", "redisMebibytes")) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"[]", "no JSON of `make bench`"), (bench({"line": 1.0}), "says nothing of hold, join, order")],
)
def test_no_bench(text: bytes, message: str) -> None:
    with pytest.raises(Unprocessable, match=message):
        parse_bench(text)
