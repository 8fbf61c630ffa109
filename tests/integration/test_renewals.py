"""What the log lost is published again from what Redis knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxoffice import renewals
from boxoffice.embedded import EmbeddedStore
from boxoffice.kafkatopics import prepare_topics
from boxoffice.ledger import open_ledger
from boxoffice.local.kafka import LocalKafka
from boxoffice.migrations import migrate
from boxoffice.renewals import Renewals
from tests.integration.house import SALE, resource
from tests.integration.pod import open_pod, settings_of
from tests.integration.test_eventlog_contract import again, everything
from tests.integration.test_kafka import administered, opened, until


@pytest.mark.parametrize("looked_before", [True, False])
async def test_an_order_that_went_with_its_topic_is_published_again(
    tmp_path: Path, valkey: EmbeddedStore, kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, looked_before: bool
) -> None:
    monkeypatch.setattr(renewals, "AGAIN_MS", 0)
    settings = settings_of(valkey, ledger_url=f"sqlite+aiosqlite:///{tmp_path}/ledger.db", **kafka.changes)
    await migrate(settings)
    ledger = await open_ledger(settings)
    await ledger.ensure_sale(SALE, "1" * 64, "{}", 100)
    async with opened(settings) as log, open_pod(settings) as pod:
        await pod.apply(resource())
        buyer = pod.buyer()
        await buyer.enter()
        answer = await buyer.pay((await buyer.hold()).json()["id"], "key")
        assert answer.json()["state"] == "accepted"
        renewing = Renewals(pod.store, ledger, log)
        if looked_before:
            assert await renewing.look() == 0, "it sees the log for the first time"
            assert await renewing.look() == 0
        else:
            await ledger.claim_partition(log.topic, await log.log_id(), 0, 0)
        async with administered(settings) as admin:
            await admin.delete_topics([log.topic])
        await prepare_topics(settings)
        assert await again(lambda: everything(log)) == []
        assert await renewing.look() == 1

        async def published() -> bool:
            return [record.key.hex() for record in await everything(log)] == [answer.json()["id"]]

        await until(published, 60)
        assert await renewing.look() == 1, "the second time, for what was on its way at the first"
        assert await renewing.look() == 0
        assert (await buyer.order(answer.json()["id"]))["state"] == "accepted"
    await ledger.close()
