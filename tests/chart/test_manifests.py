"""The manifests: sales that are valid, and resources of others that fit their schemas where those can be had."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from boxoffice.sale import parse_sales
from tests.chart.conftest import Helm
from tests.chart.foreign import conform, write_schemas
from tests.cluster.programs import ROOT

MANIFESTS = ROOT / "manifests"
TESTRUN = MANIFESTS / "load/testrun.yaml"
SCRIPTS = sorted((ROOT / "load").glob("*.js"))
SALES = sorted(MANIFESTS.glob("concertsale*.yaml"))


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder)
    return folder


@pytest.mark.parametrize("file", SALES, ids=lambda file: file.stem)
def test_a_sale_is_valid(file: Path) -> None:
    assert parse_sales(file.read_bytes())


def test_sales_from_smallest_to_full() -> None:
    def fields(name: str) -> int:
        spec = yaml.safe_load((MANIFESTS / name).read_text())["spec"]
        return sum(len(value) if isinstance(value, dict) else 1 for value in spec.values())

    sizes = [fields(f"{name}.yaml") for name in ("concertsale-small", "concertsale-medium", "concertsale")]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("file", sorted(MANIFESTS.rglob("*.yaml")), ids=lambda file: file.name)
def test_every_manifest_is_whole(file: Path) -> None:
    assert file.read_text().startswith("#"), "a comment says what it is for"
    for document in yaml.load_all(file.read_text(), yaml.CSafeLoader):
        # Values of somebody else's chart, and files of a Prometheus outside Kubernetes, are no resources.
        if not file.name.endswith((".values.yaml", "rules.yaml", "alertmanager.yaml")):
            assert {"apiVersion", "kind", "metadata"} <= document.keys()


def test_skaffold_fits_its_schema(schemas: Path, tmp_path: Path) -> None:
    assert conform(schemas, ROOT / "skaffold.yaml").returncode == 0
    wrong = tmp_path / "skaffold.yaml"
    wrong.write_text((ROOT / "skaffold.yaml").read_text().replace("chartPath", "chartpath"))
    assert conform(schemas, wrong).returncode == 1


def test_skaffold_names_what_the_chart_makes(helm: Helm) -> None:
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    [release] = config["deploy"]["helm"]["releases"]
    values: dict[str, Any] = release["setValues"]
    done = helm.run(
        "template",
        release["name"],
        ROOT / release["chartPath"],
        *(f"--set-json={name}={str(value).lower()}" for name, value in values.items()),
    )
    assert done.returncode == 0, done.stderr
    made = {r["metadata"]["name"] for r in yaml.load_all(done.stdout, yaml.CSafeLoader) if r and r["kind"] == "Service"}
    assert {forward["resourceName"] for forward in config["portForward"]} <= made


CHAOS = sorted((MANIFESTS / "chaos").glob("*.yaml"))
SCHEDULE = {"schedule", "concurrencyPolicy", "historyLimit", "type"}


def experiments(file: Path) -> Iterator[dict[str, Any]]:
    """A Schedule as the experiment that it makes."""
    for document in yaml.safe_load_all(file.read_text()):
        if document["kind"] == "Schedule":
            spec = document["spec"]
            kind = spec["type"]
            field = kind[0].lower() + kind[1:]
            assert spec.keys() == {*SCHEDULE, field}
            document |= {"kind": kind, "spec": spec[field]}
        yield document


@pytest.mark.parametrize("file", CHAOS, ids=lambda file: file.stem)
def test_experiments_fit_the_schemas_of_chaos_mesh(schemas: Path, tmp_path: Path, file: Path) -> None:
    found = list(experiments(file))
    plain, wrong = tmp_path / "plain.yaml", tmp_path / "wrong.yaml"
    plain.write_text(yaml.safe_dump_all(found))
    done = conform(schemas, plain)
    assert done.returncode == 0, done.stdout
    found[-1]["spec"]["mode"] = "some"
    wrong.write_text(yaml.safe_dump_all(found))
    assert conform(schemas, wrong).returncode == 1


@pytest.mark.parametrize("file", CHAOS, ids=lambda file: file.stem)
def test_experiments_meet_pods_that_the_chart_makes(helm: Helm, file: Path) -> None:
    release = helm.template({"dev.enabled": True})
    made = release.pods().keys()
    for experiment in experiments(file):
        selector = experiment["spec"]["selector"]
        assert selector["labelSelectors"]["app.kubernetes.io/instance"] == "shop"
        component = selector["labelSelectors"].get("app.kubernetes.io/component")
        meant = {component} if component else set(selector["expressionSelectors"][0]["values"])
        assert meant <= made


def test_argo_cd(schemas: Path) -> None:
    done = conform(schemas, MANIFESTS / "gitops" / "argocd.yaml")
    assert done.returncode == 0, done.stdout
    assert "Valid: 2" in done.stdout


@pytest.mark.parametrize(("field", "wrong"), [("", ""), ("parallelism", "paralellism"), ("localFile", "local")])
def test_the_crowd_of_several_runners(tmp_path: Path, field: str, wrong: str) -> None:
    """Its definition cannot be fetched as a module of Go: the schema beside this file has what is documented."""
    shutil.copy(Path(__file__).parent / "testrun-v1alpha1.json", tmp_path)
    run = tmp_path / "testrun.yaml"
    run.write_text(TESTRUN.read_text().replace(field, wrong))
    done = conform(tmp_path, run)
    assert done.returncode == (1 if wrong else 0), done.stdout


def test_crowds_are_one_crowd_however_they_run() -> None:
    """The Job and the TestRun give the script the same, and what it reads."""
    job, run = (yaml.safe_load((MANIFESTS / "load" / name).read_text()) for name in ("job.yaml", "testrun.yaml"))
    [k6] = job["spec"]["template"]["spec"]["containers"]
    runner = run["spec"]["runner"]
    given = {each["name"]: each["value"] for each in runner["env"]}
    assert given.pop("RUNNERS") == str(run["spec"]["parallelism"])
    assert given.keys() == {each["name"] for each in k6["env"]}
    read = set(re.findall(r"__ENV\.(\w+)", "".join(file.read_text() for file in SCRIPTS)))
    assert given.keys() | {"RUNNERS"} <= read
    assert k6["args"][-1] == run["spec"]["script"]["localFile"] == "/scripts/onsale.js"
    assert (runner["image"], runner["containerSecurityContext"]) == (k6["image"], k6["securityContext"])


def test_the_charts_resources_of_others(schemas: Path, helm: Helm, tmp_path: Path) -> None:
    release = helm.template(
        {
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["a.example"]},
            "app.autoscaling.kind": "KEDA",
            "settle.autoscaling.kind": "KEDA",
            "prometheusUrl": "http://prometheus:9090",
            "log.url": "kafka://k1:9092",
        }
    )
    file = tmp_path / "others.yaml"
    file.write_text(yaml.safe_dump_all([*release.all("HTTPRoute"), *release.all("ScaledObject")]))
    done = conform(schemas, file)
    assert done.returncode == 0, done.stdout
    assert "Valid: 3" in done.stdout
