"""`kubectl sale preflight`: what is looked at from outside, and what the pods say of the inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from boxoffice.check import Check, Part, failed, ok, warning
from boxoffice.kubectl import CONCERT_SALES, Kubectl, KubectlFailed
from boxoffice.saletable import in_words
from boxoffice.seen import SeenSale, sale_of

PART_OF = "app.kubernetes.io/part-of=boxoffice"
COMPONENT, RELEASE = "app.kubernetes.io/component", "app.kubernetes.io/instance"
COMPONENTS = ("app", "settle", "operator")
WAITING_PER_POD = 20_000
"""As the chart's app.autoscaling.waitingPerPod."""
INSTALL = "helm install the chart of Boxoffice here, or name its namespace with -n"

Resource = dict[str, Any]


def preflight(kubectl: Kubectl, name: str) -> list[Check]:
    """Raises KubectlFailed when the sale is not there, or the cluster is out of reach."""
    sale = sale_of(kubectl.run("get", CONCERT_SALES, name, "--output=json"))
    deployments = kubectl.items("deployments", f"--selector={PART_OF}")
    releases = sorted({_label(deployment, RELEASE) for deployment in deployments})
    if len(releases) > 1:
        mend = "a namespace has one release, for its operator takes every sale in it: uninstall the others"
        return [failed("release", f"{', '.join(releases)} are all in this namespace", mend)]
    own = {_label(deployment, COMPONENT): deployment for deployment in deployments}
    return [*_outside(kubectl, sale, own), *_inside(kubectl, name, own)]


def _outside(kubectl: Kubectl, sale: SeenSale, own: Mapping[str, Resource]) -> Iterator[Check]:
    def look(name: str, kind: str, judge: Callable[[list[Resource]], Iterator[Check]], *selector: str) -> list[Check]:
        """What may not be seen is no reason to stop looking."""
        try:
            return list(judge(kubectl.items(kind, *selector)))
        except KubectlFailed as fault:
            return [warning(name, f"cannot be seen: {fault.detail}", f"ask for the right to list {kind}")]

    part = f"--selector={PART_OF}"
    yield from sale_checks(sale, datetime.now(UTC))
    yield from look("pods", "pods", lambda pods: pod_checks(own, pods), part)
    yield from look("scaling", "horizontalpodautoscalers", lambda found: _scaling(kubectl, sale, own, found), part)
    yield from look("disruption", "poddisruptionbudgets", lambda found: budget_checks(own, found), part)
    yield from look("secrets", "secrets", lambda found: secret_checks(own, found))
    yield from look("alert rules", "prometheusrules.monitoring.coreos.com", rule_checks)


def sale_checks(sale: SeenSale, now: datetime) -> Iterator[Check]:
    ready = sale.condition("Ready")
    if ready is None:
        mend = f"look for the operator: kubectl get pods -l {PART_OF},{COMPONENT}=operator"
        yield failed("ConcertSale", "no operator has looked at it yet", mend)
    elif ready.status != "True":
        yield failed("ConcertSale", f"not ready, {ready.reason}: {ready.message}", "change its spec, or what it says")
    elif sale.status.observed_generation < sale.metadata.generation:
        yield failed("ConcertSale", "the last edit has not been seen", "look at the operator: kubectl logs")
    else:
        yield ok("ConcertSale", f"ready, {ready.reason}")
    if override := sale.override(now):
        yield warning("override", in_words(override), f"kubectl sale resume {sale.name} --why '…'")


def pod_checks(own: Mapping[str, Resource], pods: Sequence[Resource]) -> Iterator[Check]:
    """All that should run are ready, and all that are ready run the same image."""
    images: set[str] = set()
    for component in COMPONENTS:
        if component not in own:
            yield failed(component, "there is none", INSTALL)
            continue
        ready = [pod for pod in pods if _label(pod, COMPONENT) == component and _is_ready(pod)]
        images |= {_image(pod) for pod in ready}
        wanted = own[component]["spec"].get("replicas", 1)
        found, name = f"{len(ready)} of {wanted} pods ready", own[component]["metadata"]["name"]
        if wanted and len(ready) >= wanted:
            yield ok(component, found)
        elif wanted:
            yield failed(component, found, f"kubectl describe deployment {name}; kubectl logs deployment/{name}")
        else:
            yield failed(component, "scaled to nothing", f"kubectl scale deployment {name} --replicas=2")
    if len(images) > 1:
        mend = "wait for the rollout, or end it: kubectl rollout status"
        yield failed("image", f"pods run different ones: {', '.join(sorted(images))}", mend)
    elif images:
        yield ok("image", f"the same everywhere: {images.pop()}")


