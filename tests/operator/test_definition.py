"""The definition of ConcertSale at a real API server: what it refuses, in which words; what it fills in and shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from boxoffice import crd
from boxoffice.errors import Unprocessable
from boxoffice.sale import parse_sale, to_builtins
from boxoffice.settings import Settings
from boxoffice.spec import Spec
from boxoffice.stack import own_environment
from tests.cluster.cluster import Cluster, Resource
from tests.cluster.programs import ROOT
from tests.integration.house import SALE, resource

MESSAGES = {message for rules in crd.RULES.values() for _, message in rules}
OPENED = "2030-09-06T08:00:00Z"
STALLS = {"name": "stalls", "rows": 1, "seatsPerRow": 10, "priceMinor": 1000}
FLOOR = {"name": "floor", "capacity": 150_000, "priceMinor": 1000}


def with_spec(**members: Any) -> Resource:
    """A good sale but for these members of the spec; `...` leaves one out."""
    document = resource(opens_in=600)
    spec = {**document["spec"], **members}
    document["spec"] = {name: value for name, value in spec.items() if value is not ...}
    return document


def with_sections(*sections: Resource) -> Resource:
    return with_spec(seating={"sections": list(sections)})


def named(name: str) -> Resource:
    return resource(name=name)


REFUSED: list[tuple[Resource, str]] = [
    (named("Tide"), "metadata.name: at most 53 lower case letters, digits and -, neither first nor last a -"),
    (named("x" * 54), "metadata.name: at most 53 lower case letters, digits and -, neither first nor last a -"),
    (with_spec(preQueueTime="2199-01-01T00:00:00Z"), "preQueueTime must not be after opensTime"),
    (with_spec(closesTime="2001-01-01T00:00:00Z"), "closesTime must be after opensTime"),
    (with_spec(closesTime="2201-01-01T00:00:00Z"), "opensTime and closesTime must lie between the years 2000 and 2200"),
    (with_sections(FLOOR, {**FLOOR, "name": "lawn"}), "sections: at most 200000 seats in all"),
    (with_sections({**STALLS, "capacity": 5}), "give rows and seatsPerRow, or capacity"),
    (with_sections({**FLOOR, "rows": 5}), "give rows and seatsPerRow, or capacity"),
    (with_sections({"name": "stalls", "rows": 5, "priceMinor": 1}), "give rows and seatsPerRow, or capacity"),
    (with_spec(line={"order": "Draw"}), "order: Draw is not built yet; use FIFO"),
    (
        with_spec(admission={"minActive": 9, "maxActive": 8, "initialActive": 8}),
        "minActive must be maxActive or less",
    ),
    (with_spec(admission={"minActive": 101}), "fallbackActive must be minActive or more"),
    (with_spec(admission={"maxActive": 199}), "initialActive must be maxActive or less"),
    (with_spec(abuse={"proofOfWork": "Adaptive"}), "proofOfWork: Adaptive is not built yet; use Always"),
]


def create(cluster: Cluster, namespace: str, document: Resource) -> None:
    cluster.kubectl("create", "--filename=-", namespace=namespace, input=json.dumps(document))


def refusal(cluster: Cluster, namespace: str, document: Resource) -> str:
    said = cluster.refused("kubectl", "create", "--filename=-", namespace=namespace, input=json.dumps(document))
    with pytest.raises(Unprocessable):  # the same at the command line, in its own words
        parse_sale(msgspec.json.encode(document))
    return said


def identify(part: Any) -> str:
    return part if isinstance(part, str) else ""


@pytest.mark.parametrize(("document", "message"), REFUSED, ids=identify)
def test_a_rule_refuses_with_its_message(cluster: Cluster, namespace: str, document: Resource, message: str) -> None:
    said = refusal(cluster, namespace, document)
    assert {each for each in MESSAGES if each in said} == {message}


TRANSITIONS: list[tuple[Resource, str]] = [
    (
        {"seating": {"sections": [{**STALLS, "priceMinor": 1}]}},
        crd.SEATING_FIXED,
    ),
    ({"currency": "EUR"}, crd.CURRENCY_FIXED),
    ({"policy": "Open"}, "policy: Closed is for good; apply the concert as a sale of another name to sell again"),
]
"""Changes of a sale that has opened and is closed."""


def test_every_rule_is_tried_here() -> None:
    assert {message for _, message in [*REFUSED, *TRANSITIONS]} == MESSAGES


def patch(*options: str, **members: Any) -> list[str]:
    """A command that changes the sale."""
    return ["patch", "csale", SALE, "--type=merge", f"--patch={json.dumps(members)}", *options]


def change(cluster: Cluster, namespace: str, **spec: Any) -> None:
    cluster.kubectl(*patch(spec=spec), namespace=namespace)


def refused_change(cluster: Cluster, namespace: str, spec: Resource) -> str:
    return cluster.refused("kubectl", *patch(spec=spec), namespace=namespace)


def report(cluster: Cluster, namespace: str, **status: Any) -> None:
    cluster.kubectl(*patch("--subresource=status", status=status), namespace=namespace)


@pytest.mark.parametrize(("spec", "message"), TRANSITIONS, ids=identify)
def test_a_change_that_comes_too_late_is_refused(
    cluster: Cluster, namespace: str, spec: Resource, message: str
) -> None:
    create(cluster, namespace, with_spec(policy="Closed"))
    report(cluster, namespace, openedTime=OPENED)
    said = refused_change(cluster, namespace, spec)
    assert {each for each in MESSAGES if each in said} == {message}
    change(cluster, namespace, title="Closed, and called otherwise")


def test_before_it_opens_everything_may_be_changed(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, with_spec())
    report(cluster, namespace, waiting=3)
    change(cluster, namespace, seating={"sections": [FLOOR]}, currency="EUR", policy="Drain")
    change(cluster, namespace, policy="Open")


def test_who_replaces_a_sale_takes_no_status_with_it(cluster: Cluster, namespace: str) -> None:
    """Neither can a `replace` say that a sale has not opened, nor an `apply` that it has."""
    create(cluster, namespace, with_spec() | {"status": {"openedTime": OPENED}})
    change(cluster, namespace, currency="EUR")
    report(cluster, namespace, openedTime=OPENED)
    other = json.dumps(with_spec(currency="JPY"))
    said = cluster.refused("kubectl", "replace", "--filename=-", namespace=namespace, input=other)
    assert f"spec.currency: Invalid value: {crd.CURRENCY_FIXED}" in said


SIGNAL = {"name": "database", "kind": "Utilisation", "query": "up", "setpoint": 700}

BAD_FIELDS: list[tuple[Resource, str]] = [
    (with_spec(colour="red"), 'unknown field "spec.colour"'),
    (with_spec(admission={"minActiv": 5}), 'unknown field "spec.admission.minActiv"'),
    (with_spec(title=...), "spec.title: Required value"),
    (with_spec(title=""), 'spec.title: Invalid value: "": spec.title in body should be at least 1 chars long'),
    (with_spec(currency="won"), "spec.currency in body should match '^[A-Z]{3}$'"),
    (with_spec(opensTime="2030-05-01T20:00:00"), "spec.opensTime in body must be of type date-time"),
    (
        with_spec(policy="Pause"),
        'spec.policy: Unsupported value: "Pause": supported values: "Closed", "Drain", "Hold", ',
    ),
    (with_spec(abuse={"proofOfWork": False}), "spec.abuse.proofOfWork in body must be of type string"),
    (with_spec(seating={"sections": []}), "spec.seating.sections in body should have at least 1 items"),
    (with_sections(STALLS, STALLS), 'spec.seating.sections[1]: Duplicate value: {"name":"stalls"}'),
    (with_sections({**STALLS, "rows": 1.5}), "spec.seating.sections[0].rows in body must be of type int32"),
    (with_spec(line={"maxWaiting": 0}), "spec.line.maxWaiting in body should be greater than or equal to 1"),
    (with_spec(admission={"weight": 1001}), "spec.admission.weight in body should be less than or equal to 1000"),
    (with_spec(signals=[{**SIGNAL, "setpoint": 0}]), "setpoint in body should be greater than or equal to 1"),
    (with_spec(signals=[{**SIGNAL, "setpoint": -5}]), "setpoint in body should be greater than or equal to 1"),
    (with_spec(signals=[{**SIGNAL, "kind": "Mood"}]), 'spec.signals[0].kind: Unsupported value: "Mood"'),
    (with_spec(signals=[{"name": "cpu"}]), "spec.signals[0].setpoint: Required value"),
    (with_spec(hold={"seconds": 4}), "spec.hold.seconds in body should be greater than or equal to 5"),
]


@pytest.mark.parametrize(("document", "message"), BAD_FIELDS, ids=identify)
def test_a_wrong_field_is_refused_and_named(cluster: Cluster, namespace: str, document: Resource, message: str) -> None:
    assert message in refusal(cluster, namespace, document)


def test_two_signals_of_one_name_are_refused(cluster: Cluster, namespace: str) -> None:
    document = json.dumps(with_spec(signals=[SIGNAL, SIGNAL]))
    said = cluster.refused("kubectl", "create", "--filename=-", namespace=namespace, input=document)
    assert 'spec.signals[1]: Duplicate value: {"name":"database"}' in said


def test_a_status_that_is_none_is_refused(cluster: Cluster, namespace: str) -> None:
    """Of the operator's own making: that it shows."""
    create(cluster, namespace, with_spec())
    condition = {"type": "Ready", "status": "True", "reason": "not CamelCase", "message": ""}
    command = patch("--subresource=status", status={"conditions": [condition]})
    said = cluster.refused("kubectl", *command, namespace=namespace)
    assert "status.conditions[0].reason" in said
    assert "status.conditions[0].lastTransitionTime: Required value" in said


