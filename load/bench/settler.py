"""`boxoffice settle`, but its gateway answers at once, or after so long: what is measured is settlement alone.

python load/bench/settler.py LATENCY_MS
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import uvloop

from boxoffice.gateway import Charge, ChargeRecord, Outcome, PaymentGateway
from boxoffice.settings import Settings
from boxoffice.settlement import run


class PromptGateway:
    """Pays everything and remembers nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def capture(self, charge: Charge) -> Outcome:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return Outcome(result="paid", charge_id=f"ch_{charge.order}", amount_minor=charge.amount_minor)

    async def lookup(self, order: str) -> Outcome | None:
        return None

    async def refund(self, order: str) -> None: ...

    async def charges(self, sale_uid: str) -> AsyncIterator[list[ChargeRecord]]:
        return
        yield

    async def close(self) -> None: ...


async def main(latency_ms: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def opened(settings: Settings) -> PaymentGateway:
        return PromptGateway(latency_ms / 1000)

    await run(Settings.from_env(), stop, opened)


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
