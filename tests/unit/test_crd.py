"""The CRD says what the types say, and lies in the repository as it would be made now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from boxoffice import __version__, crd
from boxoffice.sale import parse_sale
from boxoffice.spec import Spec

ROOT = Path(__file__).parents[2]


def test_the_manifest_is_what_would_be_made_now() -> None:
    assert (ROOT / "manifests/crd.yaml").read_text() == crd.manifest(), "run `make generate`"


def schema() -> dict[str, Any]:
    [version] = crd.definition()["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def fields(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, part
    for name, each in part.get("properties", {}).items():
        yield from fields(each, f"{path}.{name}")
    if "items" in part:
        yield from fields(part["items"], f"{path}[]")


def test_every_field_of_the_spec_is_explained() -> None:
    unsaid = [path for path, field in fields(schema()["properties"]["spec"]) if not field.get("description")]
    assert [path for path in unsaid if not path.endswith("[]")] == []


def test_the_schema_is_structural() -> None:
    for path, field in fields(schema()):
        assert not {"$ref", "anyOf", "additionalProperties", "title"} & field.keys() - {"properties"}, path
        assert field["type"] in ("object", "array", "string", "integer"), path


def test_defaults_are_those_of_the_types() -> None:
    least = (ROOT / "manifests/concertsale.yaml").read_bytes()
    sale = parse_sale(least)
    required = {
        k: v for k, v in msgspec.to_builtins(sale.spec).items() if k in schema()["properties"]["spec"]["required"]
    }
    filled = msgspec.to_builtins(msgspec.convert(required, Spec))
    by_schema = {
        name: field["default"]
        for name, field in schema()["properties"]["spec"]["properties"].items()
        if "default" in field
    }
    assert by_schema.items() <= filled.items()


def test_conditions_and_sections_are_maps() -> None:
    lists = {path: field.get("x-kubernetes-list-map-keys") for path, field in fields(schema()) if "items" in field}
    assert lists[".spec.seating.sections"] == ["name"]
    assert lists[".spec.signals"] == ["name"]
    assert lists[".status.conditions"] == ["type"]


def test_what_stands_in_the_manifest_is_yaml_of_one_document() -> None:
    [document] = yaml.safe_load_all(crd.manifest())
    assert document["metadata"]["annotations"] == {"boxoffice.dev/version": __version__}
