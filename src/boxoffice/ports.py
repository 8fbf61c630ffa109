"""Free ports, for servers that we start.

That a port is free says nothing of the next moment: of two processes that draw the same one, the second server fails.
So each process takes its ports from a block of its own, and holds that by keeping its first port bound.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import random
import socket
from collections.abc import Iterator, Sequence

from boxoffice.errors import Unavailable

PORTS = range(20_000, 32_000)
"""Below the kernel's range for outgoing connections, so that nobody's connection takes a port before us."""
BLOCK = 200


def free_ports(count: int, preferred: Sequence[int] = ()) -> list[int]:
    """Ports that nobody listens on now, all different; the preferred ones where they are free. Raises Unavailable."""
    found: list[int] = []
    for port in itertools.chain(preferred, itertools.islice(_own_ports(), BLOCK - 1)):
        if port not in found and _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise Unavailable(f"of the ports from {PORTS.start} to {PORTS.stop - 1} too many are in use")


@functools.cache
def _own_ports() -> Iterator[int]:
    """Round and round, so that a server that is stopped and started again finds its port as it was."""
    blocks = range(PORTS.start, PORTS.stop, BLOCK)
    for first in random.sample(blocks, len(blocks)):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
        except OSError:
            guard.close()
        else:
            atexit.register(guard.close)
            return itertools.cycle(range(first + 1, first + BLOCK))
    raise Unavailable(f"each port from {PORTS.start} on that begins a block is in use")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
