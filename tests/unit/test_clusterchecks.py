"""What is judged from the objects around a sale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from boxoffice.check import Check, any_failed, failed, lines, ok, warning
from boxoffice.clusterchecks import (
    budget_checks,
    pod_checks,
    rule_checks,
    sale_checks,
    scaling_check,
    secret_checks,
)
from tests.unit.resources import NOW, condition, override, seen


def labels(component: str) -> dict[str, str]:
    return {"app.kubernetes.io/component": component, "app.kubernetes.io/part-of": "boxoffice"}


def deployment(component: str, replicas: int = 1, secrets: Iterable[str] = ()) -> dict[str, Any]:
    volumes = [{"name": "tmp", "emptyDir": {}}, *({"name": s, "secret": {"secretName": s}} for s in secrets)]
    spec = {"replicas": replicas, "template": {"spec": {"volumes": volumes}}}
    return {"metadata": {"name": f"shop-{component}", "labels": labels(component)}, "spec": spec}


def pod(component: str, image: str = "boxoffice@sha256:1", ready: str = "True", **metadata: str) -> dict[str, Any]:
    status = {
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{"image": "b", "imageID": image}],
    }
    return {"metadata": {"labels": labels(component), **metadata}, "status": status}


ALL = {component: deployment(component) for component in ("app", "settle", "operator")}
PODS = [pod(component) for component in ALL]


def results(checks: Iterable[Check]) -> dict[str, str]:
    return {check.name: check.result for check in checks}


def test_pods_that_are_ready_on_one_image_are_well() -> None:
    assert results(pod_checks(ALL, PODS)) == {"app": "ok", "settle": "ok", "operator": "ok", "image": "ok"}


@pytest.mark.parametrize(
    ("own", "pods", "name", "says"),
    [
        ({}, [], "app", "there is none"),
        (ALL, PODS[1:], "app", "0 of 1 pods ready"),
        (ALL, [pod("app", ready="False"), *PODS[1:]], "app", "0 of 1"),
        (ALL, [pod("app", deletionTimestamp="2030-01-01T00:00:00Z"), *PODS[1:]], "app", "0 of 1"),
        (ALL | {"app": deployment("app", 0)}, PODS[1:], "app", "scaled to nothing"),
        (ALL, [pod("app", "boxoffice@sha256:2"), *PODS[1:]], "image", "sha256:1, boxoffice@sha256:2"),
    ],
)
def test_pods_that_are_not_are_named_with_the_mend(own: Any, pods: Any, name: str, says: str) -> None:
    [check] = [check for check in pod_checks(own, pods) if check.name == name]
    assert (check.result, says in check.found) == ("failed", True)
    assert check.mend


def scaler(kind: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "spec": {"scaleTargetRef": {"name": "shop-app"}, **spec}}


@pytest.mark.parametrize(
    ("waiting", "scalers", "result", "ceiling"),
    [
        (20_000, [], "ok", 1),
        (20_001, [], "failed", 1),
        (200_000, [scaler("HorizontalPodAutoscaler", maxReplicas=10)], "ok", 10),
        (200_001, [scaler("HorizontalPodAutoscaler", maxReplicas=10)], "failed", 10),
        (200_000, [scaler("ScaledObject", maxReplicaCount=10)], "ok", 10),
        (2_000_000, [scaler("ScaledObject")], "ok", 100),
        (20_001, [{"kind": "ScaledObject", "spec": {"scaleTargetRef": {"name": "other"}}}], "failed", 1),
    ],
)
def test_as_many_as_may_wait_need_pods(waiting: int, scalers: Any, result: str, ceiling: int) -> None:
    check = scaling_check(waiting, deployment("app"), scalers)
    assert check.result == result
    assert f"up to {ceiling} app pods" in check.found
    if result == "failed":
        assert f"to {-(-waiting // 20_000)}, or spec.line.maxWaiting to {ceiling * 20_000}" in check.mend


def test_a_sale_is_as_ready_as_the_operator_says() -> None:
    good = [condition("Ready")]
    assert results(sale_checks(seen(conditions=good), NOW)) == {"ConcertSale": "ok"}
    assert results(sale_checks(seen(), NOW)) == {"ConcertSale": "failed"}
    assert results(sale_checks(seen(conditions=good, observedGeneration=1), NOW)) == {"ConcertSale": "failed"}
    [check] = sale_checks(seen(conditions=[condition("Ready", "False", "NameTaken", "other seating")]), NOW)
    assert (check.result, check.found) == ("failed", "not ready, NameTaken: other seating")
    found = results(sale_checks(seen(annotations=override("Hold"), conditions=good), NOW))
    assert found == {"ConcertSale": "ok", "override": "warning"}


def test_budgets_secrets_and_rules() -> None:
    budgets = [{"metadata": {"labels": labels(component)}} for component in ("app", "settle")]
    assert results(budget_checks(ALL, budgets)) == {"disruption": "ok"}
    [check] = budget_checks(ALL, budgets[:1])
    assert (check.result, "every pod of settle" in check.found) == ("warning", True)

    own = {"app": deployment("app", secrets=["shop-keys", "shop-store"])}
    secrets = [{"metadata": {"name": name}} for name in ("shop-keys", "shop-store", "another")]
    assert results(secret_checks(own, secrets)) == {"secrets": "ok"}
    [check] = secret_checks(own, secrets[1:])
    assert (check.result, check.found) == ("failed", "missing: shop-keys")

    assert results(rule_checks([{}])) == {"alert rules": "ok"}
    assert results(rule_checks([])) == {"alert rules": "warning"}


def test_a_line_says_what_was_found_and_the_mend() -> None:
    checks = [ok("a", "well"), failed("b", "ill", "heal it"), warning("c", "so so", "see")]
    assert list(lines(checks)) == [
        "✓ a: well",
        "✗ b: ill → heal it",
        "! c: so so → see",
        "not ready: 1 to mend, 1 to know of, 3 checks",
    ]
    assert any_failed(checks)
    assert not any_failed([checks[0], checks[2]])
    assert list(lines(checks[:1]))[-1] == "ready: 0 to mend, 0 to know of, 1 checks"
