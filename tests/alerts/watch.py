"""A real Prometheus with our rules and a real Alertmanager with our routes, with less time in them; and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from boxoffice.local.prometheus import LocalPrometheus
from tests.alerts.quick import LEAST_SECONDS, quick_routes, quick_rules
from tests.alerts.slack import Slack, open_slack
from tests.servers_prometheus import running_alertmanager


class Watch:
    def __init__(self, slack: Slack) -> None:
        self.slack = slack

    async def fires(self, alert: str, severity: str = "page", sale: str = "", saying: str = "") -> None:
        """Returns when Slack has it, with that value among others."""
        await self._told("[FIRING", f"Boxoffice{alert}", severity, sale, saying)

    async def resolves(self, alert: str, severity: str = "page", sale: str = "") -> None:
        await self._told("[RESOLVED", f"Boxoffice{alert}", severity, sale)

    async def _told(self, word: str, alert: str, severity: str, sale: str, saying: str = "") -> None:
        def said() -> bool:
            message = self.slack.last(alert, severity, sale)
            return message is not None and message.title.startswith(word) and saying in message.text

        try:
            await self.slack.until(said)
        except TimeoutError:
            heard = "\n".join(
                f"{message.title} | {message.footer} | {message.text}" for _, message in self.slack.messages
            )
            raise AssertionError(f"no {word}] of {alert} ({severity}, {sale or 'no sale'}); heard:\n{heard}") from None


@asynccontextmanager
async def open_watch(
    folder: Path, targets: Mapping[str, Sequence[str]], at_least: float = LEAST_SECONDS
) -> AsyncIterator[Watch]:
    """`at_least`: for what an expression looks back on, and for the ages that it allows."""
    async with (
        open_slack() as slack,
        running_alertmanager(folder / "alertmanager", quick_routes(folder, slack.url)) as alertmanager,
    ):
        rules = [quick_rules(folder, at_least)]
        prometheus = LocalPrometheus(folder / "prometheus", targets, rules, alertmanager.address)
        await prometheus.start()
        try:
            yield Watch(slack)
        finally:
            await prometheus.stop()
