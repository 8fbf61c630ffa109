"""What surrounds the pods: hooks and their order, ways in, network policies, scaling, roles, development's engines."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.conftest import FULL, Helm, Release, Resource


def hook(resource: Resource) -> str:
    return str(resource["metadata"].get("annotations", {}).get("helm.sh/hook", ""))


def test_with_engines_outside_tables_come_before_pods(outside: Release) -> None:
    migrate = outside.get("Job", "migrate")
    assert hook(migrate) == "pre-install,pre-upgrade"
    policy = migrate["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert policy == "before-hook-creation,hook-succeeded", "uninstall does not know of hooks"


def test_with_engines_inside_the_job_runs_beside_the_pods(helm: Helm, dev: Release) -> None:
    """A hook would wait for engines that are not there yet, or for pods that wait for it."""
    [migrate] = [job for job in dev.all("Job") if "-migrate-" in job["metadata"]["name"]]
    assert not hook(migrate)
    other = helm.template({"dev.enabled": True, "image.tag": "2.0.0"})
    [newer] = [job for job in other.all("Job") if "-migrate-" in job["metadata"]["name"]]
    assert newer["metadata"]["name"] != migrate["metadata"]["name"], "a Job cannot be changed"


def test_secrets_are_made_first_and_are_no_part_of_the_release(outside: Release) -> None:
    parts = [
        r for r in outside.resources if r["metadata"]["name"] == f"{FULL}-secrets" and r["kind"] != "NetworkPolicy"
    ]
    weights = {r["kind"]: int(r["metadata"]["annotations"]["helm.sh/hook-weight"]) for r in parts}
    assert weights == {"ServiceAccount": -10, "Role": -10, "RoleBinding": -10, "Job": -5}
    assert all(hook(part) == "pre-install,pre-upgrade" for part in parts)
    assert not [secret["metadata"]["name"] for secret in outside.all("Secret")]
    [container] = outside.pods()["secrets"]["containers"]
    assert container["args"] == ["secrets", "--create", "--keys", f"{FULL}-keys", "--admin", f"{FULL}-admin"]


def test_secrets_of_ones_own(helm: Helm) -> None:
    release = helm.template({"secrets": {"create": False, "keysName": "mine", "adminName": "token"}})
    assert "secrets" not in release.pods()
    assert [role["metadata"]["name"] for role in release.all("Role")] == [f"{FULL}-operator"]
    assert {v["secret"]["secretName"] for v in release.pods()["app"]["volumes"] if "secret" in v} >= {"mine"}


def test_uninstall_waits_for_nothing(outside: Release, dev: Release) -> None:
    for release in (outside, dev):
        for resource in release.resources:
            assert "delete" not in hook(resource).replace("pre-upgrade", "")
            assert "finalizers" not in resource["metadata"]


def test_the_definition_belongs_to_no_release(helm: Helm, outside: Release) -> None:
    """It is applied by a Job whose rights end at that one object and with the Job."""
    assert not outside.all("CustomResourceDefinition")
    job = outside.get("Job", "crd")
    [role] = [r for r in outside.all("ClusterRole") if hook(r)]
    [binding] = outside.all("ClusterRoleBinding")
    for resource in (job, role, binding):
        assert hook(resource) == "pre-install,pre-upgrade"
        assert "hook-succeeded" in resource["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    [rule] = role["rules"]
    assert rule["resourceNames"] == ["concertsales.boxoffice.dev"]
    assert "delete" not in rule["verbs"]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["crd", "--apply"]
    without = helm.template({"crds.install": False})
    assert "crd" not in without.pods()
    assert not without.all("ClusterRoleBinding")


def test_two_releases_never_meet(helm: Helm) -> None:
    def instance(namespace: str, name: str) -> str:
        done = helm.run("template", name, "chart", f"--namespace={namespace}")
        pod = Release(done.stdout).pods()["app"]["containers"][0]["env"]
        return str(next(v["value"] for v in pod if v["name"] == "BOXOFFICE_INSTANCE"))

    instances = [instance("a", "b-c"), instance("a-b", "c"), instance("a", "boxoffice"), instance("b", "boxoffice")]
    assert len(set(instances)) == 4


def test_one_namespace_is_enough(helm: Helm) -> None:
    release = helm.template({"clusterRoles": False, "crds.install": False})
    assert {r["metadata"].get("namespace") for r in release.resources} == {"hall"}


def test_roles_for_people(outside: Release) -> None:
    roles = {r["metadata"]["name"].rpartition("-")[2]: r for r in outside.all("ClusterRole") if not hook(r)}
    assert roles.keys() == {"viewer", "editor", "admin"}
    assert roles["viewer"]["rules"][0]["verbs"] == ["get", "list", "watch"]
    assert "delete" in roles["editor"]["rules"][0]["verbs"]
    assert roles["editor"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"


PROBES = {"/livez", "/readyz", "/metrics"}


def test_only_what_buyers_need_is_let_in(helm: Helm) -> None:
    gateway = [{"name": "gateway"}]
    release = helm.template(
        {"httpRoute": {"enabled": True, "parentRefs": gateway, "hostnames": ["a.example"]}, "ingress.enabled": True}
    )
    route, ingress = release.get("HTTPRoute", "app"), release.get("Ingress", "app")
    [rule] = route["spec"]["rules"]
    matches = {(m["path"]["type"], m["path"]["value"]) for m in rule["matches"]}
    assert ("PathPrefix", "/api/v1") in matches
    assert not {path for _, path in matches} & PROBES
    assert not [path for kind, path in matches if kind == "PathPrefix" and path == "/"]
    paths = {p["path"] for p in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths == {path for _, path in matches}
    names = [backend["name"] for backend in rule["backendRefs"]]
    assert names == [f"{FULL}-app"], "no route leads to the admin port"


def allowed(policy: Resource) -> set[tuple[str, int]]:
    """Component (or where) and port of every way out."""
    found = set()
    for rule in policy["spec"].get("egress", []):
        to = rule.get("to", [{}])
        for peer in to:
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            where = labels.get("app.kubernetes.io/component", "anywhere")
            found |= {(where, port["port"]) for port in rule["ports"]}
    return found


def test_default_deny_and_the_ways_out(dev: Release, outside: Release, helm: Helm) -> None:
    for release in (dev, outside):
        deny = release.get("NetworkPolicy", "deny")
        assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in deny["spec"]
        assert allowed(deny) == {("anywhere", 53)}
    engines = {("valkey", 6379), ("kafka", 9092), ("mysql", 3306)}
    assert allowed(dev.get("NetworkPolicy", "app")) == engines
    assert allowed(dev.get("NetworkPolicy", "settle")) == engines
    seen = {*engines, ("prometheus", 9090)}
    assert allowed(dev.get("NetworkPolicy", "admin")) == seen
    assert allowed(dev.get("NetworkPolicy", "test")) == {*engines, ("app", 8083)}
    assert allowed(outside.get("NetworkPolicy", "app")) == {("anywhere", 6379), ("anywhere", 9092)}
    reading = helm.template({"ledger.readerSecretName": "reader"}).get("NetworkPolicy", "app")
    assert allowed(reading) == {("anywhere", 6379), ("anywhere", 9092), ("anywhere", 3306)}


def test_every_pod_is_under_a_policy_that_lets_its_engines_through(dev: Release, outside: Release) -> None:
    for release in (dev, outside):
        selected = {
            p["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component")
            for p in release.all("NetworkPolicy")
        }
        assert release.pods().keys() <= selected


def test_the_operators_ways(helm: Helm, dev: Release, outside: Release) -> None:
    api = {("anywhere", 443), ("anywhere", 6443)}
    inside = {("valkey", 6379), ("mysql", 3306), ("prometheus", 9090)}
    assert allowed(dev.get("NetworkPolicy", "operator")) == api | inside
    engines = {("anywhere", 6379), ("anywhere", 3306)}
    assert allowed(outside.get("NetworkPolicy", "operator")) == api | engines
    elsewhere = helm.template({"dev.enabled": True, "prometheusUrl": "http://prometheus.monitoring:9090"})
    assert ("anywhere", 9090) in allowed(elsewhere.get("NetworkPolicy", "operator"))
    [rule] = dev.get("NetworkPolicy", "operator")["spec"]["ingress"]
    assert rule["ports"] == [{"port": 8085}], "its metrics"


def _scaling(component: str) -> list[dict[str, Any]]:
    """To move its number of pods, and nothing else of it."""
    of = {"apiGroups": ["apps"], "resourceNames": [f"{FULL}-{component}"]}
    return [
        {**of, "resources": ["deployments"], "verbs": ["get"]},
        {**of, "resources": ["deployments/scale"], "verbs": ["get", "patch"]},
    ]


def test_the_operator_may_do_what_it_does_and_in_its_namespace(outside: Release) -> None:
    role, binding = outside.get("Role", "operator"), outside.get("RoleBinding", "operator")
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        {"apiGroups": ["boxoffice.dev"], "resources": ["concertsales"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": ["boxoffice.dev"], "resources": ["concertsales/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
        {**leases, "verbs": ["create"]},
        {**leases, "resourceNames": [f"{FULL}-operator"], "verbs": ["get", "update"]},
        *_scaling("app"),
        *_scaling("settle"),
    ]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "hall"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": f"{FULL}-operator", "namespace": "hall"}]
    assert not [r for r in outside.all("ClusterRoleBinding") if not hook(r)], "nothing outside of it"


def test_the_operator_looks_after_its_own_namespace(dev: Release) -> None:
    [container] = dev.pods()["operator"]["containers"]
    assert container["command"] == ["kopf"]
    assert container["args"] == ["run", "--standalone", "--namespace", "hall", "/opt/boxoffice/operator/main.py"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert given["BOXOFFICE_LEASE"] == f"{FULL}-operator"
    assert given["BOXOFFICE_PROMETHEUS_URL"] == f"http://{FULL}-prometheus.hall:9090"
    assert not [name for name in given if "GATEWAY" in name or "KEYS" in name or "ADMIN" in name]
    assert dev.get("Deployment", "operator")["spec"]["replicas"] == 1


def test_without_an_operator_nothing_of_it_is_left(helm: Helm) -> None:
    for values in ({}, {"dev.enabled": True}):
        release = helm.template({**values, "operator.enabled": False})
        assert not [r["metadata"]["name"] for r in release.resources if "operator" in r["metadata"]["name"]]


def test_more_ways_out(helm: Helm) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}
    release = helm.template({"networkPolicy.extraEgress": [rule]})
    assert rule in release.get("NetworkPolicy", "deny")["spec"]["egress"]
    assert not helm.template({"networkPolicy.enabled": False}).all("NetworkPolicy")


def test_nobody_reaches_the_admin_port_but_those_who_are_named(helm: Helm, outside: Release) -> None:
    assert "ingress" not in outside.get("NetworkPolicy", "admin")["spec"]
    peer = {"namespaceSelector": {"matchLabels": {"team": "sre"}}}
    [rule] = helm.template({"networkPolicy.adminFrom": [peer]}).get("NetworkPolicy", "admin")["spec"]["ingress"]
    assert rule["from"] == [peer]


def test_a_gateway_alone(prod: Release) -> None:
    [rule] = prod.get("NetworkPolicy", "app")["spec"]["ingress"]
    assert len(rule["from"]) == 3, "the gateway, Prometheus, and the smoke test"


@pytest.mark.parametrize("kind", ["HPA", "KEDA"])
def test_one_writer_of_replicas(helm: Helm, kind: str) -> None:
    values: dict[str, Any] = {"prometheusUrl": "http://prometheus:9090", "log.url": "kafka://k:9092"}
    release = helm.template({**values, "app.autoscaling.kind": kind, "settle.autoscaling.kind": kind})
    for component in ("app", "settle"):
        assert "replicas" not in release.get("Deployment", component)["spec"]
        scaler = release.get({"HPA": "HorizontalPodAutoscaler", "KEDA": "ScaledObject"}[kind], component)
        assert scaler["spec"]["scaleTargetRef"]["name"] == f"{FULL}-{component}"


def test_losing_prometheus_takes_no_pod_away(helm: Helm) -> None:
    release = helm.template({"app.autoscaling.kind": "KEDA", "prometheusUrl": "http://prometheus:9090"})
    scaler = release.get("ScaledObject", "app")["spec"]
    assert scaler["fallback"]["behavior"] == "currentReplicasIfHigher"
    [prometheus] = [t["metadata"] for t in scaler["triggers"] if t["type"] == "prometheus"]
    assert prometheus["ignoreNullValues"] == "false"


def test_budgets(outside: Release) -> None:
    for component in ("app", "settle"):
        budget = outside.get("PodDisruptionBudget", component)["spec"]
        assert budget["maxUnavailable"] == 1
        deployment = outside.get("Deployment", component)["spec"]
        assert budget["selector"] == deployment["selector"]


def test_engines_for_development_are_sized_from_their_limits(helm: Helm) -> None:
    release = helm.template({"dev": {"enabled": True, "valkey": {"memory": "400Mi"}, "mysql": {"memory": "3Gi"}}})
    assert "maxmemory 300mb" in release.get("Secret", "valkey")["stringData"]["valkey.conf"]
    assert "innodb-buffer-pool-size=1536M" in release.get("Secret", "mysql")["stringData"]["my.cnf"]
    heap = {v["name"]: v["value"] for v in release.pods()["kafka"]["containers"][0]["env"]}["KAFKA_HEAP_OPTS"]
    assert heap.endswith("-Xmx512m")


def test_prometheus_of_dev_scrapes_what_the_default_signals_ask_for(dev: Release) -> None:
    config = yaml.safe_load(dev.get("ConfigMap", "prometheus")["data"]["prometheus.yml"])
    assert config["global"]["scrape_interval"] == "5s"
    found = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in config["scrape_configs"]}
    assert found == {"app": 8083, "settle": 8085, "operator": 8085, "mysql": 9256}
    for job, port in found.items():
        assert dev.get("Service", f"{job}-pods")["spec"]["ports"][0]["port"] == port
    [rule] = dev.get("NetworkPolicy", "prometheus")["spec"]["egress"]
    assert {port["port"] for port in rule["ports"]} == set(found.values())


def test_the_exporter_sees_mysql_and_is_seen_by_prometheus_alone(helm: Helm, dev: Release) -> None:
    pod = dev.pods()["mysql"]
    exporter = pod["containers"][1]
    assert pod["shareProcessNamespace"] is True
    assert [mount["subPath"] for mount in exporter["volumeMounts"]] == ["exporter.yml"], "no password"
    files = dev.get("Secret", "mysql")["stringData"]
    [group] = yaml.safe_load(files["exporter.yml"])["process_names"]
    assert group["name"] == "mysqld"
    assert f"exec mysqld {group['cmdline'][0]}" in files["start.sh"]
    clients, metrics = dev.get("NetworkPolicy", "mysql")["spec"]["ingress"]
    assert (clients["ports"], metrics["ports"]) == ([{"port": 3306}], [{"port": 9256}])
    [peer] = metrics["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "prometheus"
    without = helm.template({"dev.enabled": True, "dev.prometheus.enabled": False})
    assert [container["name"] for container in without.pods()["mysql"]["containers"]] == ["mysql"]
    assert "exporter.yml" not in without.get("Secret", "mysql")["stringData"]


def test_the_log_of_dev_has_a_good_id(dev: Release) -> None:
    """16 bytes in base64 without its padding."""
    script = dev.get("Secret", "kafka")["stringData"]["start.sh"]
    identity = script.partition(" -t ")[2].split()[0]
    assert len(identity) == 22


def test_volumes_of_dev_stay_or_go(helm: Helm, dev: Release) -> None:
    assert dev.get("StatefulSet", "mysql")["spec"]["volumeClaimTemplates"]
    passing = helm.template({"dev.enabled": True, "dev.persistence.enabled": False})
    assert "volumeClaimTemplates" not in passing.get("StatefulSet", "mysql")["spec"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "4Gi"}} in passing.pods()["mysql"]["volumes"]


def test_services_select_pods(dev: Release) -> None:
    labels = []
    for kind in ("Deployment", "StatefulSet"):
        labels += [r["spec"]["template"]["metadata"]["labels"] for r in dev.all(kind)]
    for service in dev.all("Service"):
        selector = service["spec"]["selector"]
        assert [1 for found in labels if selector.items() <= found.items()] == [1], service["metadata"]["name"]


def test_another_password_makes_new_pods(helm: Helm, dev: Release) -> None:
    other = helm.template({"dev": {"enabled": True, "password": "other"}, "app.podAnnotations": {"a": "b"}})
    templates = [r.get("Deployment", "app")["spec"]["template"]["metadata"]["annotations"] for r in (dev, other)]
    assert templates[0].keys() | {"a"} == templates[1].keys()
    assert templates[0]["boxoffice.dev/engines"] != templates[1]["boxoffice.dev/engines"]


def test_traces_come_from_those_on_the_way_of_an_order(helm: Helm, outside: Release) -> None:
    url = "http://collector.monitoring:4318/v1/traces"
    traced = helm.template({"traces.url": url, "traces.ratio": 0.05})
    for component, pod in traced.pods().items():
        given = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        assert given["BOXOFFICE_LOG_FORMAT"] == "json"
        ours = {name: value for name, value in given.items() if "TRACES" in name}
        wanted = {"BOXOFFICE_TRACES_URL": url, "BOXOFFICE_TRACES_RATIO": "0.05"}
        assert ours == (wanted if component in ("app", "settle") else {})
    for component in ("app", "settle", "admin"):
        before, after = (allowed(each.get("NetworkPolicy", component)) for each in (outside, traced))
        assert after - before == ({("anywhere", 4318)} if component != "admin" else set())
    assert "TRACES" not in outside.text
