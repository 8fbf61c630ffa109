"""The real scripts on a real Valkey, on a clock that the test turns: one line of the guard reads it from a key."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import redis

from boxoffice.embedded import EmbeddedStore
from boxoffice.sale import parse_sale, record_of
from boxoffice.seating import Seating
from boxoffice.store import load_scripts
from tests.integration.house import resource

GUARD = b"local SALE = KEYS[1]"
REAL_CLOCK = b"local time = redis.call('TIME')"
OUR_CLOCK = b"""local ms = tonumber(redis.call('GET', KEYS[1] .. '.clock'))
local time = { math.floor(ms / 1000), ms % 1000 * 1000 }"""
EXPIRY, LATE = b"'PX', math.ceil(after - NOW)", b"'PX', 3600000"
"""What a limiter keeps must not run out by the real clock."""
TIMES = {
    "preQueueTime": "2030-05-01T19:55:00Z",
    "opensTime": "2030-05-01T20:00:00Z",
    "closesTime": "2030-05-01T22:00:00Z",
}
HASHES = ("sale", "session", "owner", "count", "mine", "busy")
SORTED = ("line", "sessions", "door")
READ_HOLDS = """local flat = redis.call('HGETALL', KEYS[1])
for i = 2, #flat, 2 do flat[i] = cjson.encode(cmsgpack.unpack(flat[i])) end
return flat"""


def scripts() -> dict[str, bytes]:
    guarded = {name: source for name, source in load_scripts().items() if GUARD in source}
    assert all(source.count(b"'TIME'") == 1 for source in guarded.values()), "a second clock decides"
    assert all(REAL_CLOCK in source and EXPIRY in source for source in guarded.values())
    return {name: source.replace(REAL_CLOCK, OUR_CLOCK).replace(EXPIRY, LATE) for name, source in guarded.items()}


class Workshop:
    """A connection with the scripts loaded; gives out sales that nobody else has."""

    def __init__(self, client: Any) -> None:
        self.redis = client
        self.run_id = client.info("server")["run_id"]
        self.digests = {name: client.script_load(source) for name, source in scripts().items()}
        self.instance = f"m{secrets.token_hex(4)}"
        self._names = itertools.count()

    def sale(self, **spec: Any) -> Clockwork:
        return Clockwork(self, f"sale{next(self._names)}", spec)


@contextmanager
def open_workshop(server: EmbeddedStore) -> Iterator[Workshop]:
    with redis.Redis.from_url(server.url) as client:
        workshop = Workshop(client)
        yield workshop
        keys = list(client.scan_iter(match=f"{{{workshop.instance}:*", count=1000))
        for start in range(0, len(keys), 1000):
            client.unlink(*keys[start : start + 1000])


class Clockwork:
    """One sale, and its time in Unix ms."""

    def __init__(self, workshop: Workshop, name: str, spec: dict[str, Any]) -> None:
        self.redis = workshop.redis
        self._workshop = workshop
        self._prefix = f"{{{workshop.instance}:{name}}}:"
        sale = parse_sale(msgspec.json.encode(resource(name=name, **TIMES | spec)))
        self.spec, self.seating = sale.spec, Seating.of(sale.spec)
        self.opens_ms = int(sale.spec.opens_time.timestamp() * 1000)
        self.now = self.opens_ms - 500
        self._seen: dict[str, Any] = {}
        identity = ("", secrets.token_hex(16), self.seating.digest, self.seating.total, b"{}", 0)
        target = sale.spec.admission.initial_active
        assert self.call("apply", *identity, target, *record_of(sale.spec)) == [b"ok", 1]

    def key(self, name: str) -> str:
        return self._prefix + name

    def call(self, script: str, *args: Any) -> list[Any]:
        reply: list[Any] = self._at_once(script, args, self.now)[-1]
        return reply

    def _at_once(self, script: str, args: tuple[Any, ...], ms: int) -> list[Any]:
        """Turns the clock and calls, in one round trip."""
        self.now, self._seen = ms, {}
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.set(self.key("sale.clock"), ms)
            pipe.evalsha(self._workshop.digests[script], 1, self.key("sale"), self._workshop.run_id, *args)
            replies: list[Any] = pipe.execute()
        return replies

    def set_target(self, buyers: int) -> None:
        """How many should be inside; as the operator writes it."""
        self._seen = {}
        self.redis.hset(self.key("sale"), "target", buyers)

    def pass_time(self, ms: int, step: int = 1000) -> dict[str, Any]:
        """Beats on the way, so that no clock of the sale stops; gives the last snapshot."""
        end = self.now + ms
        while True:
            at = min(end, self.now + step)
            flat = self._at_once("tick", ("0", "0", "0-0", 0, 0, 0, 0), at)[-1][1]
            if at == end:
                return {name.decode(): _number(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}

    def _read(self) -> dict[str, Any]:
        """All that a test looks at, in one round trip, until something is called again."""
        if not self._seen:
            with self.redis.pipeline(transaction=False) as pipe:
                for name in HASHES:
                    pipe.hgetall(self.key(name))
                for name in SORTED:
                    pipe.zrange(self.key(name), 0, -1, withscores=True)
                pipe.smembers(self.key("overstay"))
                pipe.get(self.key("map"))
                pipe.eval(READ_HOLDS, 1, self.key("holds"))
                self._seen = dict(zip((*HASHES, *SORTED, "overstay", "map", "holds"), pipe.execute(), strict=True))
        return self._seen

    def field(self, name: str) -> int:
        return int(float(self._read()["sale"][name.encode()]))

    def hash(self, name: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self._read()[name]
        return found

    def scores(self, name: str) -> dict[bytes, int]:
        return {member: int(score) for member, score in self._read()[name]}

    def overstay(self) -> set[bytes]:
        found: set[bytes] = self._read()["overstay"]
        return found

    def holds(self) -> dict[str, dict[str, Any]]:
        flat = self._read()["holds"]
        return {id.decode(): json.loads(hold.decode("latin-1")) for id, hold in zip(flat[::2], flat[1::2], strict=True)}

    def states(self) -> bytes:
        """One byte a seat, from the 2-bit map."""
        bits = "".join(f"{byte:08b}" for byte in self._read()["map"])
        return bytes(int(bits[2 * i : 2 * i + 2], 2) for i in range(self.seating.total))


def _number(value: Any) -> Any:
    text = value.decode() if isinstance(value, bytes) else value
    try:
        return int(text)
    except ValueError:
        return text
