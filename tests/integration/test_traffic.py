"""What a pod counts of its answers, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from boxoffice.embedded import EmbeddedStore
from boxoffice.traffic import ADMITTED, BOUNDS, OUTCOMES, STEPS
from tests.integration.house import resource
from tests.integration.pod import Pod, open_pod, settings_of


async def read(pod: Pod) -> list[Sample]:
    text = (await pod.client.get(f"{pod.url}/metrics")).text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


async def requests(pod: Pod) -> dict[str, float]:
    """By step and outcome, those above 0."""
    found = [sample for sample in await read(pod) if sample.name == "boxoffice_requests_total"]
    return {f"{one.labels['step']} {one.labels['outcome']}": one.value for one in found if one.value}


async def timed(pod: Pod, what: str) -> dict[str, float]:
    """`count` or `sum`, by step."""
    found = [sample for sample in await read(pod) if sample.name == f"boxoffice_request_seconds_{what}"]
    return {sample.labels["step"]: sample.value for sample in found}


async def test_answers_are_counted_by_step_and_outcome(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource())
        quiet = await requests(pod)
        buyer = pod.buyer()
        await buyer.enter()
        hold = (await buyer.hold()).json()["id"]
        assert (await buyer.hold(count=99)).status_code == 422
        await buyer.pay(hold, "once")
        etag = (await buyer.send("GET", "/line")).headers["etag"]
        assert (await buyer.send("GET", "/line", headers={"if-none-match": etag})).status_code == 304
        assert (await buyer.send("GET", "/nowhere")).status_code == 404
        found = await requests(pod)
        polls = found.pop("whereabouts 2xx")
        early = found.pop("claim 4xx", 0)
    assert quiet.keys() == {"other 2xx"}
    assert polls >= 1
    assert early >= 0
    assert found == {
        "line 2xx": 2,
        "join 2xx": 1,
        "claim 2xx": 1,
        "hold 2xx": 1,
        "hold 4xx": 1,
        "order 2xx": 1,
        "other 2xx": quiet["other 2xx"] + 1,
        "other 4xx": 1,
    }


async def test_admitted_work_is_timed_and_refusals_are_not(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource())
        buyer = pod.buyer()
        await buyer.enter()
        assert (await buyer.hold()).status_code == 201
        assert (await buyer.hold(count=99)).status_code == 422
        assert await timed(pod, "count") == {"hold": 1, "order": 0}
        assert 0 < (await timed(pod, "sum"))["hold"] < 5


async def test_every_series_is_there_from_the_start(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        names = Counter(sample.name for sample in await read(pod))
    assert names["boxoffice_requests_total"] == len(STEPS) * len(OUTCOMES)
    assert names["boxoffice_request_seconds_bucket"] == len(ADMITTED) * (len(BOUNDS) + 1)


async def test_a_redis_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    server = EmbeddedStore(tmp_path)
    await server.start()
    async with open_pod(settings_of(server)) as pod:
        await pod.apply(resource())
        buyer = pod.buyer()
        await buyer.enter()
        await server.stop()
        assert (await buyer.hold()).status_code == 503
        assert (await requests(pod))["hold 5xx"] == 1
        assert (await timed(pod, "count"))["hold"] == 1
        await server.start()
    await server.stop()
