"""The pods: restricted, without tokens, each with no more secrets than it needs, and with time to say goodbye."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import pytest

from boxoffice.server import KEEP_ALIVE_SECONDS
from boxoffice.settings import Settings
from tests.chart.conftest import FULL, Helm, Release

OURS = ("app", "admin", "settle", "operator")
READER = "BOXOFFICE_LEDGER_READER_URL_FILE"
WITH_TOKEN = {"secrets", "crd", "operator"}


@pytest.fixture(params=["outside", "dev", "prod"])
def release(request: pytest.FixtureRequest) -> Release:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Release)
    return found


def test_all_are_there(outside: Release, dev: Release) -> None:
    assert outside.pods().keys() == {*OURS, "migrate", "crd", "secrets", "test"}
    assert dev.pods().keys() == {*OURS, "migrate", "crd", "secrets", "test", "valkey", "kafka", "mysql", "prometheus"}


def test_restricted(release: Release) -> None:
    for component, pod in release.pods().items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, component
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        kinds = {kind for volume in pod["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"secret", "configMap", "emptyDir"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_service_never_becomes_a_setting(release: Release) -> None:
    """A Service called boxoffice would set BOXOFFICE_PORT."""
    for component, pod in release.pods().items():
        assert pod["enableServiceLinks"] is False, component


def test_only_those_who_need_it_have_a_token(release: Release) -> None:
    found = {component for component, pod in release.pods().items() if pod["automountServiceAccountToken"]}
    assert found == WITH_TOKEN
    role = release.get("Role", "secrets")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]


def test_every_process_has_an_account_of_its_own(release: Release) -> None:
    accounts = [release.pods()[component]["serviceAccountName"] for component in OURS]
    assert accounts == [f"{FULL}-{component}" for component in OURS]
    made = {account["metadata"]["name"]: account for account in release.all("ServiceAccount")}
    assert all(made[account]["automountServiceAccountToken"] is False for account in accounts)


def secrets_of(pod: dict[str, Any]) -> set[str]:
    return {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}


def test_buyers_pods_read_the_ledger_at_most_and_have_no_gateway(outside: Release, dev: Release, helm: Helm) -> None:
    named = helm.template({"ledger.readerSecretName": "reader"})
    assert secrets_of(outside.pods()["app"]) == {"boxoffice-store", f"{FULL}-keys"}
    assert secrets_of(named.pods()["app"]) == {"boxoffice-store", "reader", f"{FULL}-keys"}
    assert secrets_of(dev.pods()["app"]) == {f"{FULL}-dev-store", f"{FULL}-dev-reader", f"{FULL}-keys"}
    for release, reads in ((outside, set()), (named, {READER}), (dev, {READER})):
        names = {variable["name"] for variable in release.pods()["app"]["containers"][0]["env"]}
        assert {name for name in names if "LEDGER" in name or "GATEWAY" in name or "ADMIN" in name} == reads


def test_the_rest_has_what_it_needs(outside: Release) -> None:
    ours = {"boxoffice-store", "boxoffice-ledger", "boxoffice-gateway"}
    assert secrets_of(outside.pods()["settle"]) == ours
    assert secrets_of(outside.pods()["admin"]) == {*ours, f"{FULL}-admin"}
    assert secrets_of(outside.pods()["migrate"]) == {"boxoffice-store", "boxoffice-ledger"}


def test_the_admin_sees_only_the_hash_of_the_token(release: Release) -> None:
    [volume] = [v for v in release.pods()["admin"]["volumes"] if v["name"] == "admin"]
    assert volume["secret"]["items"] == [{"key": "token-sha256", "path": "token-sha256"}]


def test_secrets_are_files_that_only_the_pod_reads(release: Release) -> None:
    for component, pod in release.pods().items():
        if component in ("valkey", "kafka", "mysql"):
            continue
        mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o400
                assert mounts[volume["name"]]["readOnly"] is True


def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in pod["containers"][0].get("env", [])}


def test_every_variable_is_a_setting(release: Release) -> None:
    """And has a value that is one; files are not there yet."""
    known = {f"BOXOFFICE_{field.name.upper()}" for field in fields(Settings)}
    for component in (*OURS, "migrate", "test"):
        given = environment(release.pods()[component])
        assert given.keys() <= known, component
        settings = Settings.from_env({name: text for name, text in given.items() if not name.endswith("_FILE")})
        assert settings.instance == f"hall.{FULL}"


def test_files_of_settings_lie_where_they_are_mounted(release: Release) -> None:
    for component in (*OURS, "migrate", "test"):
        pod = release.pods()[component]
        secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
        files = set()
        for mount in pod["containers"][0]["volumeMounts"]:
            for item in secrets.get(mount["name"], {}).get("items", []):
                files.add(f"{mount['mountPath']}/{item['path']}")
        assert {path for name, path in environment(pod).items() if name.endswith("_FILE")} == files


def test_certificates_and_passwords_by_reference(helm: Helm) -> None:
    values = {
        "store.caSecretName": "store-ca",
        "ledger.caSecretName": "ledger-ca",
        "log.caSecretName": "log-ca",
        "log.clientSecretName": "log-client",
        "log.passwordSecretName": "log-password",
        "log.sasl": "PLAIN",
        "log.user": "shop",
    }
    release = helm.template(values)
    given = environment(release.pods()["settle"])
    assert given["BOXOFFICE_LOG_SASL"] == "PLAIN"
    assert given["BOXOFFICE_LOG_KEY_FILE"] == "/run/secrets/boxoffice/log-client/log-client/tls.key"
    assert given["BOXOFFICE_LEDGER_CA_FILE"].endswith("/ledger-ca/ca.crt")
    assert "BOXOFFICE_LEDGER_CA_FILE" not in environment(release.pods()["app"])
    test_files_of_settings_lie_where_they_are_mounted(release)
    reading = helm.template({**values, "ledger.readerSecretName": "reader"})
    assert environment(reading.pods()["app"])["BOXOFFICE_LEDGER_CA_FILE"].endswith("/ledger-ca/ca.crt")
    test_files_of_settings_lie_where_they_are_mounted(reading)


def test_the_grace_period_adds_up(helm: Helm) -> None:
    release = helm.template({"shutdown": {"preStopSeconds": 7, "drainSeconds": 40}})
    for component in OURS:
        pod = release.pods()[component]
        assert pod["terminationGracePeriodSeconds"] == 57
        if component in ("app", "admin"):
            assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
            assert environment(pod)["BOXOFFICE_DRAIN_SECONDS"] == "40"
    assert KEEP_ALIVE_SECONDS > 57, "a load balancer's idle connection ends by itself before ours does"


def test_probes(release: Release) -> None:
    for component in OURS:
        container = release.pods()[component]["containers"][0]
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
        port = "PORT" if component == "app" else f"{component.upper()}_PORT"
        assert environment(release.pods()[component])[f"BOXOFFICE_{port}"] == str(
            container["ports"][0]["containerPort"]
        )


def test_a_lost_node_is_left_after_20_seconds_and_a_rollout_takes_nothing_away(release: Release) -> None:
    for component in OURS:
        leaves = {t["key"]: t["tolerationSeconds"] for t in release.pods()[component]["tolerations"]}
        assert leaves == {"node.kubernetes.io/not-ready": 20, "node.kubernetes.io/unreachable": 20}
        strategy = release.get("Deployment", component)["spec"]["strategy"]
        assert (
            strategy == {"type": "Recreate"}
            if component == "operator"
            else not strategy["rollingUpdate"]["maxUnavailable"]
        )


def test_spread_over_zones_and_nodes(prod: Release) -> None:
    for component in OURS:
        spread = {s["topologyKey"]: s for s in prod.pods()[component]["topologySpreadConstraints"]}
        assert spread["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == "DoNotSchedule"
        assert spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == "ScheduleAnyway"
        selector = prod.get("Deployment", component)["spec"]["selector"]["matchLabels"]
        assert all(s["labelSelector"]["matchLabels"] == selector for s in spread.values())


def test_priorities(prod: Release, outside: Release) -> None:
    values = {c["metadata"]["name"]: c["value"] for c in prod.all("PriorityClass")}
    assert values == {f"hall-{FULL}-app": 100_000, f"hall-{FULL}-settle": 99_900}
    assert prod.pods()["app"]["priorityClassName"] == f"hall-{FULL}-app"
    assert "priorityClassName" not in outside.pods()["app"]


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ({}, "0.0.0.0"),
        ({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}, "::"),
        ({"ipFamilyPolicy": "PreferDualStack"}, ""),
    ],
    ids=str,
)
def test_listens_on_the_families_of_the_services(helm: Helm, values: dict[str, Any], host: str) -> None:
    release = helm.template(values)
    assert environment(release.pods()["app"])["BOXOFFICE_HOST"] == host
    for service in (release.get("Service", "app"), release.get("Service", "admin")):
        assert {name: service["spec"][name] for name in values} == values


async def test_an_empty_host_is_all_addresses() -> None:
    server = await asyncio.start_server(lambda *_: None, None, 0)
    async with server:
        families = {socket.family.name for socket in server.sockets}
    assert "AF_INET" in families


def test_images(helm: Helm) -> None:
    digest = "sha256:" + "a" * 64
    values = {
        "imageRegistry": "registry.example.com/mirror/",
        "image.digest": digest,
        "imagePullSecrets": ["pull"],
        "dev.enabled": True,
    }
    pods = helm.template(values).pods()
    images = {container["image"] for pod in pods.values() for container in pod["containers"]}
    assert f"registry.example.com/mirror/boxoffice@{digest}" in images
    assert all(image.startswith("registry.example.com/mirror/") for image in images)
    assert len(images) == 6
    assert all(pod["imagePullSecrets"] == [{"name": "pull"}] for pod in pods.values())


def test_another_version_begins_no_engine_anew(helm: Helm) -> None:
    """Not even one for development: it would be in the middle of a sale."""
    this, other = (helm.template({"dev.enabled": True, "image.tag": tag}) for tag in ("1.0.0", "1.1.0"))
    for component in ("valkey", "kafka", "mysql"):
        template = this.get("StatefulSet", component)["spec"]["template"]
        assert template == other.get("StatefulSet", component)["spec"]["template"]
    template = this.get("Deployment", "prometheus")["spec"]["template"]
    assert template == other.get("Deployment", "prometheus")["spec"]["template"]
