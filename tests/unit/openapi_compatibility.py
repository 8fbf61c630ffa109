"""What a new document of the API takes away from those who were written against the old one.

A request that the old one took must be taken; an answer must have all that it had, and be nothing that it could not be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.unit.compatibility import LOWER, UPPER

Schema = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """A line each."""
    return list(_Comparison(old, new).operations())


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._within: set[tuple[str, str]] = set()

    def operations(self) -> Iterator[str]:
        for path, item in self._old["paths"].items():
            for method in METHODS:
                if method not in item:
                    continue
                name, now = f"{method.upper()} {path}", self._new["paths"].get(path, {})
                if method not in now:
                    yield f"{name}: removed"
                else:
                    yield from (f"{name}: {what}" for what in self._operation(item, now, method))

    def _operation(self, old_item: Schema, new_item: Schema, method: str) -> Iterator[str]:
        old, new = old_item[method], new_item[method]
        if old["operationId"] != new["operationId"]:
            yield f"is now called {new['operationId']}"
        yield from self._parameters(self._all(self._old, old_item, old), self._all(self._new, new_item, new))
        if "security" in new:
            yield from _security(old.get("security", [{}]), new["security"])
        yield from self._body(old.get("requestBody", {}), new.get("requestBody", {}))
        for status, response in old["responses"].items():
            if status in new["responses"]:
                answers = self._answer(response, new["responses"][status])
                yield from (f"{status}: {what}" for what in answers)
            else:
                yield f"{status}: removed"

    def _all(self, document: Schema, item: Schema, operation: Schema) -> dict[str, Schema]:
        given = [*item.get("parameters", []), *operation.get("parameters", [])]
        found = [_resolved(document, each) for each in given]
        return {f"{each['in']} {each['name']}": each for each in found}

    def _parameters(self, old: dict[str, Schema], new: dict[str, Schema]) -> Iterator[str]:
        for name, parameter in new.items():
            before = old.get(name, {})
            if parameter.get("required") and not before.get("required"):
                yield f"{name}: now required"
            if before:
                yield from self._taken(before["schema"], parameter["schema"], name)

    def _body(self, old: Schema, new: Schema) -> Iterator[str]:
        if new.get("required") and not old.get("required"):
            yield "body: now required"
        for media, content in old.get("content", {}).items():
            if media in new.get("content", {}):
                yield from self._taken(content["schema"], new["content"][media]["schema"], "body")
            else:
                yield f"body: no longer {media}"

    def _answer(self, old: Schema, new: Schema) -> Iterator[str]:
        for name, header in old.get("headers", {}).items():
            if header.get("required") and not new.get("headers", {}).get(name, {}).get("required"):
                yield f"no longer always {name}"
        for media, content in old.get("content", {}).items():
            now = new.get("content", {}).get(media)
            if now is None:
                yield f"no longer {media}"
                continue
            yield from (f"no longer {code}" for code in content.get("examples", {}) if code not in now["examples"])
            if "schema" in content:
                yield from self._given(content["schema"], now["schema"], "answer")

    def _taken(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """Of what clients send: nothing may be refused that was not."""
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        yield from (f"{path}: {what}" for what in _type(old, new))
        yield from (f"{path}: {what}" for what in _narrower(old, new))
        yield from self._parts(self._taken, old, new, path)
        for name in new.get("required", []):
            if name not in old.get("required", []):
                yield f"{path}.{name}: now required"

    def _given(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """Of what clients are sent: all that there was, and no value that there was not."""
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if pair[0] and pair in self._within:
            return
        self._within.add(pair)
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        yield from (f"{path}: {what}" for what in _type(old, new))
        if "enum" in old and (more := set(new.get("enum", ["anything"])) - set(old["enum"])):
            yield f"{path}: may now be {', '.join(sorted(more))}"
        yield from self._parts(self._given, old, new, path)
        for name in old.get("required", []):
            if name in new.get("properties", {}) and name not in new.get("required", []):
                yield f"{path}.{name}: no longer always there"
        self._within.discard(pair)

    def _parts(self, compare: Any, old: Schema, new: Schema, path: str) -> Iterator[str]:
        for name, field in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                yield from compare(field, new["properties"][name], f"{path}.{name}")
            else:
                yield f"{path}.{name}: removed"
        if "items" in old and "items" in new:
            yield from compare(old["items"], new["items"], f"{path}[]")
        for before, after in zip(old.get("anyOf", []), new.get("anyOf", []), strict=False):
            yield from compare(before, after, path)


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema


def _type(old: Schema, new: Schema) -> Iterator[str]:
    for word in ("type", "format", "const", "contentEncoding"):
        if old.get(word) != new.get(word):
            yield f"{word} changed"
    if len(old.get("anyOf", [])) != len(new.get("anyOf", [])):
        yield "anyOf changed"


def _narrower(old: Schema, new: Schema) -> Iterator[str]:
    for word in LOWER:
        if word in new and new[word] > old.get(word, float("-inf")):
            yield f"{word} is now {new[word]}"
    for word in UPPER:
        if word in new and new[word] < old.get(word, float("inf")):
            yield f"{word} is now {new[word]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"pattern is now {new['pattern']}"
    if "enum" in new and (gone := set(old.get("enum", ["anything"])) - set(new["enum"])):
        yield f"no longer {', '.join(sorted(gone))}"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield "no other members any more"


def _security(old: list[Schema], new: list[Schema]) -> Iterator[str]:
    """What sufficed must suffice."""
    for way in old:
        if not any(set(each) <= set(way) for each in new):
            yield f"{' and '.join(way) or 'nothing'} no longer suffices"