def _scaling(
    kubectl: Kubectl, sale: SeenSale, own: Mapping[str, Resource], scalers: Sequence[Resource]
) -> Iterator[Check]:
    keda = kubectl.items("scaledobjects.keda.sh", f"--selector={PART_OF}")
    if "app" in own:
        yield scaling_check(sale.spec.line.max_waiting, own["app"], [*scalers, *keda])


def scaling_check(max_waiting: int, app: Resource, scalers: Sequence[Resource]) -> Check:
    """Whether as many as may wait find a pod that answers them."""
    needed = -(-max_waiting // WAITING_PER_POD)
    ceiling, by = _ceiling(app, scalers)
    found = f"up to {ceiling} app pods by {by}; {max_waiting:,} may wait, {WAITING_PER_POD:,} a pod make {needed}"
    if ceiling >= needed:
        return ok("scaling", found)
    mend = f"set app.autoscaling.maxReplicas (or app.replicas) to {needed}, or spec.line.maxWaiting to "
    return failed("scaling", found, mend + f"{ceiling * WAITING_PER_POD}")


def _ceiling(app: Resource, scalers: Sequence[Resource]) -> tuple[int, str]:
    for scaler in scalers:
        if scaler["spec"]["scaleTargetRef"]["name"] == app["metadata"]["name"]:
            spec = scaler["spec"]
            return spec.get("maxReplicas") or spec.get("maxReplicaCount", 100), scaler["kind"]
    return app["spec"].get("replicas", 1), "its replicas, with no autoscaler"


def budget_checks(own: Mapping[str, Resource], budgets: Sequence[Resource]) -> Iterator[Check]:
    present = {_label(budget, COMPONENT) for budget in budgets}
    wanted = [component for component in ("app", "settle") if component in own]
    missing = [component for component in wanted if component not in present]
    if missing:
        mend = "set podDisruptionBudget.enabled of it"
        yield warning("disruption", f"a drained node may take every pod of {' and '.join(missing)}", mend)
    elif wanted:
        yield ok("disruption", f"{' and '.join(wanted)} have a PodDisruptionBudget")


def secret_checks(own: Mapping[str, Resource], secrets: Sequence[Resource]) -> Iterator[Check]:
    """Those that the pods mount; what is in them is not looked at."""
    present = {secret["metadata"]["name"] for secret in secrets}
    volumes = [volume for each in own.values() for volume in _volumes(each)]
    wanted = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    if missing := sorted(wanted - present):
        yield failed("secrets", f"missing: {', '.join(missing)}", "make them; chart/README.md says what is in each")
    elif wanted:
        yield ok("secrets", f"all {len(wanted)} that the pods read are there")


def rule_checks(rules: Sequence[Resource]) -> Iterator[Check]:
    if rules:
        yield ok("alert rules", f"{len(rules)} PrometheusRule here")
    else:
        yield warning("alert rules", "no PrometheusRule in this namespace", "nobody is woken: have rules somewhere")


@dataclass(frozen=True, slots=True)
class _Way:
    """Into a pod, for what can be seen there alone. Keys are with the buyers' pods; the rest is admin's."""

    component: str
    parts: tuple[Part, ...]
    mend: str


WAYS = (
    _Way("admin", tuple(part for part in Part if part is not Part.keys), "set admin.enabled: true"),
    _Way("app", (Part.keys,), INSTALL),
)


def _inside(kubectl: Kubectl, name: str, own: Mapping[str, Resource]) -> Iterator[Check]:
    for way in WAYS:
        if way.component not in own:
            found = f"there is no {way.component} pod to look from: nothing is known of {', '.join(way.parts)}"
            yield failed("inside", found, way.mend)
            continue
        yield from _asked(kubectl, name, own[way.component]["metadata"]["name"], way)


def _asked(kubectl: Kubectl, name: str, deployment: str, way: _Way) -> Sequence[Check]:
    only = [f"--only={part}" for part in way.parts]
    command = ["boxoffice", "preflight", name, *only, "--output=json"]
    try:
        said = kubectl.execute(f"deployment/{deployment}", *command)
        return msgspec.json.decode(said, type=_Said).checks
    except KubectlFailed as fault:
        mend = f"kubectl describe deployment {deployment}; kubectl auth can-i create pods/exec"
        return [failed("inside", f"the {way.component} pod cannot be asked: {fault.detail}", mend)]


class _Said(msgspec.Struct):
    checks: list[Check]


def _label(resource: Resource, name: str) -> str:
    return str(resource["metadata"].get("labels", {}).get(name, ""))


def _is_ready(pod: Resource) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    leaves = "deletionTimestamp" in pod["metadata"]
    return not leaves and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _image(pod: Resource) -> str:
    """The very bytes, where the pod says so: a tag may have moved."""
    [status, *_] = pod["status"]["containerStatuses"]
    return str(status.get("imageID") or status["image"])


def _volumes(deployment: Resource) -> list[Resource]:
    return list(deployment["spec"]["template"]["spec"].get("volumes", []))
