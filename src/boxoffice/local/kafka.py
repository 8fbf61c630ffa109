"""Apache Kafka on this machine: KRaft, each process broker and controller in one."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boxoffice.embedded import Child
from boxoffice.errors import BadInput
from boxoffice.local import installed
from boxoffice.ports import free_ports

# A small heap and the quick compiler: up in seconds, about 350 MiB. It says warnings, and when it serves.
JAVA = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
STOP_SECONDS = 5.0


class LocalKafka:
    """One process, or several that copy each other's partitions, on free ports of 127.0.0.1."""

    def __init__(self, data_dir: Path, brokers: int = 1, options: Mapping[str, str] | None = None) -> None:
        """`options`: more lines for server.properties, with `{port}` and `{control}` where the ports belong."""
        self.data_dir = data_dir
        self.brokers: list[Child] = []
        self._count = brokers
        self._options = dict(options or {})
        self._ports: list[int] = []

    @property
    def url(self) -> str:
        return "kafka://" + ",".join(f"127.0.0.1:{port}" for port in self._ports[: self._count])

    @property
    def changes(self) -> dict[str, Any]:
        return {"log_url": self.url, "log_replicas": self._count}

    @property
    def children(self) -> list[Child]:
        return self.brokers

    @property
    def pid(self) -> int:
        """Of the first broker."""
        return self.brokers[0].pid

    async def start(self) -> None:
        """Starts those that do not run; returns when all serve. A second start has ports and data of the first."""
        self._ports = self._ports or free_ports(2 * self._count)
        cluster = secrets.token_urlsafe(16)
        for node in range(len(self.brokers), self._count):
            self.brokers.append(self._broker(node))
        for node in range(self._count):
            self._lay_out(node, cluster)
        waiting = [broker for broker in self.brokers if not broker.running]
        await asyncio.gather(*(_start(broker) for broker in waiting))

    def _broker(self, node: int) -> Child:
        folder = self.data_dir / str(node)
        java = shutil.which("java")
        if java is None:
            raise BadInput("Java is not installed here: make servers")
        argv: list[str | Path] = [
            java,
            *JAVA,
            "-cp",
            f"{installed('Kafka')}/libs/*",
            "kafka.Kafka",
            folder / "server.properties",
        ]
        return Child(f"kafka {node}", argv, self.data_dir / f"kafka-{node}.log")

    def _lay_out(self, node: int, cluster: str) -> None:
        """What `kafka-storage format` would write, without another JVM; nothing when it is there."""
        folder = self.data_dir / str(node)
        if folder.exists():
            return
        (folder / "data").mkdir(parents=True)
        _write(folder / "data" / "meta.properties", {"version": "1", "cluster.id": cluster, "node.id": str(node)})
        _write(folder / "server.properties", self._properties(node))

    def _properties(self, node: int) -> dict[str, str]:
        port, control = self._ports[node], self._ports[self._count + node]
        voters = enumerate(self._ports[self._count :])
        return {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": ",".join(f"{voter}@127.0.0.1:{port}" for voter, port in voters),
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str((self.data_dir / str(node) / "data").resolve()),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "3",
            "offsets.topic.replication.factor": str(self._count),
            "group.initial.rebalance.delay.ms": "0",
            # After `kill -9` a broker may come back under its number when its session is over: 9 s by default.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **{name: value.format(port=port, control=control) for name, value in self._options.items()},
        }

    async def stop(self) -> None:
        """Several at once may wait for each other's leave in vain: what they took is on their disks anyway."""
        await asyncio.gather(*(broker.stop(STOP_SECONDS) for broker in self.brokers))

    async def kill(self) -> None:
        """`kill -9` of all brokers; `start` brings them back with their data."""
        await asyncio.gather(*(broker.kill() for broker in self.brokers))

    def wipe(self) -> None:
        """Forgets everything, its cluster id too; only while it is stopped."""
        assert not any(broker.running for broker in self.brokers), "stop it first"
        shutil.rmtree(self.data_dir)

    def pause(self) -> None:
        """All brokers stand still, their connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for broker in self.brokers:
            if broker.running:
                os.kill(broker.pid, number)


async def _start(broker: Child) -> None:
    async def started() -> bool:
        return broker.said(b"Kafka Server started")

    await broker.start(started)


def _write(file: Path, properties: Mapping[str, str]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
