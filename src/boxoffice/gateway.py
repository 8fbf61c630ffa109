"""Payments: what settlement asks of a gateway, and a simulated one with a durable list of charges of its own.

The order's id is the charge's id, so that a repeated capture is the same charge. The money was authorised
while the seats were held; settlement captures it, or cancels it when the order comes to nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec

from boxoffice.settings import Settings


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """`order`, `sale_uid` and `buyer` are 32 hex digits each."""

    order: str
    sale_uid: str
    buyer: str
    amount_minor: int
    currency: str
    method: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`fault`: of this order alone, to be tried again later. `reason` is one a buyer can be shown."""

    result: Literal["paid", "declined", "fault"]
    reason: str = ""
    charge_id: str = ""
    amount_minor: int = 0
    """What was really taken; 0 unless paid."""


class ChargeRecord(msgspec.Struct, frozen=True):
    """A line of the gateway's own list. `cancelled`: nothing was taken and nothing can be."""

    order: str
    sale_uid: str
    amount_minor: int
    currency: str
    state: Literal["paid", "declined", "faulted", "refunded", "cancelled"]


class PaymentGateway(Protocol):
    """Every call raises GatewayUnavailable when the gateway as a whole cannot be used; all are repeatable."""

    async def capture(self, charge: Charge) -> Outcome:
        """Durable before it answers: a repeat, after whatever crash, gives the same outcome."""

    async def lookup(self, order: str) -> Outcome | None:
        """What became of this order's charge; None when the gateway never heard of it, or only faulted."""

    async def refund(self, order: str) -> None:
        """Afterwards no money of this order is held, and none can be captured for it any more."""

    def charges(self, sale_uid: str) -> AsyncIterator[list[ChargeRecord]]:
        """All of a sale, in chunks; for the audit."""

    async def close(self) -> None: ...


async def open_gateway(settings: Settings) -> PaymentGateway:
    """Raises GatewayUnavailable."""
    from boxoffice.simulated import SimulatedGateway

    return await SimulatedGateway.open(settings)
