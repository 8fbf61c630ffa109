"""Every values file renders to resources that this very API server takes, with no field that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.chart.foreign import DEFINITIONS, conform, module, write_schemas as write_foreign_schemas
from tests.cluster.cluster import Cluster
from tests.cluster.node import Node
from tests.cluster.release import CHART, values_files
from tests.cluster.schemas import write_schemas

VALUES = {"values.yaml": "", "dev": "dev.enabled=true", **{file.name: "" for file in values_files()}}
"""Files by name, and the one switch that brings engines of its own; each with what is set beside it."""


@pytest.fixture(scope="module")
def foreign(cluster: Cluster, own_node: Node | None) -> Iterator[None]:
    """Definitions of others, which a values file may ask for."""
    with ExitStack() as stack:
        if own_node:
            stack.enter_context(own_node.cell.outside())
        files = [module(name) / file for name, paths in DEFINITIONS.items() for file in paths]
    for file in files:
        cluster.kubectl("apply", "--server-side", f"--filename={file}")
    yield
    for file in files:
        cluster.kubectl("delete", f"--filename={file}", "--wait=false")


@pytest.fixture(scope="module")
def schemas(cluster: Cluster, foreign: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_foreign_schemas(folder)
    write_schemas(cluster, folder)
    return folder


@pytest.fixture(params=VALUES)
def rendered(request: pytest.FixtureRequest, cluster: Cluster, namespace: str, tmp_path: Path) -> Path:
    file = CHART / request.param
    values = [f"--values={file}"] if file.exists() else []
    given = [f"--set={VALUES[request.param]}"] if VALUES[request.param] else []
    out = tmp_path / "rendered.yaml"
    out.write_text(cluster.helm("template", "boxoffice", CHART, *values, *given, namespace=namespace))
    return out


def test_kubeconform_knows_every_field(rendered: Path, schemas: Path) -> None:
    said = conform(schemas, rendered)
    assert said.returncode == 0, said.stdout
    assert "Skipped: 0" in said.stdout


def test_a_field_that_nobody_knows_is_found(rendered: Path, schemas: Path, tmp_path: Path) -> None:
    resources = [resource for resource in yaml.safe_load_all(rendered.read_text()) if resource]
    (deployment,) = [r for r in resources if r["kind"] == "Deployment"][:1]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(deployment))
    said = conform(schemas, wrong)
    assert said.returncode
    assert "imagePullPolice" in said.stdout


def test_the_api_server_takes_it(cluster: Cluster, namespace: str, foreign: None, rendered: Path) -> None:
    resources = [resource for resource in yaml.safe_load_all(rendered.read_text()) if resource]
    said = cluster.apply(*resources, namespace=namespace, options=["--server-side", "--dry-run=server"])
    assert len(said.splitlines()) == len(resources)
