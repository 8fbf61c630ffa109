"""What the API server says of its resources, as schemas that kubeconform reads: those of the very version that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster

Schema = dict[str, Any]
REFERENCE = "#/definitions/"
EITHER = {"anyOf": [{"type": "string"}, {"type": "number"}]}
"""A quantity, or a port by number or by name: OpenAPI v2 cannot say it, and calls it a string."""


def write_schemas(cluster: Cluster, folder: Path) -> None:
    """A file for each kind and version, with all that it refers to."""
    definitions: dict[str, Schema] = json.loads(cluster.kubectl("get", "--raw=/openapi/v2"))["definitions"]
    closed = {name: _closed(name, schema) for name, schema in definitions.items()}
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            whole = {"$ref": REFERENCE + name, "definitions": {each: closed[each] for each in _reached(closed, name)}}
            (folder / f"{kind['kind'].lower()}-{kind['version']}.json").write_text(json.dumps(whole))


def _closed(name: str, schema: Schema) -> Schema:
    """With no other field than those it names, unless it says that there may be others."""
    if schema.get("format") == "int-or-string" or name.endswith(".Quantity"):
        return EITHER
    closed = {key: value for key, value in schema.items() if key in ("$ref", "type", "required", "enum")}
    if "items" in schema:
        closed["items"] = _closed("", schema["items"])
    if "properties" in schema:
        closed["properties"] = {key: _closed("", value) for key, value in schema["properties"].items()}
        closed["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _closed("", schema["additionalProperties"])
    return closed


def _reached(definitions: dict[str, Schema], name: str) -> set[str]:
    reached, ahead = set[str](), [name]
    while ahead:
        each = ahead.pop()
        if each not in reached:
            reached.add(each)
            ahead += _references(definitions[each])
    return reached


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(REFERENCE)
        schema = list(schema.values())
    if isinstance(schema, list):
        for member in schema:
            yield from _references(member)
