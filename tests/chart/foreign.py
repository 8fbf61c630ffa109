"""Schemas of resources that others define, from their projects' Go modules, in the form that kubeconform reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import CACHE, programs

CHAOS = ("networkchaos", "podchaos", "stresschaos", "timechaos")
EXPERIMENTS = {
    # The newest that is a module; Schedule came with version 2, whose experiments are the same.
    "github.com/chaos-mesh/chaos-mesh@v1.2.4": [f"config/crd/bases/chaos-mesh.org_{kind}.yaml" for kind in CHAOS],
}
DEFINITIONS = {
    "github.com/argoproj/argo-cd/v2@v2.14.0": ["manifests/crds/application-crd.yaml"],
    "github.com/kedacore/keda/v2@v2.21.0": ["config/crd/bases/keda.sh_scaledobjects.yaml"],
    "sigs.k8s.io/gateway-api@v1.2.1": ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
}
SKAFFOLD = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"


def module(name: str) -> Path:
    """Its folder, fetched when it is not there."""
    programs("tools")  # which fetch Go where it is missing
    ours = sorted(str(go.parent) for go in CACHE.glob("go-*/bin/go"))
    go = shutil.which("go", path=os.pathsep.join([os.environ["PATH"], *ours]))
    assert go, "Go is needed to fetch a module"
    done = subprocess.run([go, "mod", "download", "-json", name], cwd="/", capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def write_schemas(folder: Path) -> None:
    """Of every definition, by kind and version, and of skaffold.yaml."""
    for name, files in (DEFINITIONS | EXPERIMENTS).items():
        for file in files:
            for kind, version, schema in _versions((module(name) / file).read_text()):
                (folder / f"{kind.lower()}-{version}.json").write_text(json.dumps(schema))
    schemas = module(SKAFFOLD) / "docs-v2/content/en/schemas"
    shutil.copy(schemas / "v4beta13.json", folder / "config-v4beta13.json")


def _versions(text: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for definition in yaml.safe_load_all(text):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = (version.get("schema") or spec["validation"])["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            yield definition["spec"]["names"]["kind"], version["name"], _closed(schema)


def _closed(schema: Any) -> Any:
    """Unknown fields, which an apiserver would drop without a word, are refused."""
    if isinstance(schema, list):
        return [_closed(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(member) for name, member in schema.items() if name != "format"}
    if "properties" in schema and not {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & schema.keys():
        closed["additionalProperties"] = False
    return closed


def conform(folder: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """kubeconform, with those schemas alone."""
    location = str(folder) + "/{{.ResourceKind}}-{{.ResourceAPIVersion}}.json"
    command: list[str | Path] = [
        programs("tools") / "kubeconform",
        "-strict",
        "-summary",
        "-schema-location",
        location,
        *files,
    ]
    return subprocess.run(command, capture_output=True, text=True)
