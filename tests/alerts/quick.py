"""The rules and the routes as they are committed, with sixty times less time in them: minutes become seconds.

Only durations change, each in the same way: what an alert waits for (`for`), what a query looks back on (`[5m]`,
`offset 5m`) and what Alertmanager waits for. A query looks back on five seconds at least: Prometheus scrapes every
second here, and a rate needs some scrapes even on a busy machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from boxoffice.embedded import shipped
from tests.alerts.slack import CHANNELS

FASTER = 60
LOOK_BACK_SECONDS = 5.0
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WAITS = ("group_wait", "group_interval", "repeat_interval")
RANGE = re.compile(r"(?<=\[)\d+[smhd](?=[\]:])|(?<=offset )\d+[smhd]\b")


def quick(duration: str, at_least: float = 0.0) -> str:
    """`5m` is `5000ms`."""
    seconds = int(duration[:-1]) * UNITS[duration[-1]] / FASTER
    return f"{int(max(seconds, at_least) * 1000)}ms"


def quick_expression(expression: str) -> str:
    return RANGE.sub(lambda found: quick(found[0], LOOK_BACK_SECONDS), expression)


def quick_rules(folder: Path) -> Path:
    """Evaluated every second, as everything is by this Prometheus."""
    document = yaml.safe_load(shipped("manifests", "rules.yaml").read_text())
    for group in document["groups"]:
        group.pop("interval", None)
        group["rules"] = [_quick_rule(rule) for rule in group["rules"]]
    made = folder / "rules.yaml"
    made.write_text(yaml.safe_dump(document))
    return made


def _quick_rule(rule: dict[str, Any]) -> dict[str, Any]:
    rule["expr"] = quick_expression(rule["expr"])
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
