"""A buyer as tests need one: does one step at a time over HTTP and keeps what it was given."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx2

_addresses = itertools.count(1)


class Buyer:
    """Has an address of its own, a visitor cookie, a ticket, an admission."""

    def __init__(self, client: httpx2.AsyncClient, url: str, sale: str) -> None:
        n = next(_addresses)
        self.address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        self.client, self.url, self.sale = client, url, sale
        self.cookie = self.ticket = self.admission = ""
        self.number = 0

    async def send(self, method: str, path: str, token: str = "", **more: Any) -> httpx2.Response:
        headers = {"x-forwarded-for": self.address, **more.pop("headers", {})}
        if self.cookie:
            headers["cookie"] = self.cookie
        if token:
            headers["authorization"] = f"Bearer {token}"
        return await self.client.request(method, f"{self.url}/api/v1/sales/{self.sale}{path}", headers=headers, **more)

    async def join(self) -> httpx2.Response:
        answer = await self.send("POST", "/places", json={})
        if answer.status_code in (200, 201):
            if "set-cookie" in answer.headers:
                self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.ticket, self.number = answer.json()["ticket"], answer.json()["number"]
        return answer

    async def whereabouts(self) -> httpx2.Response:
        answer = await self.send("GET", "/places/me", self.ticket)
        if answer.status_code == 200:
            self.ticket = answer.json().get("ticket", self.ticket)
        return answer

    async def until_called(self, seconds: float = 60.0) -> None:
        """Polls as told."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.whereabouts()
                if answer.status_code == 200 and answer.json()["state"] == "called":
                    return
                await asyncio.sleep(float(answer.headers.get("retry-after", 1)) / 4)

    async def claim(self) -> httpx2.Response:
        answer = await self.send("POST", "/admissions", self.ticket)
        if answer.status_code == 201:
            self.admission = answer.json()["admission"]
        return answer

    async def enter(self) -> None:
        """From the street to the inside."""
        answer = await self.join()
        assert answer.status_code in (200, 201), answer.text
        await self.go_in()

    async def go_in(self, seconds: float = 60.0) -> None:
        await self.until_called(seconds)
        async with asyncio.timeout(seconds):
            while (answer := await self.claim()).status_code != 201:
                assert answer.status_code in (425, 503), answer.text
                await asyncio.sleep(0.25)

    async def hold(self, **wish: Any) -> httpx2.Response:
        return await self.send("POST", "/holds", self.admission, json=wish or {"count": 1})

    async def pay(self, hold: str, key: str, method: str = "pm_card_visa") -> httpx2.Response:
        body = {"hold": hold, "paymentMethod": method}
        return await self.send("POST", "/orders", self.admission, json=body, headers={"idempotency-key": key})

    async def pay_surely(self, hold: str, key: str, urls: list[str], method: str = "pm_card_visa") -> dict[str, Any]:
        """Repeats under the same key, at another pod when one is gone, until the order is answered."""
        async with asyncio.timeout(40):
            for url in itertools.cycle(urls):
                self.url = url
                try:
                    answer = await self.pay(hold, key, method)
                except httpx2.TransportError:
                    continue
                if answer.status_code == 202:
                    return dict(answer.json())
                assert answer.status_code in (409, 503), answer.text
                await asyncio.sleep(0.25)
        raise AssertionError

    async def order(self, order: str) -> dict[str, Any]:
        answer = await self.send("GET", f"/orders/{order}", self.admission)
        return dict(answer.json())

    async def until_settled(self, order: str, seconds: float = 30.0) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    found = await self.order(order)
                except httpx2.TransportError:
                    found = {}
                if found.get("state") in ("paid", "declined", "refused", "refunded"):
                    return found
                await asyncio.sleep(0.1)
