"""The chart as a whole: sound, the same bytes every time, documented, and a wrong value is refused with its path."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from boxoffice import __version__
from tests.chart.conftest import CHART, Helm, Release


@pytest.mark.parametrize("values", [[], ["--set=dev.enabled=true"], [f"--values={CHART}/values-prod.yaml"]])
def test_lint(helm: Helm, values: list[str]) -> None:
    done = helm.run("lint", "--strict", CHART, *values)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_rendering_twice_gives_the_same_bytes(helm: Helm, dev: Release, outside: Release) -> None:
    assert helm.template({"dev.enabled": True}).text == dev.text
    assert helm.template().text == outside.text


def test_nothing_is_looked_up_and_nothing_is_random() -> None:
    chance = re.compile(r"{{[^}]*\b(lookup|rand[A-Z]\w*|gen[A-Z]\w*|uuidv4|now)\b")
    for file in (CHART / "templates").rglob("*.*"):
        assert not chance.search(file.read_text()), file


def test_readme_and_schema_are_what_the_values_say() -> None:
    done = subprocess.run([sys.executable, CHART / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == __version__


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"app.replicas": "two"}, "/app/replicas"),
        ({"app.replicas": -1}, "/app/replicas"),
        ({"app.replica": 2}, "/app"),
        ({"nonsense": {}}, "nonsense"),
        ({"image.pullPolicy": "Sometimes"}, "/image/pullPolicy"),
        ({"image.digest": "sha256:12"}, "/image/digest"),
        ({"settle.autoscaling.kind": "Always"}, "/settle/autoscaling/kind"),
        ({"public.oidc.isuer": "x"}, "/public/oidc"),
        ({"log.url": "http://kafka"}, "/log/url"),
        ({"instance": "no spaces"}, "/instance"),
        ({"commonLabels": {"a": 1}}, "/commonLabels/a"),
        ({"imagePullSecrets": [{"name": "x"}]}, "/imagePullSecrets/0"),
        ({"networkPolicy.ledger.ports": ["mysql"]}, "/networkPolicy/ledger/ports/0"),
        ({"dev.mysql.memory": 1}, "/dev/mysql/memory"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_path(helm: Helm, values: dict[str, Any], path: str) -> None:
    assert path in helm.refused(values)


def test_every_group_of_the_schema_is_closed() -> None:
    def check(schema: dict[str, Any], path: str) -> None:
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path
            for name, member in schema["properties"].items():
                check(member, f"{path}/{name}")

    check(yaml.safe_load((CHART / "values.schema.json").read_text()), "")


def test_memory_in_another_unit_is_named(helm: Helm) -> None:
    assert "memory of a dev engine" in helm.refused({"dev.enabled": True, "dev.kafka.memory": "1G"})


def test_what_keda_needs_is_asked_for(helm: Helm) -> None:
    assert "needs prometheusUrl" in helm.refused({"app.autoscaling.kind": "KEDA"})
    assert "needs log.url" in helm.refused({"settle.autoscaling.kind": "KEDA"})


def next_commands(helm: Helm, tmp_path: Path, *values: str) -> list[list[str]]:
    """Helm shows the notes only to those who have a cluster: they are rendered as something else."""
    chart = shutil.copytree(CHART, tmp_path / "chart")
    notes = textwrap.indent((CHART / "templates/NOTES.txt").read_text(), "  ")
    head = "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\nnotes: |\n"
    (chart / "templates" / "notes.yaml").write_text(head + notes)
    done = helm.run("template", "shop", chart, "--namespace=hall", "--show-only=templates/notes.yaml", *values)
    text = yaml.safe_load(done.stdout)["notes"].partition("Next:")[2]
    return [line.split()[:2] for line in text.splitlines() if line.startswith("  ")]


def test_notes_have_the_next_commands(helm: Helm, tmp_path: Path) -> None:
    steps = [["helm", "test"], ["kubectl", "apply"], ["kubectl", "get"], ["kubectl", "port-forward"]]
    assert next_commands(helm, tmp_path / "with")[:4] == steps
    alone = next_commands(helm, tmp_path / "without", "--set=operator.enabled=false")
    assert alone[:3] == [["helm", "test"], ["kubectl", "exec"], ["kubectl", "port-forward"]]


def test_the_package_holds_what_is_needed_only(helm: Helm, tmp_path: Path) -> None:
    assert helm.run("package", CHART, f"--destination={tmp_path}").returncode == 0
    [package] = tmp_path.iterdir()
    names = subprocess.run(["tar", "tzf", package], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in names if name.endswith((".py", "head.md"))]
    assert "boxoffice/values.schema.json" in names
