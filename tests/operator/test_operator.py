"""The operator as a process, before a real API server, with pods that sell."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boxoffice import sales
from boxoffice.kubeapi import Account
from boxoffice.ledger import open_ledger
from boxoffice.override import ANNOTATION, Override
from boxoffice.spec import Policy
from tests.integration.house import SALE, resource
from tests.operator.apiserver import ApiServer
from tests.operator.office import Office, open_office

LAST = "boxoffice_operator_last_round_timestamp_seconds"
ROUNDS, SECONDS = "boxoffice_operator_round_seconds_count", "boxoffice_operator_round_seconds_sum"
OUTAGE_ROUNDS = int(os.environ.get("BOXOFFICE_TEST_OUTAGE_ROUNDS", "3"))
"""Of ten seconds or more: how long the API server is away."""
MANUAL = {"mode": "Manual", "perMinute": 6000, "initialActive": 200, "maxActive": 1000}


@pytest.fixture
async def office(apiserver: ApiServer, account: Account, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(apiserver, account, tmp_path) as office:
        yield office


async def selling(office: Office, **spec: Any) -> None:
    """A sale that is open in every pod."""
    office.apply(resource(**spec))
    await office.until_known_by_all()
    await office.until_state("open")


def annotation(policy: Policy, why: str = "the ledger is slow") -> str:
    return Override(policy=policy, who="the night shift", why=why, at=datetime.now(UTC)).text()


async def test_a_sale_is_applied_opened_and_told_of(office: Office) -> None:
    await selling(office, admission=MANUAL)
    await office.until_condition("Ready", "True", "SpecInForce")
    await office.until_condition("Admitting", "True", "SaleOpen")
    status = office.get()["status"]
    assert status["observedGeneration"] == 1
    assert status["seats"]["total"] == 100
    assert status["openedTime"]
    assert status["uid"] == dict(await office.house.ledger("SELECT name, uid FROM sales"))[SALE]
    assert "SpecInForce" in office.events()
    row = office.kubectl("get", "csale", SALE).splitlines()[1].split()
    assert row[:3] == [SALE, "True", "Open"]
    assert "finalizers" not in office.get()["metadata"]
    assert "annotations" not in office.get()["metadata"] or not [
        key for key in office.get()["metadata"]["annotations"] if "kopf" in key
    ]


async def test_an_edit_is_in_effect(office: Office) -> None:
    await selling(office)
    office.patch({"policy": "Hold"})
    await office.until_state("hold")
    office.patch({"policy": "Open", "admission": {"mode": "Manual", "perMinute": 120}})
    await office.until_state("open")
    async with asyncio.timeout(2), office.house.store() as store:
        while await store.execute("HMGET", store.key(SALE, "sale"), "mode", "per_minute") != [b"Manual", b"120"]:
            await asyncio.sleep(0.02)


async def test_an_override_is_in_effect_by_each_of_its_ways(office: Office) -> None:
    await selling(office)
    office.kubectl("annotate", "csale", SALE, f"{ANNOTATION}={annotation('Hold')}")
    await office.until_state("hold")
    await office.until_condition("Overridden", "True", "OverrideHold")
    await drained_by_the_admin_page(office)
    await office.until_state("drain")
    await office.until(lambda: policy_in_annotation(office) == "Drain")
    async with office.house.store() as store:
        ledger = await open_ledger(office.house.stack.settings())
        await sales.override(store, ledger, SALE, None, "the night shift", "all is well")
        await ledger.close()
    await office.until_state("open")
    await office.until(lambda: policy_in_annotation(office) == "Open")
    await office.until_condition("Overridden", "False")
    told = [reason for reason in office.events() if reason.startswith("Override")]
    assert (told[0], told[-1]) == ("OverrideHold", "OverrideAbsent")  # which came between is a matter of seconds


async def drained_by_the_admin_page(office: Office) -> None:
    stack = office.house.stack
    answer = await office.house.client.post(
        f"{stack.admin_url}/admin/api/sales/{SALE}/drain",
        headers={"authorization": f"Bearer {stack.admin_token}"},
        json={"who": "Mina", "why": "enough for tonight"},
    )
    assert answer.status_code == 200, answer.text


def policy_in_annotation(office: Office) -> str:
    return str(json.loads(office.get()["metadata"]["annotations"][ANNOTATION])["policy"])


async def test_the_way_of_gitops_undoes_no_override(office: Office) -> None:
    document = resource()
    office.apply(document)
    await office.until_known_by_all()
    await office.until_state("open")
    office.kubectl("annotate", "csale", SALE, f"{ANNOTATION}={annotation('Hold')}")
    await office.until_state("hold")
    namespace = office.account.namespace
    for manager in ("argocd-controller", "kustomize-controller"):
        options = ("--server-side", f"--field-manager={manager}", "--force-conflicts")
        office.cluster.apply(document, namespace=namespace, options=options)
    office.replace(document)  # takes every annotation away
    await office.until(lambda: ANNOTATION in office.get()["metadata"].get("annotations", {}))
    assert policy_in_annotation(office) == "Hold"
    assert (await office.house.line())["state"] == "hold"


async def test_deleted_and_applied_again_in_mid_sale_it_is_the_same_sale(office: Office) -> None:
    document = resource()
    office.apply(document)
    await office.until_known_by_all()
    await office.until_state("open")
    buyer, waiting = office.house.buyer(), office.house.buyer(1)
    await buyer.enter()
    hold = (await buyer.hold(count=1)).json()
    order = (await buyer.pay(hold["id"], "once")).json()
    place = (await waiting.join()).json()
    uid = office.get()["status"].get("uid")
    office.kubectl("delete", "csale", SALE)
    await office.until_state("drain")
    office.apply(document)
    await office.until_state("open")
    await office.until_condition("Ready", "True")
    assert uid in (None, office.get()["status"]["uid"])
    assert (await waiting.join()).json()["number"] == place["number"]
    assert (await buyer.until_settled(order["id"]))["state"] == "paid"
    assert not (await office.house.audit()).differences


async def test_the_same_name_with_other_seats_is_taken(office: Office) -> None:
    await selling(office)
    office.kubectl("delete", "csale", SALE)
    office.apply(resource(seats=50))
    await office.until_condition("Ready", "False", "NameTaken")
    assert "NameTaken" in office.events()
    assert (await office.house.seats())["total"] == 100


async def test_what_the_cluster_let_through_and_cannot_work_is_said_and_breaks_nothing(office: Office) -> None:
    office.apply(resource(timeZone="Asia/Soul"), resource(name="good-night"))
    await office.until_condition("Ready", "True", name="good-night")
    await office.until_condition("Ready", "False", "SpecInvalid")
    [message] = [c["message"] for c in office.get()["status"]["conditions"] if c["type"] == "Ready"]
    assert "spec.timeZone: must be an IANA zone" in message
    office.patch({"timeZone": "Asia/Seoul"})
    await office.until_condition("Ready", "True")
    office.patch({"timeZone": "Nowhere"})
    await office.until_condition("Ready", "False", "SpecInvalid")
    assert (await office.house.line())["state"] == "open"


async def test_an_annotation_that_says_nothing_is_said(office: Office) -> None:
    await selling(office)
    office.kubectl("annotate", "csale", SALE, f"{ANNOTATION}=Hold")
    await office.until_condition("Overridden", "Unknown", "OverrideInvalid")
    assert (await office.house.line())["state"] == "open"
    office.kubectl("annotate", "--overwrite", "csale", SALE, f"{ANNOTATION}={annotation('Hold')}")
    await office.until_state("hold")


async def test_a_second_operator_waits_and_takes_over_with_a_higher_number(office: Office) -> None:
    await selling(office)
    await office.until(lambda: office.writer(office.port) == 1)
    second = office.make_operator("second", office.other_port)
    await office.start(second, office.other_port)
    try:
        assert office.writer(office.other_port) == 0
        await office.operator.stop()
        await office.until(lambda: office.writer(office.other_port) == 2)
        office.patch({"policy": "Hold"})
        await office.until_state("hold")
    finally:
        await second.stop()


async def test_a_stale_operator_is_refused_by_its_number(office: Office) -> None:
    """One that was frozen, and wakes up after another has taken its turn."""
    await selling(office)
    await office.until(lambda: office.writer(office.port) == 1)
    await office.until_condition("Ready", "True")
    office.freeze()
    second = office.make_operator("second", office.other_port)
    await office.start(second, office.other_port)
    try:
        await office.until(lambda: office.writer(office.other_port) == 2, seconds=40)
        office.patch({"policy": "Hold"})
        await office.until_state("hold")
        office.thaw()
        await office.until(lambda: office.writer(office.port) == 0)
        office.patch({"policy": "Drain"})
        await office.until_state("drain")
    finally:
        await second.stop()


async def test_operator_and_api_server_gone_it_opens_and_closes_by_itself(
    own_apiserver: ApiServer, tmp_path: Path
) -> None:
    account = own_apiserver.account(own_apiserver.make_namespace())
    async with open_office(own_apiserver, account, tmp_path) as office:
        now = datetime.now(UTC)
        opens, closes = now + timedelta(seconds=30), now + timedelta(seconds=36)
        office.apply(resource(opensTime=opens.isoformat(), closesTime=closes.isoformat()))
        await office.until_known_by_all()
        await office.operator.kill()
        await own_apiserver.stop()
        assert (await office.house.line())["state"] == "prequeue"
        await office.until_state("open", (opens - datetime.now(UTC)).total_seconds() + 60)
        await office.until_state("closed", (closes - datetime.now(UTC)).total_seconds() + 60)


async def test_without_the_api_server_it_goes_on_and_comes_back(own_apiserver: ApiServer, tmp_path: Path) -> None:
    account = own_apiserver.account(own_apiserver.make_namespace())
    async with open_office(own_apiserver, account, tmp_path) as office:
        await selling(office)
        await office.until_condition("Ready", "True")
        pid = office.operator.pid
        await own_apiserver.stop()
        rounds = office.metric(ROUNDS)
        await office.until(lambda: office.metric(ROUNDS) >= rounds + OUTAGE_ROUNDS, seconds=20 * OUTAGE_ROUNDS)
        assert office.alive()
        async with office.house.store() as store:
            ledger = await open_ledger(office.house.stack.settings())
            await sales.override(store, ledger, SALE, "Hold", "the night shift", "no API server")
            await ledger.close()
        await own_apiserver.start()
        await office.until(lambda: ANNOTATION in office.get()["metadata"].get("annotations", {}), seconds=40)
        await office.until_condition("Overridden", "True", "OverrideHold")
        office.patch({"policy": "Drain"})
        await office.until_state("drain")
        assert office.operator.running
        assert office.operator.pid == pid


async def test_without_redis_it_says_so_and_goes_on(office: Office) -> None:
    await selling(office)
    await office.until_condition("Ready", "True")
    await office.house.stack.store.stop()
    await office.until_condition("Degraded", "True", "RedisUnreachable")
    ended = office.metric(LAST)
    await office.until(lambda: office.metric(LAST) > ended)  # nor is it stuck
    assert office.alive()
    await office.house.stack.store.start()
    await office.until_condition("Degraded", "False", seconds=60)
    await office.until_condition("Ready", "True")
    office.patch({"policy": "Hold"})
    await office.until_state("hold")


async def test_restarted_in_mid_sale_it_changes_nothing(office: Office) -> None:
    await selling(office)
    await office.until_condition("Admitting", "True")
    before = office.get()["status"]
    await office.operator.kill()
    await office.start()
    await office.until(lambda: office.writer(office.port) > 0, seconds=30)
    rounds = office.metric(ROUNDS)
    await office.until(lambda: office.metric(ROUNDS) >= rounds + 2)
    assert office.get()["status"] == before
    assert (await office.house.line())["state"] == "open"


async def test_the_status_is_written_at_most_every_ten_seconds(office: Office) -> None:
    await selling(office)
    await office.until_condition("Ready", "True")
    began = datetime.now(UTC)
    writes = office.metric("boxoffice_operator_status_writes_total")
    for number in range(40):
        office.patch({"title": f"Night {number}", "policy": "Hold" if number % 2 else "Open"})
    await office.until(lambda: office.get()["status"]["observedGeneration"] >= 40)
    seconds = (datetime.now(UTC) - began).total_seconds()
    assert office.metric("boxoffice_operator_status_writes_total") - writes <= 1 + seconds / 10


async def test_fifty_sales_are_each_looked_at_in_ten_seconds(office: Office) -> None:
    names = [f"night-{number}" for number in range(50)]
    office.apply(*(resource(name=name) for name in names))
    await office.until(lambda: all(office.condition("Ready", name) == ("True", "SpecInForce") for name in names[::7]))
    rounds, took = (
        office.metric(ROUNDS),
        office.metric("boxoffice_operator_round_seconds_sum"),
    )
    await office.until(lambda: office.metric(ROUNDS) >= rounds + 2)
    count = office.metric(ROUNDS) - rounds
    assert (office.metric("boxoffice_operator_round_seconds_sum") - took) / count < 10
    assert office.metric("boxoffice_operator_sales") == 50
