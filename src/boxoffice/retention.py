"""How long the log keeps its records: until the last sale has closed, and seven days more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from boxoffice.errors import Unavailable
from boxoffice.eventlog import EventLog
from boxoffice.ledger import Ledger
from boxoffice.sale import to_ms
from boxoffice.salerecords import SaleRecord, now_ms
from boxoffice.spec import stored_spec

AFTER_SECONDS = 7 * 24 * 3600
EVERY_SECONDS = 300.0

logger = logging.getLogger(__name__)


async def keep_forever(log: EventLog, ledger: Ledger) -> None:
    """Says it again every few minutes, for there may be a new sale."""
    while True:
        try:
            await keep_records(log, ledger)
        except Unavailable as fault:
            logger.warning("the log was not told how long to keep its records: %s", fault.detail)
        except Exception:
            logger.exception("retention")
        await asyncio.sleep(EVERY_SECONDS)


async def keep_records(log: EventLog, ledger: Ledger) -> None:
    """To be called whenever there may be a new sale. Raises Unavailable."""
    await log.keep(seconds_to_keep(await ledger.sales(), now_ms()))


def seconds_to_keep(sales: Iterable[SaleRecord], at_ms: int) -> int:
    """For a record that is written now, or later."""
    closes = [to_ms(stored_spec(sale.spec).closes_time) for sale in sales]
    return max(0, max(closes, default=0) - at_ms) // 1000 + AFTER_SECONDS
