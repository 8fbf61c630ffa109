"""What our own node can do, and cannot: it is a real one, and it is alone."""

from __future__ import annotations

import json

import httpx2

from tests.cluster.cluster import Cluster, Resource, pod
from tests.cluster.node import Node
from tests.cluster.programs import programs

GREETER = ["python3", "-m", "http.server", "8080", "--directory", "/etc"]


def test_the_node_is_ready_and_of_the_version_that_is_pinned(cluster: Cluster, node: Node) -> None:
    (machine,) = cluster.select("node")
    conditions = {condition["type"]: condition["status"] for condition in machine["status"]["conditions"]}
    versions = json.loads(cluster.kubectl("version", "--output=json"))
    pinned = f"v{programs().parent.name.split('-')[1]}"
    assert conditions["Ready"] == "True"
    assert machine["status"]["nodeInfo"]["kubeletVersion"] == versions["serverVersion"]["gitVersion"] == pinned


def test_a_pod_runs_under_restricted_podsecurity_and_another_is_refused(cluster: Cluster, namespace: str) -> None:
    assert cluster.run("base", "python3", "-c", "import os; print(os.getuid())", namespace=namespace) == "10001\n"
    root = pod("root", cluster.image("base"), ["id"])
    root["spec"]["securityContext"]["runAsUser"] = 0
    said = cluster.refused("kubectl", "create", "--filename=-", namespace=namespace, input=json.dumps(root))
    assert "violates PodSecurity" in said
    assert "runAsUser=0" in said


def test_a_service_answers_by_its_names_and_by_its_address(cluster: Cluster, namespace: str) -> None:
    greet(cluster, namespace)
    address = cluster.get("service", "greeter", namespace)["spec"]["clusterIP"]
    hosts = ["greeter", f"greeter.{namespace}", f"greeter.{namespace}.svc.cluster.local", address]
    fetch = (
        "import sys, urllib.request\n"
        "for host in sys.argv[1:]: print(urllib.request.urlopen(f'http://{host}/os-release', timeout=5).status)"
    )
    said = cluster.run("base", "python3", "-c", fetch, *hosts, namespace=namespace)
    assert said.split() == ["200"] * len(hosts)


def test_a_port_is_forwarded(cluster: Cluster, namespace: str) -> None:
    greet(cluster, namespace)
    with cluster.forward("service/greeter", 80, namespace) as port:
        assert "Debian" in httpx2.get(f"http://127.0.0.1:{port}/os-release").text


def test_a_volume_belongs_to_the_group_of_the_pod(cluster: Cluster, namespace: str) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim},
        namespace=namespace,
    )
    writer = pod("writer", cluster.image("base"), ["sh", "-c", "echo kept >/data/word && cat /data/word"])
    writer["spec"]["securityContext"]["fsGroup"] = 10001
    writer["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    writer["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    cluster.apply(writer, namespace=namespace)
    cluster.wait("pod/writer", "jsonpath={.status.phase}=Succeeded", namespace)
    assert cluster.logs("pod/writer", namespace) == "kept\n"


def test_metrics_server_measures_node_and_pods(cluster: Cluster, node: Node, namespace: str) -> None:
    greet(cluster, namespace)
    cluster.wait("apiservice/v1beta1.metrics.k8s.io", "condition=Available")
    cluster.wait("pods.metrics.k8s.io/greeter", "create", namespace)
    assert "greeter" in cluster.kubectl("top", "pods", namespace=namespace)
    assert "node" in cluster.kubectl("top", "nodes")


def greet(cluster: Cluster, namespace: str) -> None:
    """A pod that serves files on 8080, and a service on 80."""
    greeter = pod("greeter", cluster.image("base"), GREETER, {"app": "greeter"})
    ready: Resource = {"httpGet": {"path": "/os-release", "port": 8080}, "periodSeconds": 1}
    greeter["spec"]["containers"][0]["readinessProbe"] = ready
    service = {"selector": {"app": "greeter"}, "ports": [{"port": 80, "targetPort": 8080}]}
    cluster.apply(
        greeter,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "greeter"}, "spec": service},
        namespace=namespace,
    )
    cluster.wait("pod/greeter", "condition=Ready", namespace)
