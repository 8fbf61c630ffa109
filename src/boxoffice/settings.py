"""What a process is told at start: read once from `BOXOFFICE_*` environment variables.

Every field is an environment variable: `store_url` is `BOXOFFICE_STORE_URL`. A field that ends in `_file`
names a file (a mounted secret) whose content is the value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

from boxoffice.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    instance: str = "boxoffice"
    """Prefixes keys, topics and streams, so that two releases on the same engines never meet."""

    store_url: str = "redis://127.0.0.1:6379/0"
    """Redis or Valkey: the line, the holds, the orders in flight."""

    store_deadline_seconds: float = 2.0
    """A call to Redis that takes longer fails with 503; its outcome is then unknown and it is repeatable."""

    log_partitions: int = 4
    """How many consumers can settle side by side. Fixed when the log is made."""

    publish_seconds: float = 2.0
    """How long a payment waits for the log before it answers `pending`."""

    ledger_url: str = "sqlite+aiosqlite:///boxoffice.db"
    """SQLAlchemy address of the ledger (async driver)."""

    gateway_url: str = "sqlite+aiosqlite:///gateway.db"
    """Where the simulated payment gateway keeps its own list of charges."""

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

    trusted_proxies: str = ""
    """Comma-separated networks whose `X-Forwarded-For` is believed. Empty: the peer's own address counts."""

    insecure_cookies: bool = False
    """Plain `visitor` cookie instead of `__Host-visitor`; for plain HTTP on one machine only."""

    oidc_jwks_file: str = ""
    """Public keys (JWKS) of the shop's identity provider; without it a buyer is a visitor cookie."""

    oidc_issuer: str = ""
    oidc_audience: str = ""

    host: str = "127.0.0.1"
    port: int = 8083
    admin_port: int = 8084

    drain_seconds: int = 15
    """After SIGTERM: how long open requests and streams may take before the process ends."""

    recovery_wait_seconds: float = 10.0
    """After Redis came back: longer than `publish_seconds` and than a replica may lag."""

    settle_batch: int = 500
    """Orders in one ledger transaction at most."""

    settle_port: int = 8085
    """Where a settle process answers /livez and /metrics. 0: any free port."""

    gateway_concurrency: int = 100
    """Charges under way at the same time, a process."""

    @classmethod
    def from_env(cls, env: dict[str, str] | None = None) -> Settings:
        """Reads the environment. Raises BadInput naming the variable that is wrong."""
        env = dict(os.environ) if env is None else env
        known = {f"BOXOFFICE_{field.name.upper()}": field for field in fields(cls)}
        values: dict[str, str | int | float | bool] = {}
        for name, field in known.items():
            if (text := env.get(name)) is not None:
                values[field.name] = _parse(name, text, str(field.type))
        for secret in ("keys", "place_key"):
            if (path := values.get(f"{secret}_file")) and secret not in values:
                values[secret] = _read(f"BOXOFFICE_{secret.upper()}_FILE", Path(str(path)))
        return cls(**values)  # type: ignore[arg-type]


def _read(name: str, file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: {file} cannot be read: {error}") from None


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
