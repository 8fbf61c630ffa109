"""The document at /openapi.json is valid OpenAPI 3.1, and says just what the app does."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from starlette.routing import Route

from boxoffice import api
from boxoffice.embedded import EmbeddedStore
from boxoffice.openapi import DOCUMENT
from boxoffice.problems import CODES, SPELLED
from tests.integration.pod import open_pod, settings_of

OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]


async def test_is_served(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        answer = await pod.client.get(f"{pod.url}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_is_valid() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_its_schemas_are_valid(name: str) -> None:
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])


def test_has_each_route_of_the_api_and_no_other() -> None:
    documented = {(method.upper(), path) for path, method, _ in OPERATIONS}
    routes = [route for route in api.routes if isinstance(route, Route)]
    served = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    assert documented == served


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_has_a_problem_with_examples_for_every_refusal(path: str, method: str, operation: Any) -> None:
    schemas = {"components": DOCUMENT["components"], "$ref": "#/components/schemas/Problem"}
    problem = jsonschema_rs.validator_for(schemas)
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            (media,) = response["content"]
            examples = response["content"][media]["examples"]
            assert media == "application/problem+json"
            assert {str(example["value"]["status"]) for example in examples.values()} == {status}
            assert all(problem.is_valid(example["value"]) for example in examples.values())


def test_no_code_is_described_in_vain() -> None:
    used = {code for _, _, operation in OPERATIONS for code in _codes(operation)}
    assert used == {SPELLED.get(name, name) for name in CODES}


def _codes(operation: Any) -> set[str]:
    refused = [r for status, r in operation["responses"].items() if int(status) >= 400]
    return {code for r in refused for code in r["content"]["application/problem+json"]["examples"]}
