"""An Alertmanager of our own on this machine, for the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

from boxoffice.embedded import Child, answers
from boxoffice.errors import BadInput
from boxoffice.local import installed
from boxoffice.ports import free_ports


class LocalAlertmanager:
    """Alone: no cluster of its own kind."""

    def __init__(self, data_dir: Path, config: Path) -> None:
        self.data_dir, self.config = data_dir, config
        self.port = 0
        self.child: Child | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def start(self) -> None:
        """Returns when it takes alerts."""
        [self.port] = free_ports(1)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        options = {
            "config.file": self.config,
            "storage.path": self.data_dir / "data",
            "web.listen-address": self.address,
            "cluster.listen-address": "",
        }
        argv: list[str | Path] = [binary("alertmanager"), *(f"--{name}={value}" for name, value in options.items())]
        self.child = Child("alertmanager", argv, self.data_dir / "alertmanager.log")
        await self.child.start(lambda: answers(f"{self.url}/-/ready"))

    async def stop(self) -> None:
        if self.child:
            await self.child.stop()


def binary(name: str) -> Path:
    """alertmanager or amtool, out of the cache or on PATH. Raises BadInput."""
    try:
        return installed("Alertmanager") / "bin" / name
    except BadInput:
        if found := shutil.which(name):
            return Path(found)
        raise
