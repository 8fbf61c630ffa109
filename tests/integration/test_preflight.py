"""`boxoffice preflight` on real engines, well kept and badly: what is wrong is found, and the mend said."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from boxoffice import sales
from boxoffice.check import Check, Part
from boxoffice.cli import main
from boxoffice.embedded import EmbeddedStore
from boxoffice.eventlog import open_log, prepare_log
from boxoffice.ledger import Ledger
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.mysql import LocalMariaDb, LocalMySql, SqlServer
from boxoffice.local.redis import LocalRedis, LocalSentinel
from boxoffice.migrations import migrate
from boxoffice.preflight import preflight
from boxoffice.settings import Settings
from boxoffice.stack import own_environment
from boxoffice.store import Store
from tests.integration.house import SALE, resource
from tests.integration.pod import PLACE_KEY, lay_out, settings_of
from tests.servers_mysql import own_database, run_sql

NOWHERE = "127.0.0.1:1"


async def looked(settings: Settings, *parts: Part, sale: str | None = None) -> dict[str, Check]:
    return {check.name: check for check in await preflight(settings, sale, parts)}


def is_failed(check: Check, found: str, mend: str) -> None:
    assert check.result == "failed", check
    assert found in check.found
    assert mend in check.mend


async def test_redis_with_replicas_is_well(sentinel: LocalSentinel) -> None:
    found = await looked(settings_of(cast(EmbeddedStore, sentinel)), Part.redis)
    assert {name: check.result for name, check in found.items()} == {"redis": "ok", "redis replicas": "ok"}
    assert found["redis replicas"].found == "2 connected"


async def test_redis_that_would_forget_is_named_with_the_mend(tmp_path: Path) -> None:
    server = LocalRedis(tmp_path / "data", options={"appendonly": "no", "maxmemory-policy": "allkeys-lru"})
    await server.start()
    try:
        checks = await preflight(settings_of(cast(EmbeddedStore, server)), None, [Part.redis])
    finally:
        await server.stop()
    assert [(check.result, check.mend.split(",")[0]) for check in checks] == [
        ("failed", "set maxmemory-policy noeviction"),
        ("failed", "set appendonly yes"),
        ("warning", "a second server with Sentinel"),
    ]


@pytest.fixture
def on_kafka(kafka: LocalKafka, settings: Settings) -> Settings:
    return replace(settings, log_partitions=2, **kafka.changes)


async def test_the_log_is_well_after_the_migration_and_not_before(on_kafka: Settings, store: Store) -> None:
    found = await looked(on_kafka, Part.log)
    is_failed(found["log"], "no topic", "`boxoffice migrate`")
    await prepare_log(on_kafka, store)
    found = await looked(on_kafka, Part.log)
    assert {check.result for check in found.values()} == {"ok"}, found
    assert found["log partitions"].found.startswith("2:")


async def test_one_copy_where_three_are_wanted_is_named_with_the_mend(on_kafka: Settings, store: Store) -> None:
    await prepare_log(on_kafka, store)
    found = await looked(replace(on_kafka, log_replicas=3), Part.log)
    copies = found[f"log copies of {on_kafka.instance}.orders"]
    is_failed(copies, "1 of each partition, 3 are wanted", "kafka-reassign-partitions to 3")


async def test_the_log_must_be_kept_until_a_week_after_the_sale(on_kafka: Settings, store: Store) -> None:
    await prepare_log(on_kafka, store)
    closes = datetime.now(UTC) + timedelta(days=3, minutes=1)
    await lay_out(store, resource(closesTime=closes.isoformat()))
    found = await looked(on_kafka, Part.log, sale=SALE)
    is_failed(found["log retention"], "7.0 days, but 10.0 days are needed", "`boxoffice settle` raises it")
    log = await open_log(on_kafka, store)
    await log.keep(11 * 86_400)
    await log.close()
    assert (await looked(on_kafka, Part.log, sale=SALE))["log retention"].result == "ok"


@asynccontextmanager
async def changed(server: SqlServer, **variables: int | str) -> AsyncIterator[None]:
    """The server is everybody's: what was set is put back."""
    before = [(await run_sql(server, f"SELECT @@{name}"))[0][0][0] for name in variables]
    await run_sql(server, *(f"SET GLOBAL {name} = {value}" for name, value in variables.items()))
    try:
        yield
    finally:
        await run_sql(server, *(f"SET GLOBAL {name} = {was}" for name, was in zip(variables, before, strict=True)))


