"""What a new definition of a resource takes away from those who use the old one.

A resource that the old one took must be taken by the new one, and mean the same. Fields, values and room may be added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

LOWER = ("minimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
FIXED = ("type", "format", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Of two CustomResourceDefinitions, a line each. What has another version's name may be different."""
    found = [f"{name} changed" for name in ("group", "scope", "names") if old["spec"][name] != new["spec"][name]]
    now = {version["name"]: version for version in new["spec"]["versions"]}
    for version in old["spec"]["versions"]:
        if version["name"] in now:
            found += _narrowed(_schema(version), _schema(now[version["name"]]), version["name"])
    return found


def _schema(version: Schema) -> Schema:
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _narrowed(old: Schema, new: Schema, path: str) -> Iterator[str]:
    yield from (f"{path}: {what}" for what in _own(old, new))
    for name, field in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from _narrowed(field, new["properties"][name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: removed"
    for name, field in new.get("properties", {}).items():
        if name in new.get("required", []) and name not in old.get("required", []) and "default" not in field:
            yield f"{path}.{name}: now required"
    if "items" in old and "items" in new:
        yield from _narrowed(old["items"], new["items"], f"{path}[]")


def _own(old: Schema, new: Schema) -> Iterator[str]:
    """Without its members."""
    yield from (f"{word} changed" for word in FIXED if old.get(word) != new.get(word))
    for word in LOWER:
        if word in new and (word not in old or new[word] > old[word]):
            yield f"{word} is now {new[word]}"
    for word in UPPER:
        if word in new and (word not in old or new[word] < old[word]):
            yield f"{word} is now {new[word]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"pattern is now {new['pattern']}"
    if "enum" in new and (gone := set(old.get("enum", ["anything"])) - set(new["enum"])):
        yield f"no longer {', '.join(sorted(gone))}"
    yield from (f"new rule {rule}" for rule in sorted(_rules(new) - _rules(old)))


def _rules(schema: Schema) -> set[str]:
    return {rule["rule"] for rule in schema.get("x-kubernetes-validations", [])}
