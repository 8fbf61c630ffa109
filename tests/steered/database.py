"""A MySQL with few cores, as a container's CPU limit gives them, and what an exporter beside it says of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from boxoffice.local.mysql import LocalMySql
from boxoffice.tasks import end

TICK_SECONDS = 0.005
PERIOD_SECONDS = 0.1
"""What was not used so long ago is gone: that of the kernel's quotas."""


class Limited:
    """Stops the server while it has had more than its share."""

    def __init__(self, mysql: LocalMySql, cores: float) -> None:
        self.cores = cores
        self._mysql = mysql

    def used(self) -> float:
        """CPU seconds so far."""
        return time.clock_gettime(~self._mysql.pid << 3 | 2)  # CPUCLOCK_SCHED of a whole process, see clock_getres(2)

    def page(self) -> str:
        """As process-exporter says what is used, and kube-state-metrics what may be."""
        where = 'namespace="mysql",container="mysql",resource="cpu"'
        return (
            "# TYPE namedprocess_namegroup_cpu_seconds_total counter\n"
            f'namedprocess_namegroup_cpu_seconds_total{{groupname="mysqld",mode="user"}} {self.used()}\n'
            "# TYPE kube_pod_container_resource_limits gauge\n"
            f"kube_pod_container_resource_limits{{{where}}} {self.cores}\n"
        )

    @asynccontextmanager
    async def limiting(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._limit())
        try:
            yield
        finally:
            await end([task])
            self._mysql.resume()

    async def _limit(self) -> None:
        allowed, last, stopped = self.used(), time.monotonic(), False
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now, used = time.monotonic(), self.used()
            allowed = min(allowed + self.cores * (now - last), used + self.cores * PERIOD_SECONDS)
            last = now
            if (over := used > allowed) != stopped:
                stopped = over
                (self._mysql.pause if over else self._mysql.resume)()