async def test_mysql_is_well_after_the_migration_and_not_before(mysql: LocalMySql, settings: Settings) -> None:
    async with own_database(mysql, settings) as own:
        found = await looked(own, Part.ledger)
        is_failed(found["ledger tables"], "revision none", "`boxoffice migrate`")
        await migrate(own)
        found = await looked(own, Part.ledger)
        assert {check.result for check in found.values()} == {"ok"}, found
        assert "READ COMMITTED" in found["ledger isolation"].found


async def test_mysql_that_would_forget_is_named_with_the_mend(mysql: LocalMySql, settings: Settings) -> None:
    changes = {"innodb_flush_log_at_trx_commit": 2, "sync_binlog": 0, "max_connections": 47}
    async with own_database(mysql, settings) as own, changed(mysql, **changes):
        found = await looked(own, Part.ledger)
    is_failed(
        found["ledger commits"], "innodb_flush_log_at_trx_commit=2", "SET PERSIST innodb_flush_log_at_trx_commit = 1"
    )
    is_failed(found["ledger binary log"], "sync_binlog=0", "SET PERSIST sync_binlog = 1")
    is_failed(found["ledger connections"], "may open 48", "set max_connections to 68")


async def test_mariadb_without_a_binary_log_is_warned_of(mariadb: LocalMariaDb, settings: Settings) -> None:
    async with own_database(mariadb, settings) as own:
        await migrate(own)
        found = await looked(own, Part.ledger)
    assert {name for name, check in found.items() if check.result != "ok"} == {"ledger binary log"}
    assert found["ledger binary log"].result == "warning"


async def test_what_is_for_trying_out_is_named(settings: Settings, ledger: Ledger) -> None:
    found = await looked(settings, Part.log, Part.ledger, Part.gateway, Part.prometheus)
    warned = {name for name, check in found.items() if check.result == "warning"}
    assert warned == {"log", "ledger", "gateway", "prometheus"}
    assert found["ledger tables"].result == "ok"


@pytest.mark.parametrize(
    ("keys", "place_key", "name", "says"),
    [
        ("", PLACE_KEY, "signing keys", "BOXOFFICE_KEYS is empty"),
        ("k1:5e5e", PLACE_KEY, "signing keys", "32 bytes"),
        ("k1:" + "5e" * 32, "", "place key", "32 bytes"),
        ("k1:" + "5e" * 32, "5E" * 32, "keys", "the place key is a signing key too"),
    ],
)
async def test_keys_that_hold_nothing_shut_are_named(
    settings: Settings, keys: str, place_key: str, name: str, says: str
) -> None:
    found = await looked(replace(settings, keys=keys, place_key=place_key), Part.keys)
    assert [each for each, check in found.items() if check.result != "ok"] == [name]
    is_failed(found[name], says, "`boxoffice secrets`")


async def test_keys_of_their_own_are_well(settings: Settings) -> None:
    found = await looked(replace(settings, place_key=PLACE_KEY), Part.keys)
    assert {name: check.result for name, check in found.items()} == {"signing keys": "ok", "place key": "ok"}


async def test_a_sale_says_its_state_and_when_it_opens(settings: Settings, store: Store, ledger: Ledger) -> None:
    is_failed((await looked(settings, Part.sale, sale=SALE))["sale"], "no sale named", "kubectl apply")
    await lay_out(store, resource(opens_in=1800, seats=40))
    found = await looked(settings, Part.sale, sale=SALE)
    assert {name: check.result for name, check in found.items()} == {"sale": "ok", "clock": "ok"}
    assert found["sale"].found.startswith("prequeue, policy Open, 40 of 40 seats free; opens in 29m")
    await sales.override(store, ledger, SALE, "Hold", "test", "test")
    assert (await looked(settings, Part.sale, sale=SALE))["sale"].result == "warning"


