"""What `BOXOFFICE_STORE_URL` says: which servers of Redis there are, and how to sign in."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from boxoffice.errors import BadInput
from boxoffice.settings import Settings

SENTINEL_PORT, PORT = 26379, 6379

_URL = re.compile(
    r"redis(?P<tls>s?)(\+(?P<kind>sentinel|cluster))?://"
    r"((?P<user>[^:@/]*)(:(?P<password>[^@/]*))?@)?(?P<hosts>[^@/?#]+)(?P<path>/[^?#]*)?"
)
_HOST = re.compile(r"(?P<host>[^:\[\]\s]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?")


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """How a connection signs in; with `tls` it trusts whom that context trusts, which was made from `ca_file`."""

    user: str = ""
    password: str = ""
    database: int = 0
    tls: ssl.SSLContext | None = None
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class StoreUrl:
    kind: str
    """`sentinel`, `cluster`, or empty: one server."""
    addresses: tuple[Address, ...]
    """Of the server, of the sentinels, or of some nodes of the Cluster."""
    access: Access
    master: str
    """The name that the sentinels know the master by."""

    @classmethod
    def of(cls, settings: Settings) -> StoreUrl:
        """Raises BadInput; never repeats the address, which may have a password in it."""
        match = _URL.fullmatch(settings.store_url)
        if match is None:
            raise _wrong("must look like redis://host:port/0")
        kind = match["kind"] or ""
        addresses = tuple(_address(host, kind) for host in match["hosts"].split(","))
        if not kind and len(addresses) > 1:
            raise _wrong("names several servers: is it redis+sentinel:// or redis+cluster://?")
        master, database = _path(kind, (match["path"] or "").strip("/"))
        tls = _tls(settings.store_ca_file) if match["tls"] else None
        user, password = unquote(match["user"] or ""), unquote(match["password"] or "")
        access = Access(user, password, database, tls, settings.store_ca_file)
        return cls(kind, addresses, access, master)


def _wrong(why: str) -> BadInput:
    return BadInput(f"BOXOFFICE_STORE_URL {why}")


def _address(text: str, kind: str) -> Address:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match["port"] or PORT) < 65536:
        raise _wrong(f"has no host:port in {text!r}")
    return Address(match["host"].strip("[]"), int(match["port"] or (SENTINEL_PORT if kind == "sentinel" else PORT)))


def _path(kind: str, path: str) -> tuple[str, int]:
    """The master's name and the database."""
    master = ""
    if kind == "sentinel":
        master, _, path = path.partition("/")
        if not master:
            raise _wrong("must end in the master's name: redis+sentinel://host:port,host:port/name/0")
    if not re.fullmatch(r"\d{0,4}", path):
        raise _wrong("must end in the number of a database, such as 0")
    if kind == "cluster" and int(path or 0):
        raise _wrong("names a database; a Cluster has none but 0")
    return master, int(path or 0)


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise BadInput(f"BOXOFFICE_STORE_CA_FILE: {ca_file} cannot be read: {error}") from None