def test_what_is_left_out_is_filled_in_as_everywhere(cluster: Cluster, namespace: str) -> None:
    least = with_spec(line=..., admission=..., hold=..., preQueueTime=...)
    create(cluster, namespace, least)
    filled = cluster.get("csale", SALE, namespace)["spec"]
    ours = to_builtins(parse_sale(msgspec.json.encode(least)))["spec"]
    assert {**ours, **{name: filled[name] for name in ("opensTime", "closesTime")}} == {
        "preQueueTime": None,
        "signals": [],
        **filled,
    }
    assert msgspec.convert(filled, Spec) == parse_sale(msgspec.json.encode(least)).spec


def test_fields_are_explained(cluster: Cluster) -> None:
    said = " ".join(cluster.kubectl("explain", "csale.spec.admission").split())
    assert "How many are inside at a time, and who decides that." in said
    assert "mode <string> enum: Advise, Auto, Manual Auto: the signals move the number inside" in said
    assert "fallbackActive <integer> Inside when nothing is known of the back end any more: a number that" in said
    assert "setpoint\t<integer> -required-" in cluster.kubectl("explain", "csale.spec.signals")
    assert "From here the seating is fixed." in cluster.kubectl("explain", "csale.status")


STATUS = {
    "waiting": 812,
    "admission": {"active": 180, "perMinute": 240, "limitedBy": "Target"},
    "seats": {"total": 100, "held": 3, "sold": 42},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Applied",
            "message": "",
            "lastTransitionTime": OPENED,
            "observedGeneration": 1,
        }
    ],
}


