"""A pod that is told to go says so to whoever has a connection, ends its streams and goes, long before it is killed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.integration.house import SALE, open_house, resource


async def test_an_open_stream_does_not_hold_up_sigterm(tmp_path: Path) -> None:
    async with open_house(tmp_path, gateway_latency_ms=1) as house:
        await house.apply(resource())
        buyer = house.buyer()
        await buyer.enter()
        hold = (await buyer.hold(count=1)).json()["id"]
        await house.stack.child("settle").stop()
        order = (await buyer.pay(hold, "stream")).json()["id"]
        pod = house.stack.child(f"serve-{house.stack.serve_ports[0]}")
        url = f"{buyer.url}/api/v1/sales/{SALE}/orders/{order}/events"
        headers = {"authorization": f"Bearer {buyer.admission}", "cookie": buyer.cookie}
        async with house.client.stream("GET", url, headers=headers) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: order"
            async with asyncio.timeout(60):
                assert await pod.stop() == -signal.SIGTERM, "ended by itself, not by SIGKILL"


async def test_a_kept_connection_is_not_closed_under_a_request(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(resource())
        url = f"{house.stack.urls[0]}/api/v1/sales/{SALE}/line"
        pod = house.stack.child(f"serve-{house.stack.serve_ports[0]}")
        answer = await house.client.get(url)
        stopping = asyncio.create_task(pod.stop())
        while answer.headers.get("connection") != "close":
            answer = await house.client.get(url)
            assert answer.status_code == 200
        assert await stopping == -signal.SIGTERM
