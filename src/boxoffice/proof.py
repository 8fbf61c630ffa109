"""Proof of work on joining (ALTCHA, version 1 of its protocol): what a crowd of bots has to pay for each place.

The challenge is signed, expires, and belongs to one sale; that a solution is spent once is lua/join.lua's part.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from altcha import v1 as altcha

from boxoffice.errors import Forbidden

MAX_NUMBER = 50_000
"""Hashes for one challenge at most, half of it on average: a tenth of a second on a phone."""
EXPIRES_SECONDS = 600
MAX_PAYLOAD_CHARS = 2048


class Proofs:
    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"boxoffice proof of work", "sha256").hex()

    def challenge(self, sale_uid: bytes) -> dict[str, Any]:
        """A new challenge, as the ALTCHA protocol writes it."""
        options = altcha.ChallengeOptions(
            hmac_key=self._key,
            max_number=MAX_NUMBER,
            expires=datetime.now(UTC) + timedelta(seconds=EXPIRES_SECONDS),
            params={"sale": sale_uid.hex()},
        )
        c = altcha.create_challenge(options)
        return {
            "algorithm": c.algorithm,
            "challenge": c.challenge,
            "salt": c.salt,
            "signature": c.signature,
            "maxnumber": c.max_number,
        }

    def check(self, sale_uid: bytes, payload: str | None) -> str:
        """The digest that may be spent once. Raises Forbidden with a fresh challenge in the problem."""
        if payload is None:
            raise self._required(sale_uid, "solve the challenge first")
        if len(payload) > MAX_PAYLOAD_CHARS:
            raise self._required(sale_uid, "this is not a solution")
        try:
            solved, _ = altcha.verify_solution(payload, self._key, check_expires=True)
            salt = altcha.Payload.from_base64(payload).salt if solved else ""
        except Exception:  # the library lets any malformed payload surface as it likes
            solved, salt = False, ""
        if not solved or parse_qs(salt.partition("?")[2]).get("sale") != [sale_uid.hex()]:
            raise self._required(sale_uid, "this is not a solution of a live challenge for this sale")
        return hashlib.sha256(salt.encode()).hexdigest()[:32]

    def _required(self, sale_uid: bytes, detail: str) -> Forbidden:
        return Forbidden(detail, code="proof_required", challenge=self.challenge(sale_uid))
