"""The chart as Helm renders it, without a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.cluster.programs import ROOT, programs

CHART = ROOT / "chart"
FULL = "shop-boxoffice"

Resource = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """What a release called `shop` in the namespace `hall` consists of."""

    text: str

    @property
    def resources(self) -> list[Resource]:
        return [resource for resource in yaml.load_all(self.text, yaml.CSafeLoader) if resource]

    def all(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource["kind"] == kind]

    def get(self, kind: str, name: str) -> Resource:
        """`name` without the release's own."""
        [found] = [resource for resource in self.all(kind) if resource["metadata"]["name"] == f"{FULL}-{name}"]
        return found

    def pods(self) -> dict[str, Resource]:
        """The specs of all pods, by component."""
        found = {}
        for resource in self.resources:
            pod = resource if resource["kind"] == "Pod" else resource.get("spec", {}).get("template", {})
            if isinstance(pod.get("spec"), dict) and "containers" in pod["spec"]:
                found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod["spec"]
        return found


class Helm:
    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self._program, *arguments], capture_output=True, text=True)

    def template(self, values: Mapping[str, Any] | None = None, *arguments: str | Path) -> Release:
        """`values` by their dotted names."""
        done = self.run("template", "shop", CHART, "--namespace=hall", *arguments, *_given(values or {}))
        assert done.returncode == 0, done.stderr
        return Release(done.stdout)

    def refused(self, values: Mapping[str, Any]) -> str:
        done = self.run("template", "shop", CHART, *_given(values))
        assert done.returncode, "this should have been refused"
        return done.stderr


def _given(values: Mapping[str, Any]) -> list[str]:
    return [f"--set-json={name}={msgspec.json.encode(value).decode()}" for name, value in values.items()]


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(programs("tools") / "helm")


@pytest.fixture(scope="session")
def outside(helm: Helm) -> Release:
    """With engines of one's own."""
    return helm.template()


@pytest.fixture(scope="session")
def dev(helm: Helm) -> Release:
    """With the engines for development."""
    return helm.template({"dev.enabled": True})


@pytest.fixture(scope="session")
def prod(helm: Helm) -> Release:
    return helm.template(None, f"--values={CHART}/values-prod.yaml")
