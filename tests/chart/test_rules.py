"""The rules in the chart: the same as the plain file, but for the values of the release."""

from __future__ import annotations

from typing import Any

import yaml

from tests.chart.conftest import Helm, Release
from tests.cluster.programs import ROOT

PLAIN = ROOT / "manifests" / "rules.yaml"


def by_name(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in spec["groups"] for rule in group["rules"]]


def test_none_without_being_asked_for(outside: Release) -> None:
    assert not outside.all("PrometheusRule")


def test_one_source(helm: Helm) -> None:
    release = helm.template({"alerts.enabled": True})
    assert release.get("PrometheusRule", "alerts")["spec"] == yaml.safe_load(PLAIN.read_text())


def test_prometheus_chooses_them_by_label(helm: Helm) -> None:
    release = helm.template({"alerts.enabled": True, "alerts.labels": {"release": "monitoring"}})
    labels = release.get("PrometheusRule", "alerts")["metadata"]["labels"]
    assert labels["release"] == "monitoring"
    assert labels["app.kubernetes.io/instance"] == "shop"


def test_links_and_the_length_of_the_line_are_the_releases(helm: Helm) -> None:
    url = "https://git.example.com/boxoffice/docs/runbooks/"
    release = helm.template({"alerts.enabled": True, "alerts.runbooksUrl": url, "alerts.lineLong": 2_500_000})
    rules = [rule for rule in by_name(release.get("PrometheusRule", "alerts")["spec"]) if "alert" in rule]
    assert {rule["annotations"]["runbook_url"] for rule in rules} == {f"{url}{rule['alert']}.md" for rule in rules}
    [line] = [rule["expr"] for rule in rules if rule["alert"] == "BoxofficeLineLong"]
    assert line.endswith("> 2500000")


def test_the_prometheus_for_development_has_them(dev: Release) -> None:
    data = dev.get("ConfigMap", "prometheus")["data"]
    assert yaml.safe_load(data["prometheus.yml"])["rule_files"] == ["/etc/boxoffice/rules.yml"]
    assert yaml.safe_load(data["rules.yml"]) == yaml.safe_load(PLAIN.read_text())
