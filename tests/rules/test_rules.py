"""Rules and alerts: sound for Prometheus itself, each seen firing and over, each on metrics that there are."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from boxoffice.audit import Kind
from boxoffice.local.prometheus import binary

ROOT = Path(__file__).parents[2]
RULES = ROOT / "manifests" / "rules.yaml"
CASES = Path(__file__).with_name("alerts.test.yaml")
ALERT = re.compile(r'alertname="(\w+)"')
SEVERITY = re.compile(r'severity="(\w+)"')


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([binary().with_name("promtool"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_are_what_their_source_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "chart" / "rules.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_prometheus_takes_them() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", RULES)


def test_every_alert_fires_and_is_over_again() -> None:
    promtool("test", "rules", CASES)
    fired, over = set(), set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        lately: dict[str, set[tuple[str, str]]] = {}
        for look in case["promql_expr_test"]:
            seen = {_alert(sample["labels"]) for sample in look["exp_samples"] if "ALERTS" in sample["labels"]}
            fired |= seen
            over |= lately.pop(look["expr"], set()) - seen
            lately[look["expr"]] = seen
    assert fired == over == {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}


def _alert(labels: str) -> tuple[str, str]:
    return ALERT.findall(labels)[0], SEVERITY.findall(labels)[0]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_whoever_is_woken_is_told_what_to_do(rule: dict[str, Any]) -> None:
    said = rule["annotations"]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert said["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    assert len(said["summary"]) < 80
    assert re.search(r"\bfirst\b", said["description"]), "what to do first"
    assert "{{" not in said["description"], "it is the same for all of a group"


def test_every_kind_of_difference_is_in_one_alert() -> None:
    asked = [rule["expr"] for rule in alerts() if "boxoffice_audit_differences" in rule["expr"]]
    kinds = Counter(
        kind for expr in asked for found in re.findall(r'kind=~?"([^"]+)"', expr) for kind in found.split("|")
    )
    assert kinds == dict.fromkeys(get_args(Kind), 1)


def test_they_ask_for_what_there_is() -> None:
    known = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    known |= {f"{name}_{part}" for name in known if name.endswith("_seconds") for part in ("bucket", "count")}
    asked = {name for rule in rules() for name in re.findall(r"\bboxoffice_\w+", rule["expr"])}
    assert asked
    assert asked <= known


def test_a_dashboard_of_the_system_before_finds_its_names() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {
        "custom_queue_size",
        "custom_ticket_queue_size",
        "custom_ticket_sold_count",
        "custom_ticket_active_users",
    } <= recorded
