"""The dashboards as Grafana's sidecar finds them: labelled ConfigMaps, small enough, that say what is in the tree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chart.conftest import CHART, Helm, Release, Resource

NAMES = ["boxoffice-controller", "boxoffice-glance", "boxoffice-settlement", "boxoffice-sre"]
MOST_BYTES = 1_048_576
"""Of a ConfigMap, for the API server."""


@pytest.fixture(scope="module")
def shown(helm: Helm) -> Release:
    return helm.template({"dashboards.enabled": True})


def dashboards(release: Release) -> list[Resource]:
    return [found for found in release.all("ConfigMap") if "-dashboard-" in found["metadata"]["name"]]


def test_each_is_a_config_map_with_the_label(shown: Release) -> None:
    found = dashboards(shown)
    assert [name for one in found for name in one["data"]] == [f"{name}.json" for name in NAMES]
    for one in found:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(one)) < MOST_BYTES / 2


def test_what_is_in_it_is_what_is_in_the_tree(shown: Release) -> None:
    for one in dashboards(shown):
        [(file, text)] = one["data"].items()
        assert json.loads(text) == json.loads((CHART / "dashboards" / file).read_text())


def test_links_lead_to_the_runbooks(helm: Helm) -> None:
    release = helm.template({"dashboards.enabled": True, "alerts.runbooksUrl": "https://git.example/runbooks/"})
    texts = "".join(text for one in dashboards(release) for text in one["data"].values())
    assert '"https://git.example/runbooks/BoxofficeOrderLost.md"' in texts
    assert '"https://git.example/runbooks"' in texts
    assert "docs/runbooks" not in texts


def test_label_and_folder_can_be_others(helm: Helm) -> None:
    others: dict[str, Any] = {
        "labels": {"grafana_dashboard": None, "team": "tickets"},
        "annotations": {"grafana_folder": "x"},
    }
    release = helm.template({"dashboards": {"enabled": True, **others}})
    for one in dashboards(release):
        assert "grafana_dashboard" not in one["metadata"]["labels"]
        assert one["metadata"]["labels"]["team"] == "tickets"
        assert one["metadata"]["annotations"] == {"grafana_folder": "x"}


def test_there_are_none_unless_asked_for(outside: Release) -> None:
    assert not dashboards(outside)
