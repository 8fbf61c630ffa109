"""What a process is told at start: read once from `BOXOFFICE_*` environment variables.

Every field is an environment variable: `store_url` is `BOXOFFICE_STORE_URL`. A field that ends in `_file`
names a file (a mounted secret) whose content is the value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

from boxoffice.errors import BadInput

SECRETS = (
    *("keys", "place_key", "admin_token_sha256", "store_url"),
    *("log_password", "ledger_url", "ledger_reader_url", "gateway_url"),
)
"""Fields whose value may come from the file that `<field>_file` names."""


class SecretMissing(BadInput):
    """A file that a setting names is not there, or not for us to read; a mounted secret may still come."""

    code = "secret_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    instance: str = "boxoffice"
    """Prefixes keys, topics and streams, so that two releases on the same engines never meet."""

    store_url: str = "redis://127.0.0.1:6379/0"
    """Redis or Valkey: the line, the holds, the orders in flight. `redis://` or `rediss://` (TLS) for one server,
    `redis+sentinel://host:port,host:port/master-name/db`, `redis+cluster://host:port,host:port`; with
    `rediss+sentinel://` and `rediss+cluster://` by TLS. User and password go before the first host."""

    store_url_file: str = ""

    store_ca_file: str = ""
    """Certificates that vouch for Redis. Empty: those of the system."""

    store_deadline_seconds: float = 2.0
    """A call to Redis that takes longer fails with 503; its outcome is then unknown and it is repeatable."""

    log_url: str = ""
    """The event log: `kafka://host:port,host:port`. Empty: streams on the Redis of `store_url`."""

    log_partitions: int = 4
    """How many consumers can settle side by side. Fixed when the log is made."""

    log_replicas: int = 3
    """Copies of each Kafka partition; all but one of them must have a record before it counts."""

    log_ca_file: str = ""
    """Certificates that vouch for Kafka: given, the connection is TLS (`system`: those of the system)."""

    log_cert_file: str = ""
    log_key_file: str = ""
    """Our own certificate and its key, where Kafka asks for one."""

    log_sasl: str = ""
    """`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`: sign in with `log_user` and `log_password`."""

    log_user: str = ""
    log_password: str = ""
    log_password_file: str = ""

    publish_seconds: float = 2.0
    """How long a payment waits for the log before it answers `pending`."""

    ledger_url: str = "sqlite+aiosqlite:///boxoffice.db"
    """SQLAlchemy address of the ledger: `mysql+aiomysql://user:password@host:port/database`, or SQLite."""

    ledger_url_file: str = ""

    ledger_reader_url: str = ""
    """The same for what only reads (audit, lists): a user who may only SELECT. Empty: `ledger_url`; for `serve`, which
    reads the orders of sales that are over, no ledger at all."""

    ledger_reader_url_file: str = ""

    ledger_ca_file: str = ""
    """Certificates that vouch for the database: given, the connection is TLS (`system`: those of the system)."""

    ledger_pool: int = 8
    """Connections to the database at most, a process."""

    gateway_url: str = "sqlite+aiosqlite:///gateway.db"
    """Where the simulated payment gateway keeps its own list of charges."""

    gateway_url_file: str = ""

    gateway_latency_ms: int = 20
    """How long the simulated gateway takes for a charge, on average."""

    gateway_decline_per_mille: int = 0
    """Of 1,000 charges, how many the simulated gateway declines by itself (drawn from the order id)."""

    gateway_fault_per_mille: int = 0
    """Of 1,000 charges, how many fail once with a fault of that order alone."""

    keys: str = ""
    """Signing keys, newest first: `kid:hex[,kid:hex]`; two may be live. At least 32 bytes each."""

    keys_file: str = ""
    """A file that holds the value of `keys`, for a mounted secret."""

    place_key: str = ""
    """Hex, 32 bytes or more: makes a place out of an identity. It must stay the same as long as a sale lives."""

    place_key_file: str = ""

    admin_token_sha256: str = ""
    """SHA-256 (hex) of the static bearer token of the admin port. Empty: nobody gets in."""

    admin_token_sha256_file: str = ""

    trusted_proxies: str = ""
    """Comma-separated networks whose `X-Forwarded-For` is believed. Empty: the peer's own address counts."""

    insecure_cookies: bool = False
    """Plain `visitor` cookie instead of `__Host-visitor`; for plain HTTP on one machine only."""

    oidc_jwks_file: str = ""
    """Public keys (JWKS) of the shop's identity provider; without it a buyer is a visitor cookie."""

    oidc_issuer: str = ""
    oidc_audience: str = ""

    log_format: str = ""
    """`json`: a line an event; `console`: for people. Empty: `console` on a terminal, else `json`."""

    access_log_every: int = 1000
    """One of so many answers of `serve` is logged, and every slow one and every 5xx. 0: only those."""

    traces_url: str = ""
    """Where traces go by OTLP/HTTP: `http://collector:4318/v1/traces`. Empty: nowhere, and nothing is traced."""

    traces_ratio: float = 0.01
    """Of buyers, how many are traced: 0.01 is one of a hundred."""

    traces_per_second: int = 50
    """Requests that are traced at most, a process, whatever their callers ask for."""

    host: str = "127.0.0.1"
    """The address to listen on; empty: all of them, of both families."""

    port: int = 8083
    admin_port: int = 8084

    max_connections: int = 20_000
    """One more is told 503. A connection takes some 10 KB, whether or not anything is said on it."""

    drain_seconds: int = 15
    """After SIGTERM: how long open requests and streams may take before the process ends."""

    recovery_wait_seconds: float = 10.0
    """After Redis came back: longer than `publish_seconds` and than a replica may lag."""

    settle_batch: int = 500
    """Orders in one ledger transaction at most."""

    settle_port: int = 8085
    """Where a settle process answers /livez and /metrics. 0: any free port."""

    operator_port: int = 8086
    """Where the operator answers /livez, /readyz and /metrics. 0: any free port."""

    budget_max_active: int = 0
    """Buyers inside of all sales together at most, shared by `spec.admission.weight`. 0: each has its own bound."""

    lease: str = "boxoffice-operator"
    """Name of the Lease that says whose turn it is, when there are two operators."""

    scales: str = ""
    """`app=Deployment/shop-app:2,settle=HorizontalPodAutoscaler/shop-settle:2`: what `spec.prescale` moves, and the
    floor that it has otherwise. Empty: nothing."""

    prometheus_url: str = ""
    """`http://prometheus:9090`: who is asked for the signals that sales name. Empty: nobody."""

    gateway_concurrency: int = 500
    """Charges under way at the same time, a process."""

    @classmethod
    def from_env(cls, env: dict[str, str] | None = None) -> Settings:
        """Reads the environment. Raises BadInput naming the variable that is wrong, SecretMissing naming the file."""
        env = dict(os.environ) if env is None else env
        known = {f"BOXOFFICE_{field.name.upper()}": field for field in fields(cls)}
        values: dict[str, str | int | float | bool] = {}
        for name, field in known.items():
            if (text := env.get(name)) is not None:
                values[field.name] = _parse(name, text, str(field.type))
        for secret in SECRETS:
            if (path := values.get(f"{secret}_file")) and secret not in values:
                values[secret] = _read(f"BOXOFFICE_{secret.upper()}_FILE", Path(str(path)))
        return cls(**values)  # type: ignore[arg-type]


def _read(name: str, file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise SecretMissing(f"{name}: {file} cannot be read: {getattr(error, 'strerror', '') or error}") from None


def _parse(name: str, text: str, kind: str) -> str | int | float | bool:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        raise BadInput(f"{name} must be a number, not {text!r}") from None
    if kind == "bool":
        if text.lower() not in ("true", "false", "1", "0"):
            raise BadInput(f"{name} must be true or false, not {text!r}")
        return text.lower() in ("true", "1")
    return text
