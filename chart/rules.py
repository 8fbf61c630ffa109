"""Makes rules.yaml, and ../manifests/rules.yaml for those without the Prometheus operator, from alerts.yaml and the
promises below: `python3 chart/rules.py [--check]`.

A promise to buyers (SLO) becomes two alerts: the page when a month's budget would be gone in two days, the ticket when
it would be in five. Both look at a short window too, so that they end when the fault does. All is told apart by
`namespace`: one set of rules does for every release that a Prometheus scrapes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent
RUNBOOKS = "docs/runbooks"
"""The chart puts its value `alerts.runbooksUrl` in the place of it."""

HEADS = {
    CHART / "rules.yaml": "# Made by rules.py, see there.\n",
    CHART.parent / "manifests" / "rules.yaml": (
        "# Recording and alerting rules for a plain Prometheus: name this file under `rule_files`.\n"
        "# Made by chart/rules.py from chart/alerts.yaml; change that, not this.\n"
    ),
}
BURNS = {"page": (14.4, "5m", "1h", "1m"), "ticket": (6, "30m", "6h", "5m")}
"""How many times as fast as it may the budget goes, the two windows in which it does, and how long that must last."""

PREDECESSOR = {
    "custom_queue_size": "boxoffice_line_waiting",
    "custom_ticket_queue_size": "boxoffice_line_waiting",
    "custom_ticket_sold_count": "boxoffice_seats_sold",
    "custom_ticket_active_users": "boxoffice_admission_inside",
}
"""What dashboards of the system before this one ask for; there each was one number, of one concert."""


@dataclass(frozen=True)
class Slo:
    name: str
    promise: str
    percent: float
    bad: str
    """A rate by namespace, over WINDOW."""
    all: str
    first: str
    """What to do first."""


def rate(metric: str) -> str:
    return f"sum by (namespace) (rate({metric}[WINDOW]))"


def answered(step: str, outcomes: str) -> str:
    """A refusal (4xx) is a good answer to a wrong question, and no part of a promise."""
    return rate(f'boxoffice_requests_total{{step="{step}",outcome=~"{outcomes}"}}')


def failed_or_late(step: str, seconds: float) -> str:
    """What was both counts twice."""
    of = f'step="{step}"'
    late = f"{rate(f'boxoffice_request_seconds_count{{{of}}}')}\n   - " + rate(
        f'boxoffice_request_seconds_bucket{{{of},le="{seconds}"}}'
    )
    return f"{answered(step, '5xx')}\n   + {late}"


SLOS = (
    Slo(
        "Whereabouts",
        "99.9 % of the polls of the line are answered, each within 100 ms",
        99.9,
        answered("whereabouts", "5xx") + "\n   + " + rate('boxoffice_requests_slow_total{step="whereabouts"}'),
        answered("whereabouts", "2xx|5xx"),
        "Look first at the pods' CPU and event loop lag: one more pod helps at once. Redis has no part in a poll.",
    ),
    Slo(
        "Hold",
        "99 % of the holds are answered, each within 150 ms",
        99.0,
        failed_or_late("hold", 0.15),
        answered("hold", "2xx|5xx"),
        "Look first at Redis (its CPU, boxoffice_redis_call_seconds); fewer inside helps: `kubectl sale rate`.",
    ),
    Slo(
        "Order",
        "99 % of the orders are acknowledged, each within 300 ms",
        99.0,
        failed_or_late("order", 0.3),
        answered("order", "2xx|5xx"),
        "Look first at the log's brokers and its copies in sync, then at Redis. What was acknowledged is not lost.",
    ),
    Slo(
        "Settle",
        "99 % of the orders are settled within 10 s",
        99.0,
        rate("boxoffice_settle_seconds_count") + "\n   - " + rate('boxoffice_settle_seconds_bucket{le="10.0"}'),
        rate("boxoffice_settle_seconds_count"),
        "Look first at boxoffice_settle_faults_total and the database's CPU; fewer inside helps: `kubectl sale rate`.",
    ),
)


def recordings() -> list[dict[str, Any]]:
    old = [
        {"record": name, "expr": f"max by (namespace, sale) ({metric})", "labels": {"application": "ticketing-system"}}
        for name, metric in PREDECESSOR.items()
    ]
    windows = [window for _, short, long, _ in BURNS.values() for window in (short, long)]
    return [*old, *(recording(slo, window) for slo in SLOS for window in windows)]


def recording(slo: Slo, window: str) -> dict[str, Any]:
    expr = f"(\n   {slo.bad}\n)\n/ {slo.all}\n".replace("WINDOW", window)
    return {"record": recorded(slo, window), "expr": expr}


def recorded(slo: Slo, window: str) -> str:
    return f"boxoffice:{slo.name.lower()}_failures:ratio_rate{window}"


def burn(slo: Slo, severity: str) -> dict[str, Any]:
    times, short, long, lasts = BURNS[severity]
    most = round(times * (100 - slo.percent) / 100, 6)
    return {
        "alert": f"Boxoffice{slo.name}Burn",
        "expr": f"{recorded(slo, short)} > {most}\nand {recorded(slo, long)} > {most}\n",
        "for": lasts,
        "labels": {"severity": severity},
        "annotations": {
            "summary": f"{slo.name}: too many fail or are late",
            "description": f"Promised is: {slo.promise}. {slo.first}",
            "value": f"{{{{ $value | humanizePercentage }}}} in {short}",
        },
    }


def rules() -> dict[str, Any]:
    alerts = yaml.safe_load((CHART / "alerts.yaml").read_text())
    alerts = {"boxoffice-slo": [burn(slo, severity) for slo in SLOS for severity in BURNS], **alerts}
    led = [{"name": name, "rules": [with_runbook(alert) for alert in group]} for name, group in alerts.items()]
    return {"groups": [{"name": "boxoffice-recordings", "rules": recordings()}, *led]}


def with_runbook(alert: dict[str, Any]) -> dict[str, Any]:
    return {**alert, "annotations": {**alert["annotations"], "runbook_url": f"{RUNBOOKS}/{alert['alert']}.md"}}


class Dumper(yaml.SafeDumper):
    """What has several lines keeps them."""


Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def main() -> int:
    text = yaml.dump(rules(), Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)
    stale = [file for file, head in HEADS.items() if not file.exists() or file.read_text() != head + text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.relative_to(CHART.parent)} is not what chart/rules.py makes: run it", file=sys.stderr)
        return 1 if stale else 0
    for file in stale:
        file.write_text(HEADS[file] + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
