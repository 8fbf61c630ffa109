"""The signed tokens of a buyer: the ticket (a place in line) and the admission (a turn inside).

A token is read on every poll, so it is a few packed bytes and one HMAC-SHA256, about ten microseconds:

    base64url( length-prefixed fields || first 16 bytes of HMAC-SHA256(key[kid], fields) )

The first field says what kind of token it is, so one can never pass for the other; every field has a length in
front of it, so no two lists of fields have the same bytes. `binding` is a hash of the visitor cookie: a token
that is passed on does not work in another browser. Two keys may be live at once; the newest signs.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from boxoffice.errors import BadInput, Unauthorized

MAC_BYTES = 16
MAX_TOKEN_CHARS = 400
TICKET, ADMISSION = b"T", b"A"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the line of one opening (epoch) of one sale. Times in Unix ms of the Redis server."""

    sale_uid: bytes
    place: bytes
    number: int
    epoch: int
    issued_ms: int
    binding: bytes


@dataclass(frozen=True, slots=True)
class Admission:
    """A turn inside: good while `sid` is the newest session of the place."""

    sale_uid: bytes
    place: bytes
    number: int
    epoch: int
    sid: int
    issued_ms: int
    until_ms: int
    binding: bytes


class KeyRing:
    """Signs with the newest key, accepts any live one. `text` is `kid:hex[,kid:hex]`, newest first."""

    def __init__(self, text: str) -> None:
        self.keys: Mapping[bytes, bytes] = dict(_parse_key(part) for part in text.split(",") if part.strip())
        if not self.keys:
            raise BadInput("BOXOFFICE_KEYS is empty: give at least one kid:hex pair of 32 bytes or more")
        self.kid, self.secret = next(iter(self.keys.items()))

    def ticket(self, ticket: Ticket) -> str:
        t = ticket
        return self._sign(TICKET, t.sale_uid, t.place, _n(t.number), _n(t.epoch), _n(t.issued_ms), t.binding)

    def admission(self, admission: Admission) -> str:
        a = admission
        numbers = (_n(a.number), _n(a.epoch), _n(a.sid), _n(a.issued_ms), _n(a.until_ms))
        return self._sign(ADMISSION, a.sale_uid, a.place, *numbers, a.binding)

    def read_ticket(self, token: str) -> Ticket:
        """Raises Unauthorized when it is not a ticket of ours."""
        f = self._open(TICKET, token, 8)
        return Ticket(f[2], f[3], _i(f[4]), _i(f[5]), _i(f[6]), f[7])

    def read_admission(self, token: str) -> Admission:
        """Raises Unauthorized when it is not an admission of ours."""
        f = self._open(ADMISSION, token, 10)
        return Admission(f[2], f[3], _i(f[4]), _i(f[5]), _i(f[6]), _i(f[7]), _i(f[8]), f[9])

    def _sign(self, kind: bytes, *fields: bytes) -> str:
        body = b"".join(bytes((len(field),)) + field for field in (kind, self.kid, *fields))
        return _encode(body + _mac(self.secret, body))

    def _open(self, kind: bytes, token: str, count: int) -> list[bytes]:
        try:
            if len(token) > MAX_TOKEN_CHARS:
                raise ValueError
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
            fields = _split(body)
            if fields[0] != kind or len(fields) != count:
                raise ValueError
            secret = self.keys[fields[1]]
        except (ValueError, KeyError, IndexError):
            raise _bad_token() from None
        # Base64 is not unique (stray characters, spare bits); only the very text that we gave out counts.
        if not hmac.compare_digest(_mac(secret, body), mac) or _encode(raw) != token:
            raise _bad_token()
        return fields


def binding(visitor: str) -> bytes:
    """What ties a token to a visitor cookie, 16 bytes."""
    return hashlib.sha256(visitor.encode()).digest()[:16]


def _bad_token() -> Unauthorized:
    return Unauthorized("this token was not issued here, or not for this; join the line again", code="bad_token")


def _parse_key(part: str) -> tuple[bytes, bytes]:
    kid, _, secret = part.strip().partition(":")
    try:
        key = bytes.fromhex(secret)
    except ValueError:
        key = b""
    if not kid or len(kid) > 16 or len(key) < 32:
        raise BadInput("BOXOFFICE_KEYS must be kid:hex pairs, each key of 32 bytes (64 hex digits) or more")
    return kid.encode(), key


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, body, "sha256")[:MAC_BYTES]


def _n(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _i(field: bytes) -> int:
    if len(field) != 8:
        raise _bad_token()
    return int.from_bytes(field, "big")


def _split(body: bytes) -> list[bytes]:
    fields, at, end = [], 0, len(body)
    while at < end:
        size = body[at]
        at += 1 + size
        if at > end:
            raise ValueError
        fields.append(body[at - size : at])
    return fields
