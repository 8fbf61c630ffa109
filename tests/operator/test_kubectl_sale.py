"""`kubectl sale` against a real API server, by the real kubectl; what the operator would write, the test writes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from boxoffice.kubeapi import Account
from boxoffice.override import ANNOTATION, parse
from tests.cluster.cluster import Cluster
from tests.integration.house import SALE, resource
from tests.operator.apiserver import ApiServer
from tests.operator.office import open_office

Sale = Callable[..., "subprocess.CompletedProcess[str]"]
SALE_COMMAND = [sys.executable, "-c", "from boxoffice.kubectl_sale import main; main()"]
RESUMED = "what the spec says counts"
COMPONENTS = ("app", "settle", "operator", "admin")


@pytest.fixture
def environment(cluster: Cluster) -> dict[str, str]:
    """As the installed plugin has it."""
    return {**cluster.environment, "COLUMNS": "200"}


@pytest.fixture
def sale(environment: dict[str, str], namespace: str) -> Sale:
    """Runs `kubectl sale`, which must end with `code`."""

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [*SALE_COMMAND, *words, f"--namespace={namespace}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def applied(cluster: Cluster, namespace: str) -> str:
    cluster.apply(resource(), namespace=namespace)
    return namespace


def write_status(cluster: Cluster, namespace: str, **status: Any) -> None:
    patch = json.dumps({"status": status})
    where = ("--subresource=status", "--type=merge")
    cluster.kubectl("patch", "csale", SALE, *where, f"--patch={patch}", namespace=namespace)


def condition(type: str, status: str = "True", reason: str = "Applied", message: str = "as it is") -> dict[str, str]:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": type, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def annotation(cluster: Cluster, namespace: str) -> str:
    return str(cluster.get("csale", SALE, namespace)["metadata"]["annotations"][ANNOTATION])


def test_it_is_a_plugin_of_kubectl(environment: dict[str, str], applied: str, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-sale"
    plugin.write_text(f"#!{sys.executable}\nfrom boxoffice.kubectl_sale import main\nmain()\n")
    plugin.chmod(0o755)
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    command = ["kubectl", "sale", "get", SALE, "-n", applied]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1].split()[:4] == [SALE, "-", "Open", "Auto"]


def test_get_shows_what_the_status_says(sale: Sale, cluster: Cluster, applied: str) -> None:
    admission = {"active": 380, "activeTarget": 400, "perMinute": 612, "limitedBy": "Target", "reason": "as it is"}
    seats = {"total": 100, "held": 12, "sold": 34}
    write_status(cluster, applied, waiting=1200, admission=admission, seats=seats, conditions=[condition("Ready")])
    ours = sale("get").stdout.splitlines()
    theirs = cluster.kubectl("get", "csale", namespace=applied).splitlines()
    assert ours[0].split() == theirs[0].split()
    assert ours[1].split()[:10] == theirs[1].split()[:10]


def test_what_is_not_there_is_said_in_one_line(sale: Sale, environment: dict[str, str], namespace: str) -> None:
    assert sale("get").stderr == "no sale here\n"
    for words in (("get", "gone"), ("get", "gone", "-w"), ("explain", "gone"), ("preflight", "gone")):
        said = sale(*words, code=1).stderr
        assert said == 'kubectl sale: Error from server (NotFound): concertsales.boxoffice.dev "gone" not found\n'
    assert "nowhere" in sale("get", "--context=nowhere", code=1).stderr


def test_explain_says_why_and_what_happened_last(sale: Sale, cluster: Cluster, applied: str) -> None:
    ready = condition("Ready", message="the pods have it")
    write_status(cluster, applied, admission={"limitedBy": "NotOpen"}, conditions=[ready])
    owner = cluster.get("csale", SALE, applied)["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "first"},
        "involvedObject": {"kind": "ConcertSale", "name": SALE, "namespace": applied, "uid": owner["uid"]},
        "type": "Normal",
        "reason": "Opened",
        "message": "the first buyers are called",
        "lastTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    other = {**event, "metadata": {"name": "other"}, "message": "not ours"}
    other["involvedObject"] = {"kind": "Pod", "name": SALE, "namespace": applied}
    cluster.apply(event, other, namespace=applied)
    said = sale("explain", SALE).stdout
    for words in ("to let more in  wait for opensTime", "Applied: the pods have it", "Opened: the first buyers"):
        assert words in said
    assert "not ours" not in said


class Operator(threading.Thread):
    """Mirrors the override that it is waiting for into the status, as the real one does."""

    def __init__(self, cluster: Cluster, namespace: str, policy: str) -> None:
        super().__init__()
        self._cluster, self._namespace, self._policy = cluster, namespace, policy

    def run(self) -> None:
        where = ("csale", SALE, f"--for=jsonpath={{.metadata.annotations.{ANNOTATION.replace('.', chr(92) + '.')}}}")
        self._cluster.kubectl("wait", *where, "--timeout=60s", namespace=self._namespace)
        while (override := parse(annotation(self._cluster, self._namespace))).policy != self._policy:
            time.sleep(0.05)
        status = "False" if override.policy == "Open" else "True"
        words = (
            f"{override.policy} by {override.who}: {override.why}" if status == "True" else "what the spec says counts"
        )
        mirrored = condition("Overridden", status, f"Override{override.policy}", words)
        write_status(self._cluster, self._namespace, conditions=[mirrored])


@pytest.mark.parametrize(
    ("command", "policy"), [("hold", "Hold"), ("drain", "Drain"), ("close", "Closed"), ("resume", "Open")]
)
def test_an_override_is_written_and_confirmed(
    sale: Sale, cluster: Cluster, applied: str, command: str, policy: str
) -> None:
    before = cluster.get("csale", SALE, applied)["spec"]
    operator = Operator(cluster, applied, policy)
    operator.start()
    yes = ["--yes"] if command == "close" else []
    done = sale(command, SALE, "--why", "the ledger's slow", "--who", "ann", *yes)
    operator.join()
    words = RESUMED if policy == "Open" else f"{policy} by ann: the ledger's slow"
    assert f"the operator confirms: {words}" in done.stdout, done.stderr
    override = parse(annotation(cluster, applied))
    assert (override.policy, override.who, override.why, override.until) == (policy, "ann", "the ledger's slow", None)
    assert cluster.get("csale", SALE, applied)["spec"] == before


def test_an_override_that_nobody_confirms_says_what_works_without(sale: Sale, cluster: Cluster, applied: str) -> None:
    """A status of another override is no confirmation of this one."""
    write_status(cluster, applied, conditions=[condition("Overridden", "True", "OverrideDrain", "Drain by ann: full")])
    done = sale("drain", SALE, "--why", "enough", "--who", "ann", "--until", "20m")
    assert "boxoffice sale drain" in done.stderr
    until = parse(annotation(cluster, applied)).until
    assert until
    assert timedelta(minutes=19) < until - datetime.now(UTC) < timedelta(minutes=20)
    assert "Drain by" in sale("get").stdout


async def test_the_operator_confirms_what_it_carried_into_the_pods(
    apiserver: ApiServer, account: Account, sale: Sale, tmp_path: Path
) -> None:
    async with open_office(apiserver, account, tmp_path) as office:
        office.apply(resource())
        await office.until_condition("Ready", "True")
        done = await asyncio.to_thread(sale, "hold", SALE, "--why", "the ledger is slow", "--who", "ann")
        await office.until_state("hold")
        assert "the operator confirms: Hold by ann: the ledger is slow" in done.stdout, done.stderr
        assert "limited by      Override: ann gave Hold: the ledger is slow" in sale("explain", SALE).stdout


def test_rate_edits_the_spec_and_says_that_gitops_may_revert_it(sale: Sale, cluster: Cluster, applied: str) -> None:
    assert "GitOps reverts it" in sale("rate", SALE, "900").stderr
    admission = cluster.get("csale", SALE, applied)["spec"]["admission"]
    assert (admission["mode"], admission["perMinute"], admission["initialActive"]) == ("Manual", 900, 200)
    sale("rate", SALE, "auto")
    admission = cluster.get("csale", SALE, applied)["spec"]["admission"]
    assert (admission["mode"], admission["perMinute"]) == ("Auto", 900)


def test_simulate_takes_the_sale_from_the_cluster(sale: Sale, applied: str, tmp_path: Path) -> None:
    said = sale("simulate", SALE, "--crowd=500", "--capacity=100", "--stay=30").stdout
    assert "capacity 100 inside; " in said
    assert "\n100 seats are sold out " in said
    inside = [[5 * n, str(n)] for n in range(1, 40)]
    usage = [[5 * n, str(n / 50)] for n in range(1, 40)]
    series = [
        {"metric": {"signal": "inside"}, "values": inside},
        {"metric": {"signal": "DatabaseCpu"}, "values": usage},
    ]
    export = tmp_path / "range.json"
    export.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}}))
    assert "capacity 50 inside; " in sale("simulate", SALE, "--crowd=500", f"--from={export}").stdout


def test_simulate_says_what_to_install(environment: dict[str, str], applied: str) -> None:
    program = "import sys; sys.modules['lupa'] = None; from boxoffice.kubectl_sale import main; main()"
    command = [sys.executable, "-c", program, "simulate", SALE, f"--namespace={applied}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "kubectl sale: this needs a Lua: pip install 'boxoffice[simulate]'\n"


class Watching:
    """`kubectl sale get -w`, its lines as they come."""

    def __init__(self, process: subprocess.Popen[str], lines: IO[str]) -> None:
        self.process = process
        self._lines = lines

    def until(self, *words: str) -> str:
        for line in self._lines:
            if all(word in line for word in words):
                return line
        raise AssertionError(f"it ended without {words}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def watch(environment: Mapping[str, str], namespace: str) -> Iterator[Watching]:
    command = [*SALE_COMMAND, "get", "-w", f"--namespace={namespace}"]
    out, err = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(
        command, env=environment, stdout=out, stderr=err, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        yield Watching(process, process.stdout)
        process.kill()


@pytest.fixture
def watching(environment: dict[str, str], applied: str) -> Iterator[Watching]:
    with watch(environment, applied) as watching:
        yield watching


def test_a_watch_says_each_change_until_ctrl_c(watching: Watching, cluster: Cluster, applied: str) -> None:
    watching.until("NAME", "LIMITED-BY")
    watching.until(SALE, "Open")
    cluster.kubectl("patch", "csale", SALE, "--type=merge", '--patch={"spec":{"policy":"Hold"}}', namespace=applied)
    watching.until(SALE, "Hold")
    cluster.apply(resource(name="another"), namespace=applied)
    watching.until("another", "Open")
    cluster.kubectl("delete", "csale", "another", namespace=applied)
    watching.until("another deleted")
    assert watching.stop() == 0
    assert watching.process.stdout
    assert watching.process.stdout.read() == ""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_watch_that_ends_is_begun_again(watching: Watching, cluster: Cluster, applied: str) -> None:
    watching.until(SALE, "Open")
    [first] = until_any(lambda: children(watching.process.pid))
    os.kill(first, signal.SIGKILL)
    until_any(lambda: set(children(watching.process.pid)) - {first})
    cluster.kubectl("patch", "csale", SALE, "--type=merge", '--patch={"spec":{"policy":"Drain"}}', namespace=applied)
    watching.until(SALE, "Drain")
    assert watching.stop() == 0


def until_any(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


async def test_a_watch_outlives_the_apiserver(own_apiserver: ApiServer) -> None:
    namespace, there = own_apiserver.make_namespace(), own_apiserver.cluster
    there.apply(resource(), namespace=namespace)
    with watch(there.environment, namespace) as watching:
        watching.until(SALE, "Open")
        await own_apiserver.stop()
        watching.until("kubectl sale: ", "refused")
        await own_apiserver.start()
        hold = '--patch={"spec":{"policy":"Hold"}}'
        there.kubectl("patch", "csale", SALE, "--type=merge", hold, namespace=namespace)
        watching.until(SALE, "Hold")
        assert watching.stop() == 0


def test_on_a_terminal_the_table_is_drawn_in_place(environment: dict[str, str], cluster: Cluster, applied: str) -> None:
    ours, theirs = pty.openpty()
    command = [*SALE_COMMAND, "get", "-w", f"--namespace={applied}"]
    process = subprocess.Popen(
        command, env={**environment, "TERM": "xterm"}, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = read_until(ours, b"Open")
    cluster.kubectl("patch", "csale", SALE, "--type=merge", '--patch={"spec":{"policy":"Hold"}}', namespace=applied)
    said += read_until(ours, b"Hold")
    assert b"\x1b[2K" in said, "lines are cleared and drawn again"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    os.close(ours)


def read_until(terminal: int, words: bytes) -> bytes:
    said = b""
    while words not in said:
        said += os.read(terminal, 65_536)
    return said


def labels(component: str, release: str = "shop") -> dict[str, str]:
    part = {"app.kubernetes.io/part-of": "boxoffice", "app.kubernetes.io/instance": release}
    return {**part, "app.kubernetes.io/component": component}


def deployment(component: str, replicas: int, release: str = "shop") -> dict[str, Any]:
    template = {
        "metadata": {"labels": labels(component, release)},
        "spec": {
            "containers": [{"name": component, "image": "boxoffice:1"}],
            "volumes": [{"name": "keys", "secret": {"secretName": "shop-keys"}}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{release}-{component}", "labels": labels(component, release)},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels(component, release)}, "template": template},
    }


def pod(cluster: Cluster, namespace: str, component: str) -> None:
    """Ready, as a kubelet would say."""
    container = {"name": component, "image": "boxoffice:1"}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"shop-{component}-1", "labels": labels(component)},
        "spec": {"containers": [container]},
    }
    cluster.apply(document, namespace=namespace)
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"name": component, "image": "boxoffice:1", "imageID": "boxoffice@1", "ready": True, "restartCount": 0}
        ],
    }
    patch = f"--patch={json.dumps({'status': status})}"
    where = ("pod", f"shop-{component}-1", "--subresource=status", "--type=merge")
    cluster.kubectl("patch", *where, patch, namespace=namespace)


def test_preflight_looks_at_what_is_around_a_sale(sale: Sale, cluster: Cluster, applied: str) -> None:
    """The pods cannot be asked here: there is no kubelet."""
    write_status(cluster, applied, observedGeneration=1, conditions=[condition("Ready")])
    cluster.apply(*(deployment(component, 1) for component in COMPONENTS), namespace=applied)
    for component in COMPONENTS:
        pod(cluster, applied, component)
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop-app", "labels": labels("app")},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-app"},
            "maxReplicas": 50,
        },
    }
    budgets = [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": f"shop-{component}", "labels": labels(component)},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(component)}},
        }
        for component in ("app", "settle")
    ]
    cluster.apply(scaler, *budgets, namespace=applied)
    said = sale("preflight", SALE, code=1).stdout.splitlines()
    for line in (
        "✓ ConcertSale: ready, Applied",
        "✓ app: 1 of 1 pods ready",
        "✓ settle: 1 of 1 pods ready",
        "✓ operator: 1 of 1 pods ready",
        "✓ image: the same everywhere: boxoffice@1",
        "✓ scaling: up to 50 app pods by HorizontalPodAutoscaler; 1,000,000 may wait, 20,000 a pod make 50",
        "✓ disruption: app and settle have a PodDisruptionBudget",
        "✗ secrets: missing: shop-keys → make them; chart/README.md says what is in each",
    ):
        assert line in said
    assert [line for line in said if line.startswith("✗ inside: the admin pod cannot be asked: ")]
    assert [line for line in said if line.startswith("! alert rules: ")]
    assert said[-1].startswith("not ready: 3 to mend")


def test_preflight_names_what_is_missing(sale: Sale, cluster: Cluster, applied: str) -> None:
    said = sale("preflight", SALE, code=1).stdout
    assert "✗ ConcertSale: no operator has looked at it yet" in said
    assert "✗ operator: there is none → helm install" in said
    assert "✗ inside: there is no admin pod to look from: nothing is known of redis, log" in said
    cluster.apply(deployment("app", 1), deployment("app", 1, "other"), namespace=applied)
    assert "✗ release: other, shop are all in this namespace" in sale("preflight", SALE, code=1).stdout


def test_preflight_says_what_it_may_not_see(environment: dict[str, str], cluster: Cluster, applied: str) -> None:
    cluster.kubectl("create", "serviceaccount", "seer", namespace=applied)
    rule = {"apiGroups": ["", "apps", "boxoffice.dev"], "resources": ["pods", "deployments", "concertsales"]}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "seer"}}
    role = {**kind, "kind": "Role", "rules": [{**rule, "verbs": ["get", "list"]}]}
    subjects = [{"kind": "ServiceAccount", "name": "seer", "namespace": applied}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "seer"}
    cluster.apply(role, {**kind, "kind": "RoleBinding", "subjects": subjects, "roleRef": reference}, namespace=applied)
    token = cluster.kubectl("create", "token", "seer", namespace=applied).strip()
    cluster.kubectl("config", "set-credentials", "seer", f"--token={token}")
    cluster.kubectl("config", "set-context", "seer", "--cluster=tests", "--user=seer", f"--namespace={applied}")
    may = ["kubectl", "--context=seer", "auth", "can-i", "list", "pods", "--quiet"]
    until_any(lambda: subprocess.run(may, env=environment).returncode == 0)
    command = [*SALE_COMMAND, "preflight", SALE, "--context=seer"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "! secrets: cannot be seen: Error from server (Forbidden)" in done.stdout, done.stderr
    assert "✗ app: there is none" in done.stdout
