"""One thing that a night needs: how it was found, and the mend where it is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Literal

import msgspec

MARKS = {"ok": "✓", "failed": "✗", "warning": "!"}


class Part(StrEnum):
    """What `boxoffice preflight` looks at."""

    redis = "redis"
    log = "log"
    ledger = "ledger"
    keys = "keys"
    gateway = "gateway"
    prometheus = "prometheus"
    sale = "sale"


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """A warning is a risk that somebody may take; what failed nobody should open a sale with."""

    name: str
    result: Literal["ok", "failed", "warning"]
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Check:
    return Check(name, "ok", found)


def failed(name: str, found: str, mend: str) -> Check:
    return Check(name, "failed", found, mend)


def warning(name: str, found: str, mend: str) -> Check:
    return Check(name, "warning", found, mend)


def any_failed(checks: Iterable[Check]) -> bool:
    return any(check.result == "failed" for check in checks)


def lines(checks: Sequence[Check]) -> Iterator[str]:
    """A line each, and a last one that counts."""
    for check in checks:
        mend = f" → {check.mend}" if check.mend else ""
        yield f"{MARKS[check.result]} {check.name}: {check.found}{mend}"
    results = [check.result for check in checks]
    verdict = "not ready" if "failed" in results else "ready"
    yield f"{verdict}: {results.count('failed')} to mend, {results.count('warning')} to know of, {len(checks)} checks"
