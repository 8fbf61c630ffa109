"""Who a buyer is: an account of the shop (OIDC token) or a visitor cookie; and the address they come from.

An identity becomes a place by a keyed hash, so the line holds nothing personal and joining twice gives the same
place without a second index.
"""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from socket import AF_INET, inet_pton
from typing import Any

import jwt

from boxoffice.errors import BadInput, Unauthorized
from boxoffice.settings import Settings
from boxoffice.tokens import Mac

_VISITOR = re.compile(rb"[A-Za-z0-9_-]{16,64}")
_ALGORITHMS = ["EdDSA", "ES256", "RS256"]


def new_visitor() -> str:
    return secrets.token_urlsafe(18)


def visitor_of(cookie_header: bytes, name: bytes) -> str | None:
    """The visitor in a Cookie header; None when there is none, or one that we cannot have set."""
    for part in cookie_header.split(b";"):
        key, _, value = part.strip().partition(b"=")
        if key == name:
            return value.decode() if _VISITOR.fullmatch(value) else None
    return None


class Places:
    """Identity to place: 16 bytes of HMAC-SHA256, another one in every sale."""

    def __init__(self, settings: Settings) -> None:
        try:
            key = bytes.fromhex(settings.place_key)
        except ValueError:
            key = b""
        if len(key) < 32:
            raise BadInput("BOXOFFICE_PLACE_KEY must be 32 bytes (64 hex digits) or more")
        self._mac = Mac(key)

    def place(self, sale_uid: bytes, kind: bytes, identity: str) -> bytes:
        body = b"".join([bytes((len(f) >> 8, len(f) & 255)) + f for f in (sale_uid, kind, identity.encode())])
        return self._mac.of(body)


class Accounts:
    """Reads the shop's OIDC tokens with the public keys of its provider (a mounted JWKS file)."""

    def __init__(self, settings: Settings) -> None:
        self._issuer, self._audience = settings.oidc_issuer, settings.oidc_audience
        self._keys: dict[str, Any] = {}
        if settings.oidc_jwks_file:
            if not (self._issuer and self._audience):
                raise BadInput("BOXOFFICE_OIDC_JWKS_FILE needs BOXOFFICE_OIDC_ISSUER and BOXOFFICE_OIDC_AUDIENCE")
            keys = jwt.PyJWKSet.from_dict(json.loads(Path(settings.oidc_jwks_file).read_text())).keys
            self._keys = {key.key_id or "": key for key in keys}

    def account(self, token: str) -> str:
        """The subject of a valid token. Raises Unauthorized."""
        try:
            key = self._keys[jwt.get_unverified_header(token).get("kid", "")]
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except (jwt.InvalidTokenError, KeyError, ValueError):
            raise Unauthorized("the account token is not valid; sign in again", code="bad_account") from None
        return str(claims["sub"])[:255]


def address_reader(trusted: str) -> Callable[[str, str], str]:
    """A function (peer, X-Forwarded-For) -> the address that limits count: IPv4 /32, IPv6 /64.

    Only what configured proxies say is believed: the right-most address in the chain that is none of them.
    """
    networks = [ipaddress.ip_network(part.strip()) for part in trusted.split(",") if part.strip()]
    ranges = [(int(n.network_address), int(n.netmask)) for n in networks if n.version == 4]

    @lru_cache(maxsize=8192)
    def look(address: str) -> tuple[str | None, bool]:
        """What counts for the limits, if it is an address at all, and whether it is one of our proxies."""
        try:
            number = int.from_bytes(inet_pton(AF_INET, address), "big")  # a crowd's, ten times as quick as below
            return address, any(number & mask == first for first, mask in ranges)
        except (OSError, ValueError):
            pass
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return None, False
        ip = getattr(ip, "ipv4_mapped", None) or ip  # how a socket for both families names IPv4 peers
        return _bucket(ip), any(ip in network for network in networks)

    def read(peer: str, forwarded: str) -> str:
        bucket, proxy = look(peer)
        nearest = bucket or "unknown"
        for hop in reversed(forwarded.split(",") if proxy else ()):
            if hop := hop.strip():
                bucket, proxy = look(hop)
                if not proxy:
                    break
        return bucket or nearest

    return read


def _bucket(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 64), strict=False).network_address)
    return str(ip)
