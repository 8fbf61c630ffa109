"""The documents of a rehearsal: a copy that is a sale, and the Job of the manifest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boxoffice.embedded import shipped
from boxoffice.errors import BadInput
from boxoffice.rehearsal import OPENS_SECONDS, Rehearsal, ended, k6_image, stuck, url_of
from boxoffice.sale import convert_sale, parse_sales, to_builtins

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def original(**spec: Any) -> dict[str, Any]:
    """As an API server gives it: with every default filled in."""
    [sale] = parse_sales(shipped("manifests", "concertsale.yaml").read_bytes())
    document: dict[str, Any] = to_builtins(sale)
    document["metadata"] |= {"uid": "u", "resourceVersion": "7", "annotations": {"boxoffice.dev/override": "{}"}}
    return {**document, "spec": {**document["spec"], **spec}, "status": {"uid": "u"}}


def rehearsal(**spec: Any) -> Rehearsal:
    return Rehearsal.make(original(**spec), buyers=40, seed=3)


def test_the_copy_is_a_sale_of_its_own() -> None:
    play = rehearsal(policy="Hold")
    document = play.sale(NOW)
    copy, of = convert_sale(document).spec, convert_sale(play.of).spec
    assert (copy.listing, copy.policy, copy.opens_time) == ("Rehearsal", "Open", NOW + timedelta(seconds=OPENS_SECONDS))
    assert (copy.seating, copy.admission, copy.hold, copy.signals) == (of.seating, of.admission, of.hold, of.signals)
    assert copy.closes_time > copy.opens_time + timedelta(seconds=play.end_seconds)
    assert document["metadata"] == {"name": play.name, "labels": {"boxoffice.dev/rehearsal": "quiet-rivers-2030"}}


def test_a_crowd_may_join_the_copy() -> None:
    strict = {"joinsPerMinutePerAddress": 5, "proofOfWork": "Always"}
    document = rehearsal(abuse=strict, line={**original()["spec"]["line"], "onePer": "Account"}).sale(NOW)
    copy = convert_sale(document).spec
    assert (copy.abuse.joins_per_minute_per_address, copy.abuse.proof_of_work) == (100_000, "Off")
    assert copy.line.one_per == "Visitor"


def test_no_pod_is_added_for_a_rehearsal() -> None:
    assert "prescale" not in rehearsal(prescale={"minutesBefore": 5, "replicas": 9}).sale(NOW)["spec"]


def test_the_job_is_the_manifests() -> None:
    play = rehearsal()
    job = play.job("http://shop-app:80", "shop-k6:1", [{"name": "pull"}])
    pod = job["spec"]["template"]["spec"]
    [k6] = pod["containers"]
    given = {each["name"]: each["value"] for each in k6["env"]}
    assert (job["metadata"]["name"], k6["image"], pod["imagePullSecrets"]) == (
        play.name,
        "shop-k6:1",
        [{"name": "pull"}],
    )
    assert (given["SALE"], given["BASES"], given["BUYERS"], given["SEED"]) == (
        play.name,
        "http://shop-app:80",
        "40",
        "3",
    )
    assert job["spec"]["activeDeadlineSeconds"] > int(given["END_SECONDS"])
    assert pod["securityContext"]["runAsNonRoot"]


@pytest.mark.parametrize(
    ("app", "k6"),
    [
        ("boxoffice:1.4.0", "boxoffice-k6:1.4.0"),
        ("registry.example:5000/shop/boxoffice:1", "registry.example:5000/shop/boxoffice-k6:1"),
        ("registry.example:5000/shop/boxoffice", "registry.example:5000/shop/boxoffice-k6"),
        ("boxoffice:1@sha256:00ff", "boxoffice-k6:1"),
    ],
)
def test_the_crowds_image_is_named_after_the_apps(app: str, k6: str) -> None:
    assert k6_image({"spec": {"template": {"spec": {"containers": [{"image": app}]}}}}) == k6


def test_one_service_leads_to_the_app() -> None:
    service = {"metadata": {"name": "shop-app"}, "spec": {"ports": [{"port": 8080}]}}
    assert url_of([service]) == "http://shop-app:8080"
    for found in ([], [service, service]):
        with pytest.raises(BadInput, match=f"there are {len(found)} Services"):
            url_of(found)


@pytest.mark.parametrize(
    ("waiting", "says"),
    [
        ({"reason": "ContainerCreating"}, ""),
        ({"reason": "ErrImageNeverPull", "message": "not here"}, "ErrImageNeverPull: not here"),
        ({"reason": "InvalidImageName"}, "InvalidImageName: Shop"),
        ({}, ""),
    ],
)
def test_a_pod_that_will_never_start_is_told_from_one_that_may(waiting: dict[str, str], says: str) -> None:
    assert stuck([{"status": {"containerStatuses": [{"image": "Shop", "state": {"waiting": waiting}}]}}]) == says
    assert stuck([{}]) == ""


def test_a_job_has_ended_when_it_says_so() -> None:
    said = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]
    assert ended({"status": {"conditions": said}}) == "Complete"
    assert ended({"status": {"conditions": [{"type": "Failed", "status": "True"}]}}) == "Failed"
    assert ended({"status": {"active": 1}}) == ended({}) == ""
