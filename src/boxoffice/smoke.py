"""`boxoffice smoke`: one buyer goes the whole way, from entering to paid, on a sale that is made for it and erased."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from boxoffice import sales
from boxoffice.arrears import Arrears
from boxoffice.audit import audit
from boxoffice.console import Office
from boxoffice.effects import sink_of
from boxoffice.erasing import erase
from boxoffice.errors import BoxofficeError, told
from boxoffice.eventlog import EventLog, open_log
from boxoffice.gateway import PaymentGateway, open_gateway
from boxoffice.sale import ConcertSale, Metadata
from boxoffice.spec import AdmissionSpec, HoldSpec, LineSpec, SeatingSpec, Section, Spec

WHO, WHY = "boxoffice smoke", "it was a smoke test"
LOOK_SECONDS = 0.2
STEP_SECONDS = 30.0
PRICE_MINOR = 100


class Failed(BoxofficeError):
    """The way is blocked; the message says at which step and by what answer."""

    code = "smoke_failed"


def throw_away_sale() -> ConcertSale:
    """Open now, two seats, in no list that buyers see."""
    now = datetime.now(UTC)
    spec = Spec(
        concert="smoke",
        title="A smoke test",
        venue="nowhere",
        currency="EUR",
        listing="Rehearsal",
        opens_time=now,
        closes_time=now + timedelta(minutes=30),
        seating=SeatingSpec(sections=[Section(name="row", rows=1, seats_per_row=2, price_minor=PRICE_MINOR)]),
        line=LineSpec(claim_seconds=60),
        admission=AdmissionSpec(initial_active=10, fallback_active=10, max_active=10, session_seconds=120),
        hold=HoldSpec(seconds=60, max_seats_per_buyer=1),
    )
    name = f"smoke-{secrets.token_hex(4)}"
    return ConcertSale(
        api_version="boxoffice.dev/v1alpha1", kind="ConcertSale", metadata=Metadata(name=name), spec=spec
    )


@dataclass(slots=True)
class Buyer:
    """Goes through the public address, whichever pod answers; keeps its cookie itself, as it is for TLS alone."""

    client: httpx2.AsyncClient
    sale: str
    say: Callable[[str], None]
    headers: dict[str, str] = field(default_factory=dict)

    async def buy(self) -> str:
        """The id of the order that was paid. Raises Failed."""
        place = await self._until("enter", "POST", "/places", json={})
        self.headers["authorization"] = f"Bearer {place['ticket']}"
        await self._until("wait", "GET", "/places/me", until=lambda body: body.get("state") == "called")
        admission = await self._until("admit", "POST", "/admissions")
        self.headers["authorization"] = f"Bearer {admission['admission']}"
        hold = await self._until("hold", "POST", "/holds", json={"count": 1})
        self.headers["idempotency-key"] = secrets.token_hex(8)
        wish = {"hold": hold["id"], "paymentMethod": "pm_card_visa"}
        order = await self._until("pay", "POST", "/orders", json=wish)
        paid = await self._until("settle", "GET", f"/orders/{order['id']}", until=lambda body: body["state"] == "paid")
        return str(paid["id"])

    async def _until(
        self, step: str, method: str, path: str, until: Callable[[Any], bool] = bool, **request: Any
    ) -> Any:
        """The body of the first answer that is good; a pod that does not know the sale yet is asked again."""
        begin, last = time.monotonic(), "no answer"
        while time.monotonic() < begin + STEP_SECONDS:
            try:
                answer = await self.client.request(
                    method, f"/api/v1/sales/{self.sale}{path}", headers=self.headers, **request
                )
            except httpx2.TransportError as error:
                last = told(error)
            else:
                last = f"{answer.status_code} {answer.text[:300]}"
                if answer.is_success and until(body := answer.json()):
                    self._keep(answer.headers, body)
                    self.say(f"{step}: {(time.monotonic() - begin) * 1000:.0f} ms")
                    return body
            await asyncio.sleep(LOOK_SECONDS)
        raise Failed(f"{step}: {method} {path} was not answered as it should be in {STEP_SECONDS:.0f} s: {last}")

    def _keep(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        if "set-cookie" in headers:
            self.headers["cookie"] = headers["set-cookie"].partition(";")[0]
        if "ticket" in body:
            self.headers["authorization"] = f"Bearer {body['ticket']}"


@dataclass(slots=True)
class Smoke:
    office: Office
    log: EventLog
    gateway: PaymentGateway
    say: Callable[[str], None]

    async def run(self, url: str) -> None:
        """Raises Failed, or what an engine raises; what was made is erased in any case."""
        sale = throw_away_sale()
        await sales.apply(self.office.store, self.office.ledger, sale, WHO, WHY)
        name = sale.metadata.name
        try:
            async with httpx2.AsyncClient(base_url=url, timeout=10) as client:
                order = await Buyer(client, name, self.say).buy()
            await self._check(name, order)
        finally:
            await self._erase(name)

    async def _check(self, name: str, order: str) -> None:
        office = self.office
        report = await audit(name, office.store, self.log, office.ledger, self.gateway)
        found = [f"{d.kind}: {d.text}" for d in report.differences]
        if found or (report.orders, report.tickets, report.charges) != (1, 1, 1):
            raise Failed(f"{name}: {report.orders} orders, {report.tickets} tickets, {report.charges} charges {found}")
        settled = await office.ledger.order(order)
        if settled is None or settled.amount_minor != PRICE_MINOR:
            raise Failed(f"order {order} is not in the ledger as it was sold")
        self.say("audit: one order, one ticket, one charge, no difference")

    async def _erase(self, name: str) -> None:
        arrears = Arrears(self.office.ledger, self.gateway, sink_of(self.office.store, self.log))
        await erase(self.office, arrears, name, WHO, WHY)
        self.say("erased")


async def smoke(office: Office, url: str, say: Callable[[str], None]) -> None:
    async with AsyncExitStack() as stack:
        event_log = await open_log(office.settings, office.store)
        stack.push_async_callback(event_log.close)
        gateway = await open_gateway(office.settings)
        stack.push_async_callback(gateway.close)
        await Smoke(office, event_log, gateway, say).run(url)
