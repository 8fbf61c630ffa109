"""The document of the API lies in the repository as it would be made now, has examples that hold, and only grows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from boxoffice.openapi import DOCUMENT
from tests.unit.openapi_compatibility import METHODS, Schema, incompatibilities

DOCS = Path(__file__).parents[2] / "docs"
RELEASED: Schema = msgspec.json.decode((DOCS / "openapi-released.json").read_bytes())
"""docs/openapi.json as the latest release had it."""
SALE = "/api/v1/sales/{sale}"


def operations() -> Iterator[tuple[str, Schema]]:
    for path, item in DOCUMENT["paths"].items():
        yield from ((f"{method} {path}", item[method]) for method in METHODS if method in item)


OPERATIONS = dict(operations())


def test_the_file_is_what_would_be_made_now() -> None:
    assert msgspec.json.decode((DOCS / "openapi.json").read_bytes()) == DOCUMENT, "run `make generate`"


def test_nothing_is_taken_away_within_v1() -> None:
    found = incompatibilities(RELEASED, DOCUMENT)
    assert found == [], "keep what v1 has, or make a v2 beside it"


def medias(operation: Schema) -> Iterator[Schema]:
    """All that has a body."""
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from part.get("content", {}).values()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_body_has_an_example_that_holds(name: str) -> None:
    for media in medias(OPERATIONS[name]):
        values = [media["example"]] if "example" in media else [e["value"] for e in media["examples"].values()]
        assert values
        if "schema" in media:
            whole = {"components": DOCUMENT["components"], **media["schema"]}
            validator = jsonschema_rs.validator_for(whole, validate_formats=True)
            assert [error.message for value in values for error in validator.iter_errors(value)] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_tells_of_an_answer_and_of_a_refusal(name: str) -> None:
    responses = OPERATIONS[name]["responses"]
    good = [response for status, response in responses.items() if status < "300"]
    assert len(good) >= 1
    assert all(
        "content" in response or status in ("204", "304") or status >= "400" for status, response in responses.items()
    )
    assert [status for status in responses if status >= "400"] or name == "get /api/v1/sales"


@pytest.mark.parametrize("name", DOCUMENT["components"]["parameters"])
def test_every_parameter_has_an_example_that_holds(name: str) -> None:
    parameter = DOCUMENT["components"]["parameters"][name]
    jsonschema_rs.validate(parameter["schema"], parameter["example"])


Change = Callable[[Schema], Any]


def schemas(document: Schema, name: str) -> Schema:
    found: Schema = document["components"]["schemas"][name]
    return found


def at(document: Schema, path: str, method: str) -> Schema:
    found: Schema = document["paths"][SALE + path][method]
    return found


WORSE: dict[str, tuple[Change, str]] = {
    "an operation removed": (lambda d: d["paths"].pop(f"{SALE}/seats"), f"GET {SALE}/seats: removed"),
    "a method removed": (lambda d: d["paths"][f"{SALE}/orders"].pop("get"), f"GET {SALE}/orders: removed"),
    "another name": (
        lambda d: at(d, "/seats", "get").update(operationId="map"),
        f"GET {SALE}/seats: is now called map",
    ),
    "an answer removed": (
        lambda d: at(d, "/places", "post")["responses"].pop("200"),
        f"POST {SALE}/places: 200: removed",
    ),
    "a field of an answer removed": (
        lambda d: schemas(d, "Hold")["properties"].pop("fence"),
        f"POST {SALE}/holds: 201: answer.fence: removed",
    ),
    "a field that may be missing": (
        lambda d: schemas(d, "Line")["required"].remove("epoch"),
        f"GET {SALE}/line: 200: answer.epoch: no longer always there",
    ),
    "another type in an answer": (
        lambda d: schemas(d, "Hold")["properties"].update(fence={"type": "string"}),
        f"POST {SALE}/holds: 201: answer.fence: type changed",
    ),
    "a value more in an answer": (
        lambda d: schemas(d, "Challenge")["properties"]["algorithm"]["enum"].append("SHA-512"),
        f"GET {SALE}/challenge: 200: answer.algorithm: may now be SHA-512",
    ),
    "a code that is no longer told": (
        lambda d: at(d, "/orders", "post")["responses"]["409"]["content"]["application/problem+json"]["examples"].pop(
            "publishing"
        ),
        f"POST {SALE}/orders: 409: no longer publishing",
    ),
    "a header that may be missing": (
        lambda d: at(d, "/holds", "post")["responses"]["201"]["headers"].pop("RateLimit"),
        f"POST {SALE}/holds: 201: no longer always RateLimit",
    ),
    "a new field that is required": (
        lambda d: (
            schemas(d, "OrderRequest")["properties"].update(email={"type": "string"}),
            schemas(d, "OrderRequest")["required"].append("email"),
        ),
        f"POST {SALE}/orders: body.email: now required",
    ),
    "a field of a request removed": (
        lambda d: schemas(d, "OrderRequest")["properties"].pop("paymentMethod"),
        f"POST {SALE}/orders: body.paymentMethod: removed",
    ),
    "a narrower field of a request": (
        lambda d: schemas(d, "OrderRequest")["properties"]["hold"].update(maxLength=3),
        f"POST {SALE}/orders: body.hold: maxLength is now 3",
    ),
    "another pattern of a request": (
        lambda d: schemas(d, "OrderRequest")["properties"]["hold"].update(pattern="^[0-9]$"),
        f"POST {SALE}/orders: body.hold: pattern is now ^[0-9]$",
    ),
    "another type in a request": (
        lambda d: schemas(d, "OrderRequest")["properties"]["hold"].update(type="integer"),
        f"POST {SALE}/orders: body.hold: type changed",
    ),
    "a body that is required": (
        lambda d: at(d, "/places", "post")["requestBody"].update(required=True),
        f"POST {SALE}/places: body: now required",
    ),
    "a parameter that is required": (
        lambda d: at(d, "/seats", "get")["parameters"].append(
            {"name": "section", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        f"GET {SALE}/seats: query section: now required",
    ),
    "a token that was not needed": (
        lambda d: at(d, "/seats", "get").update(security=[{"visitor": []}]),
        f"GET {SALE}/seats: nothing no longer suffices",
    ),
}

BETTER: dict[str, Change] = {
    "an operation": lambda d: d["paths"].update({f"{SALE}/prices": d["paths"][f"{SALE}/seats"]}),
    "a field of an answer": lambda d: schemas(d, "Hold")["properties"].update(row={"type": "string"}),
    "one that is always there": lambda d: schemas(d, "Line")["required"].append("nothing"),
    "a field of a request": lambda d: schemas(d, "OrderRequest")["properties"].update(note={"type": "string"}),
    "a wider field of a request": lambda d: schemas(d, "OrderRequest")["properties"]["hold"].pop("pattern"),
    "a refusal": lambda d: at(d, "/seats", "get")["responses"].update({"429": {"description": "slower"}}),
    "a code": lambda d: at(d, "/orders", "post")["responses"]["409"]["content"]["application/problem+json"][
        "examples"
    ].update(another={"value": {}}),
    "a parameter": lambda d: at(d, "/seats", "get")["parameters"].append(
        {"name": "section", "in": "query", "schema": {"type": "string"}}
    ),
    "a header": lambda d: at(d, "/holds", "post")["responses"]["201"]["headers"].update({"X-New": {"schema": {}}}),
    "less that is needed": lambda d: at(d, "/orders", "get").pop("security"),
    "other words": lambda d: at(d, "/orders", "get").update(summary="Orders"),
}


def changed(change: Change) -> Schema:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    assert document != DOCUMENT
    return document


@pytest.mark.parametrize("what", WORSE)
def test_what_is_taken_away_is_named(what: str) -> None:
    change, said = WORSE[what]
    assert said in incompatibilities(DOCUMENT, changed(change))


@pytest.mark.parametrize("what", BETTER)
def test_what_is_added_is_no_matter(what: str) -> None:
    assert incompatibilities(DOCUMENT, changed(BETTER[what])) == []
