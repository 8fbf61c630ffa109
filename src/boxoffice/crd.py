"""The CustomResourceDefinition of `ConcertSale`, made from the types that check a resource everywhere else.

What those types say of a field becomes a structural schema; what must hold between fields is said once more in CEL,
beside the sentence that a person is shown. A rule that CEL cannot have (a time zone that exists, seats that another
sale has) is left to the operator, which says so in the condition `Ready`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from boxoffice import __version__
from boxoffice.spec import MAX_SEATS, Spec
from boxoffice.status import Status

GROUP, VERSION, KIND, PLURAL = "boxoffice.dev", "v1alpha1", "ConcertSale", "concertsales"
NAME = f"{PLURAL}.{GROUP}"
RELEASE = f"{GROUP}/version"
"""The annotation that says of which release a definition is: an older one does not take its place."""

_BETWEEN = "self.opensTime > timestamp('2000-01-01T00:00:00Z') && self.closesTime < timestamp('2200-01-01T00:00:00Z')"
_SEATS_EACH = "has(s.capacity) ? s.capacity : (has(s.rows) ? s.rows : 0) * (has(s.seatsPerRow) ? s.seatsPerRow : 0)"
_ROWS_OR_CAPACITY = (
    "has(self.capacity) ? !has(self.rows) && !has(self.seatsPerRow) : has(self.rows) && has(self.seatsPerRow)"
)
_OPENED = "has(oldSelf.status) && has(oldSelf.status.openedTime)"

SEATING_FIXED = "the seats are fixed since the sale opened; sell others in a sale of another name"
CURRENCY_FIXED = "the currency is fixed since the sale opened"
FIELDS = {SEATING_FIXED: ".spec.seating", CURRENCY_FIXED: ".spec.currency"}
"""Which field is wrong by a rule of the whole resource: kubectl says <nil> where it is not told."""

RULES: dict[str, list[tuple[str, str]]] = {
    "ConcertSale": [
        (
            "self.metadata.name.matches('^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$')",
            "metadata.name: at most 53 lower case letters, digits and -, neither first nor last a -",
        ),
        (
            f"!({_OPENED}) || self.spec.seating == oldSelf.spec.seating",
            SEATING_FIXED,
        ),
        (f"!({_OPENED}) || self.spec.currency == oldSelf.spec.currency", CURRENCY_FIXED),
    ],
    "Spec": [
        ("!has(self.preQueueTime) || self.preQueueTime <= self.opensTime", "preQueueTime must not be after opensTime"),
        ("self.opensTime < self.closesTime", "closesTime must be after opensTime"),
        (_BETWEEN, "opensTime and closesTime must lie between the years 2000 and 2200"),
        (
            "oldSelf.policy != 'Closed' || self.policy == 'Closed'",
            "policy: Closed is for good; apply the concert as a sale of another name to sell again",
        ),
    ],
    "SeatingSpec": [
        (
            f"self.sections.map(s, {_SEATS_EACH}).sum() <= {MAX_SEATS}",
            f"sections: at most {MAX_SEATS} seats in all",
        ),
    ],
    "Section": [(_ROWS_OR_CAPACITY, "give rows and seatsPerRow, or capacity")],
    "LineSpec": [("self.order == 'FIFO'", "order: Draw is not built yet; use FIFO")],
    "AdmissionSpec": [
        ("self.minActive <= self.maxActive", "minActive must be maxActive or less"),
        ("self.minActive <= self.fallbackActive", "fallbackActive must be minActive or more"),
        ("self.initialActive <= self.maxActive", "initialActive must be maxActive or less"),
    ],
    "AbuseSpec": [("self.proofOfWork != 'Adaptive'", "proofOfWork: Adaptive is not built yet; use Always")],
}
"""By type: what must hold, and what is said when it does not."""

KEYS = {"Section": "name", "Signal": "name", "SignalStatus": "name", "Condition": "type"}
"""Lists of these are maps by that field: server-side apply merges them, and no two have the same."""

COLUMNS: list[tuple[str, str, str]] = [
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
    ("Policy", "string", ".spec.policy"),
    ("Mode", "string", ".spec.admission.mode"),
    ("Waiting", "integer", ".status.waiting"),
    ("Active", "integer", ".status.admission.active"),
    ("Rate", "integer", ".status.admission.perMinute"),
    ("Limited-By", "string", ".status.admission.limitedBy"),
    ("Sold", "integer", ".status.seats.sold"),
    ("Total", "integer", ".status.seats.total"),
    ("Age", "date", ".metadata.creationTimestamp"),
]

Schema = dict[str, Any]


def definition() -> Schema:
    """The whole manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "annotations": {RELEASE: __version__}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["csale"],
                "categories": ["ticketing"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} for name, kind, path in COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": _resource()},
                }
            ],
        },
    }


def manifest() -> str:
    """As it lies in manifests/crd.yaml: `make generate`."""
    heading = "# Made from src/boxoffice/spec.py, status.py and crd.py by `make generate`: change those.\n"
    return heading + yaml.safe_dump(definition(), sort_keys=False, allow_unicode=True, width=110)


def _resource() -> Schema:
    _, parts = msgspec.json.schema_components([Spec, Status], ref_template="{name}")
    return {
        "description": "The seats of one concert, sold to a crowd that waits in line.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural({"$ref": "Spec"}, parts),
            "status": _undefaulted(_structural({"$ref": "Status"}, parts)),
        },
        **_rules("ConcertSale"),
    }


def _structural(schema: Schema, parts: dict[str, Schema]) -> Schema:
    """Without references, unions and additionalProperties, which a structural schema may not have."""
    if "anyOf" in schema:
        [real] = [option for option in schema["anyOf"] if option.get("type") != "null"]
        return _structural({**real, **{k: v for k, v in schema.items() if k not in ("anyOf", "default")}}, parts)
    if "$ref" in schema:
        return _part(schema, parts)
    out = {key: value for key, value in schema.items() if key not in ("title", "items")}
    if "enum" in schema:
        out["type"] = "string"
    if schema.get("type") == "integer":
        out["format"] = "int32"
    if "items" in schema:
        out["items"] = _structural(schema["items"], parts)
        if key := KEYS.get(schema["items"].get("$ref", "")):
            out |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    if out.get("default") in ([], ""):
        del out["default"]
    return out


def _part(schema: Schema, parts: dict[str, Schema]) -> Schema:
    """An object; one that may be left out is there all the same, so that its own defaults are."""
    name = schema["$ref"]
    part = parts[name]
    out: Schema = {"description": schema.get("description", part.get("description", "")), "type": "object"}
    if part.get("required"):
        out["required"] = part["required"]
    out["properties"] = {field: _structural(each, parts) for field, each in part["properties"].items()}
    if "default" in schema:  # as a whole: rules are tried on it before the defaults of its fields are filled in
        out["default"] = schema["default"]
    return out | _rules(name)


def _undefaulted(schema: Schema) -> Schema:
    """Nobody has seen what would stand there by default."""
    out = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in out:
        out["properties"] = {field: _undefaulted(each) for field, each in out["properties"].items()}
    return out


def _rules(name: str) -> Schema:
    rules = [{"rule": rule, "message": message, **_field(message)} for rule, message in RULES.get(name, [])]
    return {"x-kubernetes-validations": rules} if rules else {}


def _field(message: str) -> Schema:
    return {"fieldPath": FIELDS[message]} if message in FIELDS else {}


if __name__ == "__main__":
    print(manifest(), end="")