async def test_a_clock_that_is_not_redis_is_named(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lay_out(store, resource())
    ours = time.time
    monkeypatch.setattr("boxoffice.preflight.time.time", lambda: ours() + 5)
    is_failed((await looked(settings, Part.sale, sale=SALE))["clock"], "5.0 s from Redis'", "NTP")


async def test_what_is_out_of_reach_is_said_of_each(settings: Settings) -> None:
    nowhere = replace(
        settings,
        store_url=f"redis://{NOWHERE}/0",
        log_url=f"kafka://{NOWHERE}",
        ledger_url=f"mysql+aiomysql://boxoffice@{NOWHERE}/boxoffice",
        prometheus_url=f"http://{NOWHERE}",
    )
    found = await looked(nowhere, *Part, sale=SALE)
    names = ("redis", "log", "ledger", "prometheus", "sale")
    assert {name: found[name].result for name in names} == dict.fromkeys(names, "failed")


class Prometheus(BaseHTTPRequestHandler):
    """Answers as Prometheus' API does; what a query gives is written in the query."""

    alertmanagers: list[dict[str, str]]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/api/v2/receivers":
            self._send([{"name": "pager"}])
        elif url.path == "/api/v1/alertmanagers":
            self._send({"status": "success", "data": {"activeAlertmanagers": self.alertmanagers}})
        else:
            query = parse_qs(url.query)["query"][0]
            known = query in ANSWERS
            self._send(vector(*ANSWERS[query]) if known else {"status": "error", "error": "parse error"})

    def _send(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200 if "error" not in document else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def vector(*values: tuple[float, str]) -> dict[str, Any]:
    result = [{"metric": {}, "value": [time.time() - age, text]} for age, text in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


ANSWERS: dict[str, list[tuple[float, str]]] = {
    "vector(1)": [(0, "1")],
    "good": [(0, "0.7")],
    "none": [],
    "two": [(0, "1"), (0, "2")],
    "idle": [(0, "NaN")],
    "infinite": [(0, "+Inf")],
    "old": [(3600, "0.7")],
}
"""By query: ages in seconds, and values."""


@pytest.fixture
def prometheus() -> Iterator[tuple[str, type[Prometheus]]]:
    handler = type("Own", (Prometheus,), {"alertmanagers": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


async def test_every_signal_must_be_one_fresh_number(
    settings: Settings, store: Store, prometheus: tuple[str, type[Prometheus]]
) -> None:
    signals = [
        {"name": query, "kind": "Utilisation", "query": query, "setpoint": 700}
        for query in ("good", "none", "two", "idle", "infinite", "old", "bad")
    ]
    await lay_out(store, resource(signals=signals))
    url, _ = prometheus
    found = await looked(replace(settings, prometheus_url=url), Part.prometheus, sale=SALE)
    assert found["prometheus"].result == found["signal good"].result == "ok"
    assert found["signal idle"].result == "warning"
    for query, says in {
        "none": "a vector of 0",
        "two": "a vector of 2",
        "infinite": "+Inf is no number",
        "old": "s old, more than 30 s",
        "bad": "parse error",
    }.items():
        is_failed(found[f"signal {query}"], says, "spec.signals")


async def test_signals_without_prometheus_are_no_signals(settings: Settings, store: Store) -> None:
    signal = {"name": "cpu", "kind": "Utilisation", "query": "good", "setpoint": 700}
    await lay_out(store, resource(signals=[signal]))
    found = await looked(settings, Part.prometheus, sale=SALE)
    is_failed(found["prometheus"], "1 signals wait for it", "BOXOFFICE_PROMETHEUS_URL")


async def test_an_alert_must_reach_somebody(settings: Settings, prometheus: tuple[str, type[Prometheus]]) -> None:
    url, handler = prometheus
    asked = replace(settings, prometheus_url=url)
    assert (await looked(asked, Part.prometheus))["alert route"].result == "warning"
    handler.alertmanagers = [{"url": f"{url}/api/v2/alerts"}]
    route = (await looked(asked, Part.prometheus))["alert route"]
    assert (route.result, route.found) == ("ok", "1 Alertmanager, receivers: pager")
    handler.alertmanagers = [{"url": f"http://{NOWHERE}/api/v2/alerts"}]
    assert "cannot be seen" in (await looked(asked, Part.prometheus))["alert route"].found


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name, value in own_environment(replace(settings, place_key=PLACE_KEY)).items():
        monkeypatch.setenv(name, value)

    def command(*argv: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["boxoffice", *argv])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().out

    return command


def test_the_command_ends_with_1_when_something_is_to_be_mended(run: Run, tmp_path: Path) -> None:
    code, out = run("preflight")
    assert (code, "✗ ledger tables: " in out, out.splitlines()[-1].startswith("not ready: ")) == (1, True, True)
    run("migrate")
    file = tmp_path / "sale.yaml"
    file.write_bytes(msgspec.json.encode(resource(opens_in=600)))
    run("sale", "apply", "-f", str(file))
    code, out = run("preflight", SALE)
    assert (code, out.splitlines()[-1].startswith("ready: 0 to mend")) == (0, True), out


def test_the_command_speaks_json_of_the_parts_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out = run("preflight", "--only", "keys", "--only", "gateway", "-o", "json")
    assert [check["name"] for check in json.loads(out)["checks"]] == ["signing keys", "place key", "gateway"]
    assert code == 0
    monkeypatch.setenv("BOXOFFICE_LEDGER_URL_FILE", "/no/such/file")
    monkeypatch.delenv("BOXOFFICE_LEDGER_URL")
    code, out = run("preflight", "-o", "json")
    [check] = json.loads(out)["checks"]
    assert (code, check["name"], "BOXOFFICE_LEDGER_URL_FILE" in check["found"]) == (1, "settings", True)
