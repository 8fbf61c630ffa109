"""Kafka by TLS, with a password or a certificate of our own."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.protocol.api import Request, RequestStruct, Response  # type: ignore[import-untyped]
from aiokafka.protocol.types import (  # type: ignore[import-untyped]
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from boxoffice.errors import LogUnavailable
from boxoffice.kafkaclient import ask, connection
from boxoffice.kafkalog import KafkaLog
from boxoffice.kafkatopics import prepare_topics
from boxoffice.local.kafka import LocalKafka
from boxoffice.ports import free_ports
from boxoffice.settings import Settings
from tests.integration.test_eventlog_contract import everything, member

USER, PASSWORD = "boxoffice", "correct horse"
SHA_512, ROUNDS = 2, 4096
MODULES = "org.apache.kafka.common.security"
LISTENERS = "PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}"

KEY = ec.EllipticCurvePrivateKey


def _certificate(name: str, key: KEY, issuer: str, issuer_key: KEY) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usual = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        .add_extension(usual, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _pem(key: KEY, certificate: x509.Certificate) -> tuple[bytes, bytes]:
    encoding = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()), certificate.public_bytes(encoding)


def write_certificates(folder: Path) -> None:
    """An authority, and a server and a client that it vouches for."""
    authority = ec.generate_private_key(ec.SECP256R1())
    _, found = _pem(authority, _certificate("authority", authority, "authority", authority))
    (folder / "ca.pem").write_bytes(found)
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        secret, certificate = _pem(key, _certificate(name, key, "authority", authority))
        (folder / f"{name}.key").write_bytes(secret)
        (folder / f"{name}.pem").write_bytes(certificate)
        (folder / f"{name}.both").write_bytes(secret + certificate)


@dataclass
class Secured:
    folder: Path
    by_password: str
    by_certificate: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    write_certificates(folder)
    password, certificate = free_ports(2)
    options = {
        "listeners": f"{LISTENERS},PASSWORD://127.0.0.1:{password},CERTIFICATE://127.0.0.1:{certificate}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PASSWORD:SASL_SSL,CERTIFICATE:SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.both"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.certificate.ssl.client.auth": "required",
        "listener.name.password.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.password.plain.sasl.jaas.config": (
            f'{MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.password.scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
    }
    server = LocalKafka(folder / "kafka", options=options)
    await server.start()
    await _make_user(Settings(**server.changes))
    yield Secured(folder, f"kafka://127.0.0.1:{password}", f"kafka://127.0.0.1:{certificate}")
    await server.stop()


class _ScramResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 51, 0
    TEXT = CompactString("utf-8")
    RESULTS = CompactArray(("user", TEXT), ("error_code", Int16), ("error", TEXT), ("tags", TaggedFields))
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", RESULTS), ("tags", TaggedFields))


class _ScramStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = 51, 0, _ScramResponse
    DELETIONS = CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))
    UPSERTIONS = CompactArray(
        ("name", CompactString("utf-8")),
        ("mechanism", Int8),
        ("iterations", Int32),
        ("salt", CompactBytes),
        ("salted_password", CompactBytes),
        ("tags", TaggedFields),
    )
    SCHEMA = Schema(("deletions", DELETIONS), ("upsertions", UPSERTIONS), ("tags", TaggedFields))


class _ScramRequest(Request[_ScramStruct]):  # type: ignore[misc]
    API_KEY = 51

    def build(self, struct: Any) -> Any:
        salt = secrets.token_bytes(16)
        salted = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, ROUNDS)
        return struct([], [(USER, SHA_512, ROUNDS, salt, salted, {})], {})


async def _make_user(settings: Settings) -> None:
    client = AIOKafkaClient(**connection(settings))
    await client.bootstrap()
    [(_, error_code, *_)] = (await ask(client, _ScramRequest())).results
    assert error_code == 0
    await client.close()


def by_password(secured: Secured, mechanism: str, **changes: Any) -> dict[str, Any]:
    usual = {"log_url": secured.by_password, "log_ca_file": f"{secured.folder}/ca.pem", "log_sasl": mechanism}
    return {**usual, "log_user": USER, "log_password": PASSWORD, **changes}


def by_certificate(secured: Secured, **changes: Any) -> dict[str, Any]:
    usual = {"log_url": secured.by_certificate, "log_ca_file": f"{secured.folder}/ca.pem"}
    own = {name: f"{secured.folder}/client.{end}" for name, end in (("log_cert_file", "pem"), ("log_key_file", "key"))}
    return {**usual, **own, **changes}


@pytest.mark.parametrize("way", ["PLAIN", "SCRAM-SHA-512", "certificate"])
async def test_all_goes_by_tls(secured: Secured, settings: Settings, way: str) -> None:
    changes = by_certificate(secured) if way == "certificate" else by_password(secured, way)
    settings = replace(settings, log_partitions=2, log_replicas=1, **changes)
    await prepare_topics(settings)
    log = await KafkaLog.open(settings)
    position = await log.publish(b"key", b"value")
    async with member(log) as alone:
        await alone.until(2)
        [record] = await alone.consumer.fetch(position.partition, 10, 5.0)
    assert [found.value for found in await everything(log)] == [b"value"] == [record.value]
    await log.close()


async def test_the_wrong_ones_stay_outside(secured: Secured, settings: Settings) -> None:
    write_certificates(strangers := secured.folder / "kafka")
    for changes in (
        by_password(secured, "SCRAM-SHA-512", log_password="wrong"),
        by_password(secured, "PLAIN", log_user="nobody"),
        by_password(secured, "PLAIN", log_ca_file=f"{strangers}/ca.pem"),
        by_password(secured, "PLAIN", log_ca_file="system"),
        by_certificate(secured, log_cert_file="", log_key_file=""),
    ):
        with pytest.raises(LogUnavailable):
            await prepare_topics(replace(settings, log_replicas=1, **changes))
