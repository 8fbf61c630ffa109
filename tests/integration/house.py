"""A whole stack of processes with one sale on it, and the witnesses outside the app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from boxoffice import sales
from boxoffice.audit import AuditReport, audit
from boxoffice.eventlog import open_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import open_ledger
from boxoffice.sale import parse_sale
from boxoffice.stack import Stack
from boxoffice.store import Store
from boxoffice.witnesses import reading
from tests.integration.buyer import Buyer

SALE = "test-night"


def resource(
    seats: int = 100, opens_in: float = 0.0, active: int = 200, name: str = SALE, **spec: Any
) -> dict[str, Any]:
    """A ConcertSale as a document; `spec` replaces whole members."""
    now = datetime.now(UTC)
    return {
        "apiVersion": "boxoffice.dev/v1alpha1",
        "kind": "ConcertSale",
        "metadata": {"name": name},
        "spec": {
            "concert": "test",
            "title": "A Night for Tests",
            "venue": "The Bench",
            "currency": "KRW",
            "preQueueTime": (now - timedelta(seconds=1)).isoformat(),
            "opensTime": (now + timedelta(seconds=opens_in)).isoformat(),
            "closesTime": (now + timedelta(hours=1)).isoformat(),
            "seating": {"sections": [{"name": "stalls", "rows": 1, "seatsPerRow": seats, "priceMinor": 1000}]},
            "line": {"claimSeconds": 60},
            "admission": {"initialActive": active, "maxActive": 1000, "sessionSeconds": 300},
            "hold": {"seconds": 120, "maxSeatsPerBuyer": 4},
            **spec,
        },
    }


class NoJar(CookieJar):
    """Every buyer keeps the cookie itself; a client that all share must not."""

    def set_cookie(self, cookie: Cookie) -> None:
        return


class House:
    def __init__(self, stack: Stack, client: httpx2.AsyncClient) -> None:
        self.stack, self.client = stack, client

    async def apply(self, document: dict[str, Any]) -> None:
        sale = parse_sale(msgspec.json.encode(document))
        store, ledger = await Store.open(self.stack.settings()), await open_ledger(self.stack.settings())
        try:
            await sales.apply(store, ledger, sale, "test", "test")
        finally:
            await ledger.close()
            await store.close()
        for url in self.stack.urls:
            await self.until_known(url, sale.metadata.name)

    async def until_known(self, url: str, sale: str) -> None:
        async with asyncio.timeout(60):
            while (await self.client.get(f"{url}/api/v1/sales/{sale}/line")).status_code != 200:
                await asyncio.sleep(0.05)

    def buyer(self, pod: int = 0, sale: str = SALE) -> Buyer:
        return Buyer(self.client, self.stack.urls[pod % len(self.stack.urls)], sale)

    async def line(self, sale: str = SALE, pod: int = 0) -> dict[str, Any]:
        return dict((await self.client.get(f"{self.stack.urls[pod]}/api/v1/sales/{sale}/line")).json())

    async def seats(self, sale: str = SALE) -> dict[str, Any]:
        return dict((await self.client.get(f"{self.stack.urls[0]}/api/v1/sales/{sale}/seats")).json())

    async def until_seen_by_all_pods(self, sale: str = SALE) -> None:
        """Every pod has in its snapshot what Redis has issued."""
        async with asyncio.timeout(60), self.store() as store:
            issued = await _count(store, sale, "issued")
            for pod in range(len(self.stack.urls)):
                while (await self.line(sale, pod))["issued"] < issued:
                    await asyncio.sleep(0.05)

    async def until_recovered(self, seconds: float = 60.0, sale: str = SALE) -> None:
        """The sale is rebuilt, and every pod has seen it."""
        async with asyncio.timeout(seconds), self.store() as store:
            while not await _count(store, sale, "recovered_ms"):
                await asyncio.sleep(0.1)
            version = await _count(store, sale, "version")
            for pod in range(len(self.stack.urls)):
                while (await self.line(sale, pod)).get("version", 0) < version:
                    await asyncio.sleep(0.1)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        store = await Store.open(self.stack.settings())
        try:
            yield store
        finally:
            await store.close()

    async def charges(self) -> list[Any]:
        """The gateway's own list: order, sale, state."""
        async with reading(self.stack.settings().gateway_url) as ask:
            return await ask("SELECT order_id, sale_uid, state FROM charges")

    async def tickets(self) -> list[Any]:
        """Order and seat; no seat when it was refunded."""
        return await self.ledger("SELECT order_id, seat FROM tickets")

    async def orders(self) -> dict[str, str]:
        """State by id."""
        return dict(await self.ledger("SELECT id, state FROM orders"))

    async def ledger(self, statement: str, **values: str) -> list[Any]:
        """By plain SQL, whatever database it is."""
        async with reading(self.stack.settings().ledger_url) as ask:
            return await ask(statement, **values)

    async def audit(self, sale: str = SALE) -> AuditReport:
        settings = self.stack.settings()
        store = await Store.open(settings)
        log, ledger, gateway = (
            await open_log(settings, store),
            await open_ledger(settings),
            await open_gateway(settings),
        )
        try:
            return await audit(sale, store, log, ledger, gateway)
        finally:
            await gateway.close()
            await ledger.close()
            await log.close()
            await store.close()


async def _count(store: Store, sale: str, field: str) -> int:
    """A field of the sale's record in Redis; 0 while it is not there."""
    return int(await store.execute("HGET", store.key(sale, "sale"), field) or 0)


@asynccontextmanager
async def open_house(folder: Path, serve_processes: int = 2, **changes: Any) -> AsyncIterator[House]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
    async with (
        Stack(folder, serve_processes, **changes) as stack,
        httpx2.AsyncClient(limits=limits, timeout=20, cookies=NoJar()) as client,
    ):
        yield House(stack, client)
