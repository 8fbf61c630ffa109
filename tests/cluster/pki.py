"""The keys of a throw-away cluster: one authority, a certificate for each of its servers and clients."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=30)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key; `name` is that of its files."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def write(self, folder: Path) -> None:
        (folder / f"{self.name}.crt").write_bytes(self.certificate_pem)
        key = folder / f"{self.name}.key"
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)


class Authority:
    """Signs what it is asked for, and writes it into `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _certificate(subject, subject, key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.identity = Identity(name, key, builder.sign(key, hashes.SHA256()))
        self.identity.write(folder)

    def server(self, name: str, *hosts: str, user: str | None = None) -> Identity:
        names = [_host(host) for host in hosts]
        return self._issue(name, user or name, [], ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, name: str, user: str | None = None, groups: tuple[str, ...] = ()) -> Identity:
        return self._issue(name, user or name, list(groups), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def _issue(
        self, name: str, user: str, groups: list[str], usage: x509.ObjectIdentifier, hosts: list[x509.GeneralName]
    ) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        builder = _certificate(subject, self.identity.certificate.subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        identity = Identity(name, key, builder.sign(self.identity.key, hashes.SHA256()))
        identity.write(self.folder)
        return identity

    def kubeconfig(self, client: Identity, server: str) -> Path:
        """Everything in one file: it may be copied elsewhere."""
        name = client.name
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "node",
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": name}}],
            "clusters": [
                {
                    "name": "node",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _base64(self.identity.certificate_pem),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": _base64(client.certificate_pem),
                        "client-key-data": _base64(client.key_pem),
                    },
                }
            ],
        }
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
