"""Redis 7 on this machine: alone, with replicas and Sentinel, or a Cluster; kept as a production one should be."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from boxoffice.embedded import Child, Stopped, answers_ping
from boxoffice.errors import BadInput, StoreUnavailable
from boxoffice.local import installed
from boxoffice.pipe import Pipe, ReplyError, fields_of
from boxoffice.ports import free_ports
from boxoffice.storeurl import Access, Address

FORM_SECONDS = 40.0
"""For servers that run to find one another."""
LOOK_SECONDS = 0.05
MASTER_NAME = "tickets"

KEPT = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": '""',
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
    "shutdown-on-sigterm": "nosave now force",  # else it stays while it writes its first append-only file
}
WITH_REPLICAS = KEPT | {"min-replicas-to-write": "1", "min-replicas-max-lag": "5"}


class RedisProcess(Child):
    """One server with a folder of its own; its configuration is written once and is the server's own from then on."""

    def __init__(self, name: str, folder: Path, port: int, options: Mapping[str, str], sentinel: bool = False) -> None:
        self.port = port
        self._folder = folder
        self._file = folder / "redis.conf"
        self._options = {"port": str(port), "dir": str(folder.resolve()), **options}
        argv = [binary("redis-server"), self._file, *(("--sentinel",) if sentinel else ())]
        super().__init__(name, argv, folder / "redis.log")

    async def serve(self) -> None:
        """Returns when it answers PING with its data loaded."""
        if not self._file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file.write_text("".join(f"{name} {value}\n" for name, value in self._options.items()))
        await self.start(lambda: answers_ping(self.port, self.pid))

    async def info(self, section: str) -> dict[bytes, bytes]:
        """Raises StoreUnavailable."""
        return fields_of(await self.ask("INFO", section))

    async def ask(self, *command: str | bytes | int) -> Any:
        """Raises StoreUnavailable, ReplyError."""
        pipe = await Pipe.connect(Address("127.0.0.1", self.port), Access(), 2.0)
        try:
            return await pipe.send(*command)
        finally:
            await pipe.close()


class _Group:
    """What one server and many have in common."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.processes: list[RedisProcess] = []

    @property
    def children(self) -> list[Child]:
        return list(self.processes)

    async def stop(self) -> None:
        await asyncio.gather(*(child.stop() for child in self.processes))

    async def kill(self) -> None:
        """`kill -9` of every process; `start` brings them back on their ports with what their files hold."""
        await asyncio.gather(*(child.kill() for child in self.processes))

    def wipe(self) -> None:
        """Forgets everything; only while it is stopped."""
        assert not any(child.running for child in self.processes), "stop it first"
        shutil.rmtree(self.data_dir)

    def pause(self) -> None:
        """All stand still, their connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for child in self.processes:
            if child.running:
                os.kill(child.pid, number)


class LocalRedis(_Group):
    """One server on a free port of 127.0.0.1."""

    def __init__(self, data_dir: Path, port: int = 0, options: Mapping[str, str] | None = None) -> None:
        """`options`: more lines for redis.conf."""
        super().__init__(data_dir)
        self.port = port
        self._options = KEPT | dict(options or {})

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def changes(self) -> dict[str, Any]:
        return {"store_url": self.url}

    @property
    def pid(self) -> int:
        return self.processes[0].pid

    async def start(self) -> None:
        self.port = self.port or free_ports(1)[0]
        self.processes = self.processes or [RedisProcess("redis", self.data_dir, self.port, self._options)]
        await _serve(self.processes)


