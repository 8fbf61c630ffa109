"""The rules and the routes as they are committed, with sixty times less time in them: minutes become seconds.

Only durations change, each in the same way: what an alert waits for (`for`), what a query looks back on (`[5m]`), the
ages that it allows (`time() - 300`, `…_seconds) > 30`), and what Alertmanager waits for. Look back and age are five
seconds at least: Prometheus scrapes every second here, and a rate needs some scrapes even on a busy machine. The one
threshold that is a value of the chart, of a line that is long, has another value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from boxoffice.embedded import shipped
from tests.alerts.slack import CHANNELS

FASTER = 60
LEAST_SECONDS = 5.0
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WAITS = ("group_wait", "group_interval", "repeat_interval")
RANGE = re.compile(r"(?<=\[)\d+[smhd](?=\])")
AGE = re.compile(r"(\btime\(\) - |\btime\(\) - [^\d<>][^<>]* > |_seconds\) > )(\d+)\b")
LINE_LONG = "boxoffice_line_waiting) > {}"
LONG = 10_000
LONG_HERE = 20


def quick(duration: str, at_least: float = 0.0) -> str:
    """`5m` is `5000ms`."""
    seconds = int(duration[:-1]) * UNITS[duration[-1]] / FASTER
    return f"{int(max(seconds, at_least) * 1000)}ms"


def quick_expression(expression: str, at_least: float = LEAST_SECONDS) -> str:
    ranged = RANGE.sub(lambda found: quick(found[0], at_least), expression)
    aged = AGE.sub(lambda found: f"{found[1]}{max(int(found[2]) / FASTER, at_least):g}", ranged)
    return aged.replace(LINE_LONG.format(LONG), LINE_LONG.format(LONG_HERE))


def quick_rules(folder: Path, at_least: float = LEAST_SECONDS) -> Path:
    """Evaluated every second, as everything is by this Prometheus."""
    document = yaml.safe_load(shipped("manifests", "rules.yaml").read_text())
    for group in document["groups"]:
        group.pop("interval", None)
        group["rules"] = [_quick_rule(rule, at_least) for rule in group["rules"]]
    made = folder / "rules.yaml"
    made.write_text(yaml.safe_dump(document))
    return made


def _quick_rule(rule: dict[str, Any], at_least: float) -> dict[str, Any]:
    rule["expr"] = quick_expression(rule["expr"], at_least)
    rule |= {key: quick(rule[key]) for key in ("for", "keep_firing_for") if key in rule}
    return rule


def quick_routes(folder: Path, webhook: str) -> Path:
    """With the addresses of the webhooks in files beside it, as the secret is."""
    config = shipped("manifests", "alerting/alertmanager.yaml")
    document = yaml.safe_load(config.read_text())
    _hasten(document["route"])
    for receiver in document["receivers"]:
        for slack in receiver["slack_configs"]:
            address = folder / Path(slack["api_url_file"]).name
            assert address.name in CHANNELS
            address.write_text(f"{webhook}/services/{address.name}")
            slack["api_url_file"] = str(address)
    document["templates"] = [str((config.parent / name).resolve()) for name in document["templates"]]
    made = folder / "alertmanager.yaml"
    made.write_text(yaml.safe_dump(document))
    return made


def _hasten(route: dict[str, Any]) -> None:
    route |= {key: quick(route[key]) for key in WAITS if key in route}
    for child in route.get("routes", ()):
        _hasten(child)
