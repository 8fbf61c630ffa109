"""The signed tokens of a buyer: the ticket (a place in line) and the admission (a turn inside).

A token is read on every poll, so it is a few packed bytes and one HMAC-SHA256, about four microseconds:

    base64url( length-prefixed fields || first 16 bytes of HMAC-SHA256(key[kid], fields) )

The first field says what kind of token it is, so one can never pass for the other; every field has a length in
front of it, so no two lists of fields have the same bytes. `binding` is a hash of the visitor cookie: a token
that is passed on does not work in another browser. Two keys may be live at once; the newest signs.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64, b2a_base64
from hashlib import sha256
from struct import Struct

import msgspec

from boxoffice.errors import BadInput, Unauthorized

MAC_BYTES = 16
MAX_TOKEN_CHARS = 400
TICKET, ADMISSION = b"T", b"A"

# What follows the kind and the kid; the lengths (x) need no look once the MAC has shown that we wrote them.
_TICKET_FIELDS = Struct(">x16s x16s xQ xQ xQ x16s")
_ADMISSION_FIELDS = Struct(">x16s x16s xQ xQ xQ xQ xQ x16s")
_FROM_URL, _TO_URL = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A place in the line of one opening (epoch) of one sale. Times in Unix ms of the Redis server."""

    sale_uid: bytes
    place: bytes
    number: int
    epoch: int
    issued_ms: int
    binding: bytes


class Admission(msgspec.Struct, frozen=True, gc=False):
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
        keys = dict(_parse_key(part) for part in text.split(",") if part.strip())
        if not keys:
            raise BadInput("BOXOFFICE_KEYS is empty: give at least one kid:hex pair of 32 bytes or more")
        self.kid, self.secret = next(iter(keys.items()))
        self._macs = {kid: _Mac(secret) for kid, secret in keys.items()}

    def ticket(self, ticket: Ticket) -> str:
        t = ticket
        return self._sign(TICKET, t.sale_uid, t.place, _n(t.number), _n(t.epoch), _n(t.issued_ms), t.binding)

    def admission(self, admission: Admission) -> str:
        a = admission
        numbers = (_n(a.number), _n(a.epoch), _n(a.sid), _n(a.issued_ms), _n(a.until_ms))
        return self._sign(ADMISSION, a.sale_uid, a.place, *numbers, a.binding)

    def read_ticket(self, token: str) -> Ticket:
        """Raises Unauthorized when it is not a ticket of ours."""
        return Ticket(*_TICKET_FIELDS.unpack(self._open(TICKET, token, _TICKET_FIELDS.size)))

    def read_admission(self, token: str) -> Admission:
        """Raises Unauthorized when it is not an admission of ours."""
        return Admission(*_ADMISSION_FIELDS.unpack(self._open(ADMISSION, token, _ADMISSION_FIELDS.size)))

    def _sign(self, kind: bytes, *fields: bytes) -> str:
        body = b"".join([b"%c%b" % (len(field), field) for field in (kind, self.kid, *fields)])
        return _encode(body + self._macs[self.kid].of(body))

    def _open(self, kind: bytes, token: str, size: int) -> bytes:
        """The fields behind the kid, `size` bytes, of a token that we signed."""
        try:
            raw = _decode(token)
            start = 3 + raw[2]
            mac = self._macs[raw[3:start]]
        except (ValueError, KeyError, IndexError):
            raise _bad_token() from None
        body = raw[:-MAC_BYTES]
        if raw[:2] != b"\1" + kind or len(body) != start + size:
            raise _bad_token()
        # Base64 is not unique (stray characters, spare bits); only the very text that we gave out counts.
        if not hmac.compare_digest(mac.of(body), raw[-MAC_BYTES:]) or _encode(raw) != token:
            raise _bad_token()
        return body[start:]


class _Mac:
    """HMAC-SHA256 with both pads hashed beforehand: half the time of `hmac.digest` on so few bytes."""

    def __init__(self, secret: bytes) -> None:
        block = (secret if len(secret) <= 64 else sha256(secret).digest()).ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, body: bytes) -> bytes:
        """The first MAC_BYTES of it."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()[:MAC_BYTES]


def binding(visitor: str) -> bytes:
    """What ties a token to a visitor cookie, 16 bytes."""
    return sha256(visitor.encode()).digest()[:16]


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
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def _decode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError
    return a2b_base64(token.encode("ascii").translate(_FROM_URL) + b"==")


def _n(number: int) -> bytes:
    return number.to_bytes(8, "big")
