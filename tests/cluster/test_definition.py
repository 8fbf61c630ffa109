"""What an installation asks of the Kubernetes API: a definition that no older release overwrites, Secrets made once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from boxoffice import crd, definition, keychain
from boxoffice.errors import Unavailable
from boxoffice.kubeapi import Account, KubeApi, open_kube_api
from tests.cluster.cluster import Cluster, Resource

NAME = "widgets.example.com"
"""Of another definition than the one that the releases here use."""


def widgets(release: str, maximum: int) -> Resource:
    schema = {"type": "object", "properties": {"spec": {"type": "integer", "maximum": maximum}}}
    version: dict[str, Any] = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "annotations": {crd.RELEASE: release} if release else {}},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def rights(namespace: str) -> list[Resource]:
    """As the chart's Jobs have them."""
    group = "rbac.authorization.k8s.io"
    definitions = {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]}
    subjects = [{"kind": "ServiceAccount", "name": "installer", "namespace": namespace}]
    found: list[Resource] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "installer"}}]
    for kind, name, rule in (
        (
            "ClusterRole",
            f"{namespace}-installer",
            definitions | {"resourceNames": [NAME], "verbs": ["get", "create", "patch"]},
        ),
        ("Role", "installer", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}),
    ):
        role = {"apiGroup": group, "kind": kind, "name": name}
        metadata = {"metadata": {"name": name}, "apiVersion": f"{group}/v1"}
        found += [{**metadata, "kind": kind, "rules": [rule]}]
        found += [{**metadata, "kind": f"{kind}Binding", "roleRef": role, "subjects": subjects}]
    return found


@pytest_asyncio.fixture
async def api(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeApi]:
    """As a pod with that account has it."""
    cluster.apply(*rights(namespace), namespace=namespace)
    (tmp_path / "token").write_text(cluster.kubectl("create", "token", "installer", namespace=namespace))
    (tmp_path / "namespace").write_text(namespace)
    trusted = cluster.get("configmap", "kube-root-ca.crt", namespace)["data"]["ca.crt"]
    (tmp_path / "ca.crt").write_text(trusted)
    address = cluster.get("service", "kubernetes", "default")["spec"]["clusterIP"]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", address)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(definition, "PATH", definition.PATH.replace(crd.NAME, NAME))
    async with open_kube_api(Account.of_this_pod(tmp_path)) as api:
        yield api
    cluster.kubectl("delete", "crd", NAME, "--ignore-not-found")
    for kind in ("clusterrolebinding", "clusterrole"):
        cluster.kubectl("delete", kind, f"{namespace}-installer")


async def test_a_definition_is_made_changed_and_never_set_back(
    api: KubeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bring(release: str, maximum: int) -> str:
        monkeypatch.setattr(crd, "definition", lambda: widgets(release, maximum))
        return await definition.apply(api)

    def maximum() -> int:
        [version] = cluster.get("crd", NAME)["spec"]["versions"]
        return int(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["maximum"])

    assert await bring("0.9.0", 1) == "created"
    cluster.kubectl("get", "widgets", "--all-namespaces")
    assert await bring("0.9.0", 2) == "configured"
    assert await bring("0.10.0", 3) == "configured"
    assert "newer release 0.10.0" in await bring("0.9.9", 4)
    assert maximum() == 3


async def test_a_definition_that_somebody_else_made_is_taken_over(
    api: KubeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.apply(widgets("", 1))
    monkeypatch.setattr(crd, "definition", lambda: widgets("0.1.0", 2))
    assert await definition.apply(api) == "configured"
    assert cluster.get("crd", NAME)["metadata"]["annotations"][crd.RELEASE] == "0.1.0"


async def test_secrets_are_made_once(api: KubeApi, cluster: Cluster, namespace: str) -> None:
    assert await keychain.create(api, keychain.keys_secret("keys"))
    first = cluster.get("secret", "keys", namespace)["data"]
    assert not await keychain.create(api, keychain.keys_secret("keys"))
    assert cluster.get("secret", "keys", namespace)["data"] == first
    with pytest.raises(Unavailable, match="403"):
        await api.ask("GET", f"/api/v1/namespaces/{namespace}/secrets/keys", 200)
