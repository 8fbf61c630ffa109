"""After a sale: once it is closed for good and settled, it leaves Redis, and the ledger alone answers for it."""

from __future__ import annotations

from boxoffice.sale import to_ms
from boxoffice.salerecords import SaleRecord
from boxoffice.spec import Spec


def is_over(record: SaleRecord | None, spec: Spec, now_ms: int) -> bool:
    """Whether a sale was archived and stays so under this spec: it must not be made in Redis anew.

    `record` is what the ledger has of the name, read before `ensure_sale`, which takes the archive's mark back;
    `now_ms` is the Redis server's TIME. False of a sale that was never archived, and of one whose spec closes later
    now: it comes back as any sale that the ledger knows. Says nothing of the seating.
    """
    return record is not None and record.archived_ms is not None and closes(spec, now_ms)


def closes(spec: Spec, now_ms: int) -> bool:
    """Whether this spec by itself says that the sale is over."""
    return spec.policy == "Closed" or now_ms >= to_ms(spec.closes_time)
