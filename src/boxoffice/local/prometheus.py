"""A Prometheus of our own on this machine, for the tests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from boxoffice.embedded import Child, answers
from boxoffice.errors import BadInput
from boxoffice.local import installed
from boxoffice.ports import free_ports

SCRAPE = "1s"
LOOKBACK = "30s"
"""Debian's is too old to be asked for it in a query."""


class LocalPrometheus:
    """Scrapes and evaluates every second; `targets` are jobs and their `host:port`s, `alertmanager` is one too."""

    def __init__(
        self,
        data_dir: Path,
        targets: Mapping[str, Sequence[str]],
        rules: Sequence[Path] = (),
        alertmanager: str = "",
    ) -> None:
        self.data_dir, self.targets = data_dir, targets
        self.rules, self.alertmanager = rules, alertmanager
        self.port = 0
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns when it answers queries. A second start takes port and data of the first."""
        self.port = self.port or free_ports(1)[0]
        self.data_dir.mkdir(parents=True, exist_ok=True)
        config = self.data_dir / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config()))
        options = {
            "config.file": config,
            "storage.tsdb.path": self.data_dir / "data",
            "web.listen-address": f"127.0.0.1:{self.port}",
            "query.lookback-delta": LOOKBACK,
        }
        argv: list[str | Path] = [binary(), *(f"--{name}={value}" for name, value in options.items())]
        self.child = Child("prometheus", argv, self.data_dir / "prometheus.log")
        await self.child.start(lambda: answers(f"{self.url}/-/ready"))

    def _config(self) -> dict[str, object]:
        jobs = [{"job_name": name, "static_configs": [{"targets": [*of]}]} for name, of in self.targets.items()]
        times = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
        tell = [{"static_configs": [{"targets": [self.alertmanager]}]}] if self.alertmanager else []
        return {
            "global": times,
            "scrape_configs": jobs,
            "rule_files": [str(file.resolve()) for file in self.rules],
            "alerting": {"alertmanagers": tell},
        }

    async def stop(self) -> None:
        if self.child:
            await self.child.stop()


def binary() -> Path:
    """Out of the cache or on PATH. Raises BadInput."""
    try:
        return installed("Prometheus") / "bin/prometheus"
    except BadInput:
        if found := shutil.which("prometheus"):
            return Path(found)
        raise
