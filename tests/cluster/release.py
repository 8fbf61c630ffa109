"""Boxoffice in the cluster, as an SRE installs it: helm, kubectl, and the commands of the product."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.cluster.cluster import Cluster, Resource
from tests.cluster.programs import ROOT

CHART = ROOT / "chart"
INSTALL_SECONDS = 180
WAIT = ("--wait", f"--timeout={INSTALL_SECONDS}s")
KNOWN_SECONDS = 10
ENGINES = ("valkey", "kafka", "mysql", "prometheus", "exporter")

Values = dict[str, Any]


def light() -> Values:
    """On two cores everything must fit beside everything else: little is asked for, and as much is allowed."""
    return {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}


class Release:
    def __init__(self, cluster: Cluster, namespace: str, name: str = "boxoffice") -> None:
        self.cluster, self.namespace, self.name = cluster, namespace, name
        self.full = name if "boxoffice" in name else f"{name}-boxoffice"

    def values(self) -> Values:
        """Images that were made on the spot, and few resources."""
        repository, _, tag = self.cluster.image("app").rpartition(":")
        parts: Values = {part: {"resources": light()} for part in ("app", "admin", "settle", "operator", "migrate")}
        return {
            "image": {"repository": repository, "tag": tag},
            **parts,
            "dev": {engine: {"image": self.cluster.image(engine), "cpu": "20m"} for engine in ENGINES},
        }

    def install(self, given: Values, *options: str) -> float:
        """Seconds until all was ready. Raises Failed."""
        return self._helm("install", given, *options)

    def upgrade(self, given: Values) -> float:
        """Seconds until every part was replaced."""
        return self._helm("upgrade", given)

    def rollback(self) -> float:
        """To what was before the last change."""
        begin = time.monotonic()
        self.cluster.helm("rollback", self.name, *WAIT, namespace=self.namespace)
        return time.monotonic() - begin

    def _helm(self, verb: str, given: Values, *options: str) -> float:
        begin = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(merged(self.values(), given), file)
            file.flush()
            values = f"--values={file.name}"
            self.cluster.helm(verb, self.name, CHART, values, *(options or WAIT), namespace=self.namespace)
        return time.monotonic() - begin

    def uninstall(self, *options: str) -> None:
        self.cluster.helm("uninstall", self.name, *options, namespace=self.namespace)

    def test(self) -> str:
        """What `helm test` printed, the pod's own words included."""
        return self.cluster.helm("test", self.name, "--logs", namespace=self.namespace)

    def boxoffice(self, *arguments: str, input: str = "") -> str:
        """A command of the product, in the admin pod."""
        admin = f"deployment/{self.full}-admin"
        return self.cluster.kubectl(
            "exec", "--stdin", admin, "--", "boxoffice", *arguments, namespace=self.namespace, input=input
        )

    def apply(self, document: Resource) -> None:
        """Returns when every pod knows the sale."""
        self.boxoffice("sale", "apply", "-f", "-", input=json.dumps(document))
        line = f"/api/v1/sales/{document['metadata']['name']}/line"
        deadline = time.monotonic() + KNOWN_SECONDS
        for pod in self.pods("app"):
            while httpx2.get(f"http://{pod['status']['podIP']}:8083{line}").status_code != 200:
                assert time.monotonic() < deadline, pod["metadata"]["name"]
                time.sleep(0.1)

    def url(self, component: str = "app") -> str:
        service = self.cluster.get("service", f"{self.full}-{component}", self.namespace)["spec"]
        return f"http://{service['clusterIP']}:{service['ports'][0]['port']}"

    def pods(self, component: str) -> list[Resource]:
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        return [
            pod
            for pod in self.cluster.select("pod", selector, self.namespace)
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def execute(self, component: str, program: str, *arguments: str) -> str:
        """A Python program, inside the first pod of a component."""
        pod = self.pods(component)[0]["metadata"]["name"]
        return self.cluster.execute(f"pod/{pod}", "python3", "-c", program, *arguments, namespace=self.namespace)

    def restart(self, component: str) -> None:
        """Pod by pod; returns when it is done."""
        what = f"deployment/{self.full}-{component}"
        self.cluster.kubectl("rollout", "restart", what, namespace=self.namespace)
        self.cluster.rolled_out(what, self.namespace)


def merged(ours: Values, given: Values) -> Values:
    """As helm does it: maps one into the other, the rest replaced."""
    out = dict(ours)
    for name, value in given.items():
        both = isinstance(value, dict) and isinstance(out.get(name), dict)
        out[name] = merged(out[name], value) if both else value
    return out


def values_files() -> list[Path]:
    """Every one that is shipped."""
    return sorted(CHART.glob("values-*.yaml"))
