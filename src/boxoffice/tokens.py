"""The signed tokens of a buyer: the ticket (a place in line) and the admission (a turn inside).

A token is read on every poll, so it is a few packed bytes and one HMAC-SHA256, about four microseconds:

    base64url( length-prefixed fields || first 16 bytes of HMAC-SHA256(key[kid], fields) )

The first field says what kind of token it is, so one can never pass for the other; every field has a length in
front of it, so no two lists of fields have the same bytes. `binding` is a hash of the visitor cookie: a token
that is passed on does not work in another browser. Two keys may be live at once; the newest signs.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from hashlib import sha256
from hmac import compare_digest
from struct import Struct

import msgspec

from boxoffice.errors import BadInput, Unauthorized

MAC_BYTES = 16
MAX_TOKEN_CHARS = 400
TICKET, ADMISSION = b"\1T", b"\1A"

# What follows the kind and the kid; the lengths (B) need no look once the MAC has shown that we wrote them.
_TICKET = Struct(">B16s B16s BQ BQ BQ B16s")
_ADMISSION = Struct(">B16s B16s BQ BQ BQ BQ BQ B16s")
_FROM_URL, _TO_URL = bytes.maketrans(b"-_+/", b"+/  "), bytes.maketrans(b"+/", b"-_")


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
        self._macs = {kid: Mac(secret) for kid, secret in keys.items()}

    def ticket(self, ticket: Ticket) -> str:
        t = ticket
        numbers = (8, t.number, 8, t.epoch, 8, t.issued_ms)
        return self._sign(TICKET, _TICKET.pack(16, t.sale_uid, 16, t.place, *numbers, 16, t.binding))

    def admission(self, admission: Admission) -> str:
        a = admission
        numbers = (8, a.number, 8, a.epoch, 8, a.sid, 8, a.issued_ms, 8, a.until_ms)
        return self._sign(ADMISSION, _ADMISSION.pack(16, a.sale_uid, 16, a.place, *numbers, 16, a.binding))

    def read_ticket(self, token: str) -> Ticket:
        """Raises Unauthorized when it is not a ticket of ours."""
        return Ticket(*_TICKET.unpack(self._open(TICKET, token, _TICKET.size))[1::2])

    def read_admission(self, token: str) -> Admission:
        """Raises Unauthorized when it is not an admission of ours."""
        return Admission(*_ADMISSION.unpack(self._open(ADMISSION, token, _ADMISSION.size))[1::2])

    def _sign(self, kind: bytes, fields: bytes) -> str:
        body = b"%b%c%b%b" % (kind, len(self.kid), self.kid, fields)
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
        if raw[:2] != kind or len(body) != start + size or not compare_digest(mac.of(body), raw[-MAC_BYTES:]):
            raise _bad_token()
        return body[start:]


class Mac:
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
    """Raises ValueError. Base64 is not unique (stray characters, spare bits): only what `_encode` writes counts."""
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError
    text = token.encode().translate(_FROM_URL) + b"=" * (-len(token) % 4)
    raw = a2b_base64(text)
    if b2a_base64(raw, newline=False) != text:
        raise ValueError
    return raw
