"""Who is told of what, and how it reads: the committed routes in a real Alertmanager, Slack's webhook stood in for."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from boxoffice.embedded import shipped
from boxoffice.local.alertmanager import binary
from tests.alerts.quick import quick_routes
from tests.alerts.slack import Attachment, Slack, open_slack
from tests.servers_prometheus import running_alertmanager

CONFIG = shipped("manifests", "alerting/alertmanager.yaml")
STALLED = {
    "summary": "Orders are not being settled",
    "description": "Look at the settlement's pods. Orders wait in the log.",
    "runbook_url": "https://example.org/runbooks/BoxofficeSettlementStalled.md",
}


def amtool(*words: str | Path) -> str:
    return subprocess.run([binary("amtool"), *words], check=True, capture_output=True, text=True).stdout


def test_amtool_finds_nothing_wrong() -> None:
    assert "SUCCESS" in amtool("check-config", CONFIG)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pages"), ("ticket", "tickets"), ("other", "tickets")])
def test_who_is_told(severity: str, receiver: str) -> None:
    assert amtool("config", "routes", "test", "--config.file", CONFIG, f"severity={severity}").strip() == receiver


class Desk:
    """Alerts come in by hand here, as Prometheus would send them."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self.url, self.client = url, client
        self.began = datetime.now(UTC) - timedelta(seconds=90)

    async def post(self, *alerts: dict[str, str], over: bool = False) -> None:
        now = datetime.now(UTC)
        ends = now - timedelta(seconds=1) if over else now + timedelta(minutes=4)
        times = {"startsAt": self.began.isoformat(), "endsAt": ends.isoformat()}
        body = [{"labels": labels, "annotations": {**STALLED, "value": _value(labels)}, **times} for labels in alerts]
        (await self.client.post(f"{self.url}/api/v2/alerts", json=body)).raise_for_status()

    async def held_back(self) -> list[str]:
        """Alerts that are there and that nobody is told of."""
        found: list[dict[str, Any]] = (await self.client.get(f"{self.url}/api/v2/alerts")).json()
        return [alert["labels"]["alertname"] for alert in found if alert["status"]["inhibitedBy"]]


def _value(labels: dict[str, str]) -> str:
    return f"partition {labels['partition']}" if "partition" in labels else ""


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[tuple[Desk, Slack]]:
    async with (
        open_slack() as slack,
        running_alertmanager(folder, quick_routes(folder, slack.url)) as server,
        httpx2.AsyncClient() as client,
    ):
        yield Desk(server.url, client), slack


def alert(name: str, severity: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, "namespace": "tickets", **labels}


async def test_a_page_fires_and_resolves(tmp_path: Path) -> None:
    """Two alerts of one name and sale are one message."""
    stalled = [alert("BoxofficeSettlementStalled", "page", sale="tide-seoul", partition=p) for p in ("1", "2")]
    async with open_desk(tmp_path) as (desk, slack):
        since = f"{desk.began:%H:%M:%S}"
        await desk.post(*stalled)
        await slack.until(lambda: len(slack.messages) == 1)
        await desk.post(*stalled, over=True)
        await slack.until(lambda: len(slack.messages) == 2)
    (to, fired), (also_to, resolved) = slack.messages
    assert (to, also_to) == ("pages", "pages")
    assert fired == Attachment(
        title=f"[FIRING 2] {STALLED['summary']}",
        text=f"{STALLED['description']}\n"
        f"*Since* {since} UTC: partition 1\n"
        f"*Since* {since} UTC: partition 2\n"
        f"*Runbook:* {STALLED['runbook_url']}",
        fallback=f"[FIRING 2] {STALLED['summary']}",
        footer="BoxofficeSettlementStalled · page · sale tide-seoul · tickets",
        color="danger",
        title_link=STALLED["runbook_url"],
    )
    assert resolved.title == f"[RESOLVED] {STALLED['summary']}"
    assert resolved.text.startswith(f"Was so from {since} to ")
    assert ", 1m29s.\n" in resolved.text or ", 1m30s.\n" in resolved.text, resolved.text


async def test_a_page_keeps_back_tickets_of_its_sale_and_its_own_alert(tmp_path: Path) -> None:
    page = alert("BoxofficeOversold", "page", sale="tide-seoul")
    burning = alert("BoxofficeHoldBurn", "page")
    kept = [alert("BoxofficeLineLong", "ticket", sale="tide-seoul"), alert("BoxofficeHoldBurn", "ticket")]
    let_through = [
        alert("BoxofficeLineLong", "ticket", sale="other-night"),
        alert("BoxofficeLineLong", "ticket", sale="tide-seoul") | {"namespace": "other"},
        alert("BoxofficeOrderBurn", "ticket"),
    ]
    async with open_desk(tmp_path) as (desk, slack):
        await desk.post(page, burning)
        await slack.until(lambda: len(slack.messages) == 2)
        await desk.post(*kept, *let_through)
        await slack.until(lambda: len(slack.messages) == 5)
        tickets = [message for channel, message in slack.messages if channel == "tickets"]
        assert sorted(await desk.held_back()) == ["BoxofficeHoldBurn", "BoxofficeLineLong"]
        assert sorted(message.footer for message in tickets) == [
            "BoxofficeLineLong · ticket · sale other-night · tickets",
            "BoxofficeLineLong · ticket · sale tide-seoul · other",
            "BoxofficeOrderBurn · ticket · tickets",
        ]
        assert {message.color for message in tickets} == {"warning"}