def test_the_columns(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, with_spec())
    report(cluster, namespace, **STATUS)
    header, row = cluster.kubectl("get", "csale", namespace=namespace).splitlines()
    assert header.split() == ["NAME", *(name.upper() for name, _, _ in crd.COLUMNS)]
    assert row.split()[:-1] == [SALE, "True", "Open", "Auto", "812", "180", "240", "Target", "42", "100"]
    assert cluster.kubectl("get", "ticketing", "--output=name", namespace=namespace).split() == [
        f"concertsale.boxoffice.dev/{SALE}"
    ]


Run = Callable[..., str]


@pytest.fixture
def boxoffice(settings: Settings) -> Run:
    """A command of the product, on a store of its own."""
    environment = {**os.environ, **own_environment(settings), "PYTHONPATH": "src"}

    def run(*arguments: str, input: str = "") -> str:
        command = [sys.executable, "-m", "boxoffice", *arguments]
        done = subprocess.run(command, env=environment, cwd=ROOT, input=input, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("migrate")
    return run


def test_what_the_command_line_prints_changes_nothing_and_back(
    cluster: Cluster, namespace: str, boxoffice: Run
) -> None:
    """`boxoffice sale get -o yaml` applied by kubectl, and `kubectl get -o yaml` applied by the command line."""

    def applied(document: str) -> str:
        options = ["--server-side", "--field-manager=argocd-controller", "--filename=-"]
        return cluster.kubectl("apply", *options, namespace=namespace, input=document)

    boxoffice("sale", "apply", "-f", "-", input=json.dumps(with_spec(signals=[SIGNAL])))
    printed = boxoffice("sale", "get", SALE, "-o", "yaml")
    assert "serverside-applied" in applied(printed)
    report(cluster, namespace, **STATUS)
    stored = cluster.kubectl("get", "csale", SALE, "--output=yaml", namespace=namespace)
    boxoffice("sale", "apply", "-f", "-", input=stored)
    again = boxoffice("sale", "get", SALE, "-o", "yaml")
    before = cluster.get("csale", SALE, namespace)
    applied(printed)
    after = cluster.get("csale", SALE, namespace)
    assert parse_sale(again.encode()).spec == parse_sale(printed.encode()).spec
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
    assert after["status"] == before["status"]


def test_server_side_apply_owns_sections_one_by_one(cluster: Cluster, namespace: str) -> None:
    """They are a map by name: another manager may add one, and the first one's apply leaves it there."""
    times = {
        "preQueueTime": "2030-09-06T07:30:00Z",
        "opensTime": "2030-09-06T08:00:00Z",
        "closesTime": "2030-09-06T18:00:00Z",
    }

    def apply(manager: str, *sections: Resource) -> None:
        options = ["--server-side", f"--field-manager={manager}"]
        cluster.apply(with_spec(seating={"sections": list(sections)}, **times), namespace=namespace, options=options)

    apply("first", STALLS)
    apply("second", STALLS, {**FLOOR, "capacity": 5})
    apply("first", STALLS)
    sections = cluster.get("csale", SALE, namespace)["spec"]["seating"]["sections"]
    assert [section["name"] for section in sections] == ["stalls", "floor"]
