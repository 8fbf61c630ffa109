"""What an on-sale came to: figures and promises, for people and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Promise(msgspec.Struct, frozen=True):
    name: str
    held: bool
    found: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    sold: int
    refused: int
    declined: int
    declined_then_paid: int
    oversold: int
    charged_without_ticket: int
    inversions: int
    contested: int
    favourites_per_mille: int
    http: dict[str, int]
    steps: dict[str, dict[str, float]]
    sold_out_seconds: float | None
    eta_covered: float | None
    """Share of the waits that were no longer than the p90 told."""
    differences: list[str]
    ends: dict[str, int]
    promises: list[Promise] = []

    @property
    def kept(self) -> bool:
        return all(promise.held for promise in self.promises)

    def to_json(self) -> dict[str, Any]:
        return {
            "sold": self.sold,
            "refused": self.refused,
            "declined": self.declined,
            "declinedThenPaid": self.declined_then_paid,
            "oversold": self.oversold,
            "chargedWithoutTicket": self.charged_without_ticket,
            "inversions": self.inversions,
            "contested": self.contested,
            "http": self.http,
            "steps": self.steps,
            "soldOutSeconds": self.sold_out_seconds,
            "etaCovered": self.eta_covered,
            "audit": {"differences": self.differences},
            "ends": self.ends,
            "broken": [f"{promise.name}: {promise.found}" for promise in self.promises if not promise.held],
        }


def table(report: Report) -> list[tuple[str, str]]:
    """The report for people: a label and a value a line."""
    seconds = "not sold out" if report.sold_out_seconds is None else f"{report.sold_out_seconds:.1f} s after opening"
    covered = "none was told" if report.eta_covered is None else f"{100 * report.eta_covered:.0f} %"
    return [
        ("sold", str(report.sold)),
        ("refused", str(report.refused)),
        ("declined", f"{report.declined}, then paid with another card: {report.declined_then_paid}"),
        ("oversold", str(report.oversold)),
        ("charged without ticket", str(report.charged_without_ticket)),
        ("order-of-line inversions", str(report.inversions)),
        ("contested tries", str(report.contested)),
        ("first tries at the favourite seats", f"{report.favourites_per_mille / 10:.1f} %"),
        ("sold out", seconds),
        ("waits within the p90 told", covered),
        ("audit", f"{len(report.differences)} differences"),
        ("HTTP", _counts(report.http)),
        ("buyers", _counts(report.ends)),
    ]


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{name}: {count}" for name, count in counts.items())


Writer = Callable[[str], None]


def write(report: Report, line: Writer) -> None:
    for label, value in table(report):
        line(f"  {label:<36}{value}")
    line(f"\n  {'step':<14}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}")
    for name, p in report.steps.items():
        line(f"  {name:<14}{p['p50']:>10.1f}{p['p95']:>10.1f}{p['p99']:>10.1f}")
    line("")
    for promise in report.promises:
        verdict = "kept  " if promise.held else "BROKEN"
        line(f"  {verdict}  {promise.name}" + ("" if promise.held else f": {promise.found}"))
