"""Traces at a real collector: one of a buyer's whole way, through Kafka; and none where none was asked for."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from boxoffice.embedded import EmbeddedStore
from boxoffice.eventlog import prepare_log
from boxoffice.local.kafka import LocalKafka
from boxoffice.ports import free_ports
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.buyer import Buyer
from tests.integration.collector import Collector, Span, drawn, open_collector
from tests.integration.house import SALE, House, open_house, resource
from tests.integration.pod import open_pod, settings_of
from tests.integration.test_eventlog_contract import everything

ON_THE_WAY = {
    "boxoffice-serve": {"join", "claim", "hold", "order", "publish", "redis join", "redis claim", "redis take"}
    | {"redis pay", "redis published"},
    "boxoffice-settle": {"settle", "charge", "commit"},
}
OPEN, ASKED, DECLINED = "02", "01", "00"


class Traced(Buyer):
    """Sends one trace with all that it asks, as our pages do."""

    def __init__(self, client: httpx2.AsyncClient, url: str, flags: str = OPEN) -> None:
        super().__init__(client, url, SALE)
        self.trace, self.span, self.flags = secrets.token_hex(16), secrets.token_hex(8), flags

    async def send(self, method: str, path: str, token: str = "", **more: Any) -> httpx2.Response:
        headers = more.pop("headers", {}) | {"traceparent": f"00-{self.trace}-{self.span}-{self.flags}"}
        return await super().send(method, path, token, headers=headers, **more)

    async def buy(self) -> str:
        await self.enter()
        answer = await self.pay((await self.hold()).json()["id"], "k")
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with open_collector() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    collector: Collector, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("traced")
    changes = {"traces_url": collector.url, "traces_ratio": 1.0, **kafka.changes}
    async with open_house(folder, 1, **changes) as house:
        await house.apply(resource())
        yield house


def buyer_of(house: House, flags: str = OPEN) -> Traced:
    return Traced(house.client, house.stack.urls[0], flags)


def names_of(spans: list[Span]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for span in spans:
        names.setdefault(span.service, set()).add(span.name)
    return names


@pytest.mark.asyncio(loop_scope="module")
async def test_one_trace_from_joining_to_the_commit(house: House, collector: Collector) -> None:
    buyer = buyer_of(house)
    order = await buyer.buy()
    assert (await buyer.until_settled(order))["state"] == "paid"
    await collector.until(lambda: names_of(collector.trace(buyer.trace)) == ON_THE_WAY)
    spans = collector.trace(buyer.trace)
    print("\n" + drawn(spans))
    parents = {span.name: next((p.name for p in spans if p.id == span.parent), span.parent) for span in spans}
    steps = dict.fromkeys(("join", "claim", "hold", "order"), buyer.span)
    inside = {"publish": "order", "settle": "publish", "charge": "settle", "commit": "settle", "redis pay": "order"}
    assert parents.items() >= (steps | inside).items()
    [settled] = [span for span in spans if span.name == "settle"]
    assert settled.attributes == {"boxoffice.sale": SALE, "boxoffice.order": order, "boxoffice.state": "paid"}
    assert not any(span.failed for span in spans)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_batch_has_a_trace_of_its_own_with_links_to_its_orders(house: House, collector: Collector) -> None:
    buyer = buyer_of(house)
    await buyer.until_settled(await buyer.buy())
    await collector.until(lambda: any(span.name == "settle" for span in collector.trace(buyer.trace)))
    settle = next(span for span in collector.trace(buyer.trace) if span.name == "settle")
    await collector.until(lambda: any(settle.id in span.links for span in collector.spans))
    [batch] = [span for span in collector.spans if settle.id in span.links]
    assert batch.name == "batch"
    assert {span.name for span in collector.trace(batch.trace)} == {"batch", "commit"}


@pytest.mark.asyncio(loop_scope="module")
async def test_who_declines_is_not_traced(house: House, collector: Collector) -> None:
    declines, asks = buyer_of(house, DECLINED), buyer_of(house, ASKED)
    await declines.until_settled(await declines.buy())
    await asks.until_settled(await asks.buy())
    await collector.until(lambda: names_of(collector.trace(asks.trace)) == ON_THE_WAY)
    assert collector.trace(declines.trace) == []


async def test_what_is_not_sampled_goes_on_as_not_sampled(valkey: EmbeddedStore) -> None:
    """Whoever settles would trace it otherwise."""
    async with open_collector() as collector:
        settings = settings_of(valkey, traces_url=collector.url, traces_ratio=0.0, traces_per_second=0)
        await _prepare(settings)
        async with open_pod(settings) as pod:
            await pod.apply(resource())
            buyer = Traced(pod.client, pod.url, ASKED)
            await buyer.buy()
            [record] = await everything(pod.context.log)
    assert dict(record.headers)["traceparent"] == f"00-{buyer.trace}-{buyer.span}-00".encode()
    assert collector.spans == []


async def test_what_is_left_goes_out_at_the_end(valkey: EmbeddedStore) -> None:
    async with open_collector() as collector:
        settings = settings_of(valkey, traces_url=collector.url, traces_ratio=1.0)
        await _prepare(settings)
        async with open_pod(settings) as pod:
            await pod.apply(resource())
            await pod.buyer().join()
        assert {span.name for span in collector.spans} == {"join", "redis join"}
        [joined] = [span for span in collector.spans if span.name == "join"]
        assert joined.attributes["http.response.status_code"] == 201


@pytest.mark.parametrize("fault", ["refuses", "is not there"])
async def test_a_collector_that_fails_harms_nobody(valkey: EmbeddedStore, fault: str) -> None:
    async with open_collector() as collector:
        collector.status = 400
        url = collector.url if fault == "refuses" else f"http://127.0.0.1:{free_ports(1)[0]}/v1/traces"
        settings = settings_of(valkey, traces_url=url, traces_ratio=1.0)
        await _prepare(settings)
        async with open_pod(settings) as pod:
            await pod.apply(resource())
            assert await Traced(pod.client, pod.url).buy()
            if fault == "refuses":
                await collector.until(lambda: collector.asked > 0)
            assert (await pod.buyer().join()).status_code == 201


def test_off_nothing_of_it_is_imported() -> None:
    """redis-py imports the API of metrics wherever it is installed; that is its own."""
    code = "import sys, boxoffice.serving, boxoffice.settlement; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    ours = ("boxoffice.otlp", "opentelemetry.sdk.trace", "opentelemetry.exporter")
    assert "boxoffice.tracing" in loaded
    assert [module for module in loaded if module.startswith(ours)] == []


async def _prepare(settings: Settings) -> None:
    store = await Store.open(settings)
    await prepare_log(settings, store)
    await store.close()
