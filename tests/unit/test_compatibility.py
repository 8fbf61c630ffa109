"""Whoever has a sale in a cluster keeps it: the definition only grows, or gets a version of another name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from boxoffice import __version__, crd
from tests.unit.compatibility import Schema, incompatibilities

RELEASED = Path(__file__).parent / "crd-released.yaml"
"""manifests/crd.yaml as the latest release had it."""


def released() -> Schema:
    found: Schema = yaml.safe_load(RELEASED.read_text())
    return found


def test_nothing_is_taken_away_within_a_version() -> None:
    found = incompatibilities(released(), crd.definition())
    assert found == [], f"raise VERSION in crd.py, or keep what {crd.VERSION} has"


def test_the_copy_is_of_this_release() -> None:
    """Else what the latest release added could be taken away again."""
    version = released()["metadata"]["annotations"][crd.RELEASE]
    assert version == __version__, f"a new release: cp manifests/crd.yaml tests/unit/{RELEASED.name}"


def spec(definition: Schema) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def field(definition: Schema, *path: str) -> Schema:
    part = spec(definition)
    for name in path:
        part = part["items"] if name == "[]" else part["properties"][name]
    return part


Change = Callable[[Schema], Any]

WORSE: dict[str, tuple[Change, str]] = {
    "a field removed": (lambda d: spec(d)["properties"].pop("title"), "v1alpha1.spec.title: removed"),
    "a deep one removed": (
        lambda d: field(d, "signals", "[]")["properties"].pop("kind"),
        "v1alpha1.spec.signals[].kind: removed",
    ),
    "an upper bound lowered": (
        lambda d: field(d, "hold", "maxSeatsPerBuyer").update(maximum=9),
        "v1alpha1.spec.hold.maxSeatsPerBuyer: maximum is now 9",
    ),
    "a lower bound raised": (
        lambda d: field(d, "hold", "seconds").update(minimum=6),
        "v1alpha1.spec.hold.seconds: minimum is now 6",
    ),
    "a bound where there was none": (
        lambda d: field(d, "currency").update(maxLength=3),
        "v1alpha1.spec.currency: maxLength is now 3",
    ),
    "another pattern": (
        lambda d: field(d, "currency").update(pattern="^[A-Z]{2}$"),
        "v1alpha1.spec.currency: pattern is now ^[A-Z]{2}$",
    ),
    "a new field that is required": (
        lambda d: (spec(d)["properties"].update(genre={"type": "string"}), spec(d)["required"].append("genre")),
        "v1alpha1.spec.genre: now required",
    ),
    "an old field that is required": (
        lambda d: spec(d)["required"].append("preQueueTime"),
        "v1alpha1.spec.preQueueTime: now required",
    ),
    "a value fewer": (lambda d: field(d, "policy")["enum"].remove("Drain"), "v1alpha1.spec.policy: no longer Drain"),
    "values where there was anything": (
        lambda d: field(d, "venue").update(enum=["hall"]),
        "v1alpha1.spec.venue: no longer anything",
    ),
    "another type": (lambda d: field(d, "title").update(type="integer"), "v1alpha1.spec.title: type changed"),
    "another default": (
        lambda d: field(d, "line", "claimSeconds").update(default=30),
        "v1alpha1.spec.line.claimSeconds: default changed",
    ),
    "a new rule": (
        lambda d: field(d, "line").update({"x-kubernetes-validations": [{"rule": "false", "message": "no"}]}),
        "v1alpha1.spec.line: new rule false",
    ),
    "a list that is no map": (
        lambda d: field(d, "signals").pop("x-kubernetes-list-type"),
        "v1alpha1.spec.signals: x-kubernetes-list-type changed",
    ),
    "no short name": (lambda d: d["spec"]["names"].pop("shortNames"), "names changed"),
}

BETTER: dict[str, Change] = {
    "a field": lambda d: spec(d)["properties"].update(genre={"type": "string"}),
    "one with a default": lambda d: (
        spec(d)["properties"].update(genre={"type": "string", "default": "any"}),
        spec(d)["required"].append("genre"),
    ),
    "a value": lambda d: field(d, "policy")["enum"].append("Encore"),
    "any value": lambda d: field(d, "policy").pop("enum"),
    "wider bounds": lambda d: field(d, "hold", "seconds").update(minimum=1, maximum=7200),
    "no bounds": lambda d: field(d, "hold", "seconds").pop("maximum"),
    "no longer required": lambda d: spec(d)["required"].remove("venue"),
    "a rule fewer": lambda d: spec(d)["x-kubernetes-validations"].pop(),
    "other words": lambda d: field(d, "title").update(description="How it is called."),
    "other words of a rule": lambda d: spec(d)["x-kubernetes-validations"][0].update(message="please"),
    "a column": lambda d: d["spec"]["versions"][0]["additionalPrinterColumns"].append({}),
    "a second version": lambda d: d["spec"]["versions"].append({"name": "v1beta1", "schema": {}}),
    "another version": lambda d: (d["spec"]["versions"][0].update(name="v1beta1"), spec(d)["properties"].pop("title")),
}


def changed(change: Change) -> Schema:
    definition = copy.deepcopy(crd.definition())
    change(definition)
    assert definition != crd.definition()
    return definition


@pytest.mark.parametrize("what", WORSE)
def test_what_is_taken_away_is_named(what: str) -> None:
    change, said = WORSE[what]
    assert incompatibilities(crd.definition(), changed(change)) == [said]


@pytest.mark.parametrize("what", BETTER)
def test_what_is_added_is_no_matter(what: str) -> None:
    assert incompatibilities(crd.definition(), changed(BETTER[what])) == []
