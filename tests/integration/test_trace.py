"""A buyer's request leaves its trace context beside the record in the log, whichever log it is."""

from __future__ import annotations

from typing import Any

import pytest

from boxoffice.embedded import EmbeddedStore
from boxoffice.eventlog import prepare_log
from boxoffice.local.kafka import LocalKafka
from boxoffice.store import Store
from tests.integration.house import resource
from tests.integration.pod import open_pod, settings_of
from tests.integration.test_eventlog_contract import everything

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(params=["streams", "kafka"])
def changes(request: pytest.FixtureRequest) -> dict[str, Any]:
    kafka: LocalKafka | None = request.getfixturevalue("kafka") if request.param == "kafka" else None
    return kafka.changes if kafka else {}


async def test_the_trace_of_a_payment_is_in_the_log(valkey: EmbeddedStore, changes: dict[str, Any]) -> None:
    settings = settings_of(valkey, **changes)
    store = await Store.open(settings)
    await prepare_log(settings, store)
    await store.close()
    async with open_pod(settings) as pod:
        await pod.apply(resource())
        for trace in (TRACE, "not a trace"):
            buyer = pod.buyer()
            await buyer.enter()
            hold = (await buyer.hold()).json()["id"]
            body = {"hold": hold, "paymentMethod": "pm_card_visa"}
            headers = {"idempotency-key": "k", "traceparent": trace}
            answer = await buyer.send("POST", "/orders", buyer.admission, json=body, headers=headers)
            assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
        records = await everything(pod.context.log)
    assert all(dict(record.headers)["schema-version"] == b"1" for record in records)
    traces = [value for record in records for name, value in record.headers if name == "traceparent"]
    assert traces == [TRACE.encode()]
