"""How we reach Kafka: addresses, TLS and SASL as the settings say, and its errors as ours."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.errors import KafkaConnectionError, KafkaError  # type: ignore[import-untyped]

from boxoffice.errors import BadInput, LogUnavailable, told
from boxoffice.settings import Settings

SCHEME = "kafka://"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
METADATA_MS = 30_000
"""How old our picture of the cluster may be while nothing tells us that it changed."""

BEGIN_SECONDS = 1.0


def connection(settings: Settings) -> dict[str, Any]:
    """What every client of aiokafka is given. Raises BadInput."""
    secured = "SSL" if settings.log_ca_file else "PLAINTEXT"
    given: dict[str, Any] = {
        "bootstrap_servers": _addresses(settings.log_url),
        "client_id": settings.instance,
        "metadata_max_age_ms": METADATA_MS,
        "security_protocol": secured,
    }
    if settings.log_ca_file:
        given["ssl_context"] = _tls(settings)
    if settings.log_sasl:
        given |= _sasl(settings, secured)
    return given


def _addresses(url: str) -> list[str]:
    addresses = url.removeprefix(SCHEME).rstrip("/").split(",")
    if not url.startswith(SCHEME) or not all(host.rpartition(":")[2].isdigit() for host in addresses):
        raise BadInput(f"log_url must be kafka://host:port,host:port, not {url!r}")
    return addresses


def _tls(settings: Settings) -> ssl.SSLContext:
    authorities = None if settings.log_ca_file == "system" else settings.log_ca_file
    try:
        context = ssl.create_default_context(cafile=authorities)
        if settings.log_cert_file:
            context.load_cert_chain(settings.log_cert_file, settings.log_key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"the certificates for the event log cannot be read: {error}") from None
    return context


def _sasl(settings: Settings, secured: str) -> dict[str, Any]:
    if settings.log_sasl not in MECHANISMS:
        raise BadInput(f"log_sasl must be one of {', '.join(MECHANISMS)}, not {settings.log_sasl!r}")
    return {
        "security_protocol": f"SASL_{secured}",
        "sasl_mechanism": settings.log_sasl,
        "sasl_plain_username": settings.log_user,
        "sasl_plain_password": settings.log_password,
    }


@contextmanager
def as_log_unavailable() -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"the event log is out of reach: {told(error)}") from error


async def begun(starting: Coroutine[Any, Any, None]) -> None:
    """Who is cancelled while a client begins waits for it so long: aiokafka forgets the connection that it begins on
    when it is cancelled itself, and leaves it open."""
    task = asyncio.ensure_future(starting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=BEGIN_SECONDS)
        if task.done() and not task.cancelled():
            task.exception()
        raise
    finally:
        task.cancel()


async def ask(client: AIOKafkaClient, request: Any) -> Any:
    """The answer of whichever broker gives one. Raises KafkaError."""
    brokers = [broker.nodeId for broker in client.cluster.brokers()]
    fault = KafkaConnectionError("no broker is known")
    for broker in random.sample(brokers, len(brokers)):
        try:
            return await client.send(broker, request)
        except KafkaError as error:
            fault = error
    raise fault
