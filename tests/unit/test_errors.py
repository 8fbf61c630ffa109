"""Every error is a problem document with a status and a code that stay."""

from __future__ import annotations

import inspect
from http import HTTPStatus

import msgspec
import pytest

from boxoffice import errors
from boxoffice.errors import PROBLEM_TYPE, BoxofficeError, Conflict, TooMany, Unavailable, told

CONTRACT = {
    "BadInput": (400, "bad_input"),
    "TooLarge": (413, "body_too_large"),
    "NotJson": (415, "not_json"),
    "Unprocessable": (422, "unprocessable"),
    "Unauthorized": (401, "unauthorized"),
    "Forbidden": (403, "forbidden"),
    "NotFound": (404, "not_found"),
    "Conflict": (409, "conflict"),
    "Gone": (410, "gone"),
    "TooEarly": (425, "too_early"),
    "TooMany": (429, "too_many_requests"),
    "Unavailable": (503, "unavailable"),
    "StoreUnavailable": (503, "store_unavailable"),
    "Recovering": (503, "recovering"),
    "LogUnavailable": (503, "log_unavailable"),
    "LedgerUnavailable": (503, "ledger_unavailable"),
    "LedgerBusy": (503, "ledger_busy"),
    "GatewayUnavailable": (503, "gateway_unavailable"),
    "ClusterUnavailable": (503, "cluster_unavailable"),
}
KINDS = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BoxofficeError) and kind is not BoxofficeError
}


def test_statuses_and_codes_are_a_contract() -> None:
    assert {name: (kind.status, kind.code) for name, kind in KINDS.items()} == CONTRACT


@pytest.mark.parametrize("name", CONTRACT)
def test_an_error_is_a_problem_document(name: str) -> None:
    error = KINDS[name]("what happened", seats=["stalls/1/1"])
    assert msgspec.json.decode(error.problem()) == {
        "type": PROBLEM_TYPE + CONTRACT[name][1],
        "title": HTTPStatus(CONTRACT[name][0]).phrase,
        "status": CONTRACT[name][0],
        "code": CONTRACT[name][1],
        "detail": "what happened",
        "seats": ["stalls/1/1"],
    }


def test_a_code_may_be_narrower_than_its_kind() -> None:
    error = Conflict("gone", code="hold_gone", retry_after=3)
    assert (error.status, error.code, error.retry_after) == (409, "hold_gone", 3)
    assert Conflict("x").code == "conflict"
    assert str(error) == "gone"


def test_whoever_is_turned_away_for_now_hears_until_when() -> None:
    assert Unavailable("x").retry_after == 2
    assert TooMany("x").retry_after is None


@pytest.mark.parametrize(("error", "says"), [(TimeoutError(), "TimeoutError"), (OSError("no route"), "no route")])
def test_an_error_that_says_nothing_is_told_by_its_name(error: Exception, says: str) -> None:
    assert told(error) == says