class LocalSentinel(_Group):
    """A master, two replicas (one may be lost, and a write still finds a second server) and three sentinels."""

    REPLICAS, SENTINELS = 2, 3

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.servers: list[RedisProcess] = []
        self.sentinels: list[RedisProcess] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER_NAME}/0"

    @property
    def changes(self) -> dict[str, Any]:
        return {"store_url": self.url}

    async def start(self) -> None:
        """Starts those that do not run; returns when a failover is possible."""
        fresh = not self.data_dir.exists()
        if not self.processes:
            self._lay_out()
        await _serve(self.servers)
        if fresh:  # a sentinel that finds no replica looks again after ten seconds
            await _until(self._is_copied, self.processes)
        await _serve(self.sentinels)
        await _until(self._is_watched, self.processes)

    def _lay_out(self) -> None:
        first, *others = free_ports(1 + self.REPLICAS + self.SENTINELS)
        replica = WITH_REPLICAS | {"replicaof": f"127.0.0.1 {first}"}
        replicas = [self._process("server", port, replica) for port in others[: self.REPLICAS]]
        self.servers = [self._process("server", first, WITH_REPLICAS), *replicas]
        watching = {
            "bind": "127.0.0.1",
            "sentinel monitor": f"{MASTER_NAME} 127.0.0.1 {first} 2",
            "sentinel down-after-milliseconds": f"{MASTER_NAME} 1000",
            "sentinel failover-timeout": f"{MASTER_NAME} 5000",
        }
        self.sentinels = [self._process("sentinel", port, watching) for port in others[self.REPLICAS :]]
        self.processes = [*self.servers, *self.sentinels]

    def _process(self, name: str, port: int, options: Mapping[str, str]) -> RedisProcess:
        return RedisProcess(f"{name}-{port}", self.data_dir / f"{name}-{port}", port, options, name == "sentinel")

    async def master(self) -> RedisProcess:
        """The server that the sentinels name. Raises StoreUnavailable when none of them answers."""
        for sentinel in (child for child in self.sentinels if child.running):
            _, port = await sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
            return next(server for server in self.servers if server.port == int(port))
        raise StoreUnavailable("no sentinel is running")

    async def _is_copied(self) -> bool:
        infos = await asyncio.gather(*(server.info("replication") for server in self.servers))
        return sum(info.get(b"master_link_status") == b"up" for info in infos) == self.REPLICAS

    async def _is_watched(self) -> bool:
        """Every sentinel knows the others and the replicas, and the master takes writes."""
        try:
            for sentinel in self.sentinels:
                flat = await sentinel.ask("SENTINEL", "MASTER", MASTER_NAME)
                state = dict(zip(flat[::2], flat[1::2], strict=True))
                seen = int(state[b"num-slaves"]), int(state[b"num-other-sentinels"])
                if state[b"flags"] != b"master" or seen != (self.REPLICAS, self.SENTINELS - 1):
                    return False
            return (await (await self.master()).info("replication")).get(b"min_slaves_good_slaves") == b"2"
        except (StoreUnavailable, ReplyError):
            return False


class LocalCluster(_Group):
    """Three masters, each with a replica."""

    MASTERS = 3

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{child.port}" for child in self.processes)

    @property
    def changes(self) -> dict[str, Any]:
        return {"store_url": self.url}

    async def start(self) -> None:
        """Starts those that do not run; returns when all slots are served and every replica has its data."""
        fresh = not self.data_dir.exists()
        if not self.processes:
            self._lay_out()
        await _serve(self.processes)
        if fresh:
            await self._join()
        await _until(self._is_whole, self.processes)

    def _lay_out(self) -> None:
        ports = free_ports(4 * self.MASTERS)
        for port, bus in zip(ports[::2], ports[1::2], strict=True):
            options = KEPT | {"cluster-enabled": "yes", "cluster-node-timeout": "2000", "cluster-port": str(bus)}
            self.processes.append(RedisProcess(f"node-{port}", self.data_dir / f"node-{port}", port, options))

    async def _join(self) -> None:
        hosts = [f"127.0.0.1:{child.port}" for child in self.processes]
        argv = ("--cluster", "create", *hosts, "--cluster-replicas", "1", "--cluster-yes")
        cli = Child("redis-cli", [binary("redis-cli"), *argv], self.data_dir / "create.log")
        await cli.start()
        if await cli.wait():
            raise Stopped(f"the cluster was not made:\n{cli.last_lines()}")

    async def master(self, key: str) -> RedisProcess:
        """The node that serves a key's slot, as the first that runs has it. Raises StoreUnavailable."""
        asked = next(child for child in self.processes if child.running)
        slot = int(await asked.ask("CLUSTER", "KEYSLOT", key))
        for first, last, owner, *_ in await asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(child for child in self.processes if child.port == owner[1])
        raise StoreUnavailable(f"nobody serves slot {slot}")

    async def _is_whole(self) -> bool:
        infos = await asyncio.gather(*(child.info("replication") for child in self.processes))
        states = [fields_of(await child.ask("CLUSTER", "INFO")) for child in self.processes]
        return sum(info.get(b"master_link_status") == b"up" for info in infos) == self.MASTERS and all(
            state[b"cluster_state"] == b"ok" and state[b"cluster_known_nodes"] == b"6" for state in states
        )


def binary(name: str) -> Path:
    """`redis-server` or `redis-cli`, out of the cache or on PATH. Raises BadInput."""
    try:
        return installed("Redis") / "bin" / name
    except BadInput:
        if found := shutil.which(name):
            return Path(found)
        raise


async def _serve(processes: Sequence[RedisProcess]) -> None:
    await asyncio.gather(*(process.serve() for process in processes if not process.running))


async def _until(ready: Callable[[], Awaitable[bool]], processes: Iterable[Child]) -> None:
    """Raises Stopped with the end of every log when they do not find one another in time."""
    deadline = time.monotonic() + FORM_SECONDS
    while not await ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{child.name}:\n{child.last_lines(5)}" for child in processes if child.process)
            raise Stopped(f"the servers run, but did not find one another in {FORM_SECONDS:.0f} s:\n{logs}")
        await asyncio.sleep(LOOK_SECONDS)
