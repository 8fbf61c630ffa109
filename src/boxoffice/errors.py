"""Every error a caller can meet, each with its HTTP status and a stable code.

BoxofficeError
├── BadInput            400 bad_input            the request cannot be understood
│   ├── TooLarge        413 body_too_large
│   ├── NotJson         415 not_json
│   └── Unprocessable   422 unprocessable        understood, but cannot be done as asked
├── Unauthorized        401 unauthorized         no token, or one that does not hold
├── Forbidden           403 forbidden            a valid token, for something else
├── NotFound            404 not_found
├── Conflict            409 conflict
├── Gone                410 gone
├── TooEarly            425 too_early
├── TooMany             429 too_many_requests
└── Unavailable         503 unavailable          try again; nothing was lost
    ├── StoreUnavailable    503 store_unavailable     Redis is out of reach, the outcome is unknown
    ├── Recovering          503 recovering            Redis lost its memory; it is being rebuilt
    ├── LogUnavailable      503 log_unavailable       the event log did not take the record in time
    ├── LedgerUnavailable   503 ledger_unavailable    the database is out of reach, the outcome is unknown
    │   └── LedgerBusy      503 ledger_busy           others were in the way; nothing was written
    ├── GatewayUnavailable  503 gateway_unavailable   the payment gateway is out of reach
    └── ClusterUnavailable  503 cluster_unavailable   the Kubernetes API did not do what it was asked
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

PROBLEM_TYPE = "https://boxoffice.dev/problems/"


def told(error: Exception) -> str:
    """What somebody else's error says; many a timeout says nothing, then its name."""
    return str(error) or type(error).__name__


class BoxofficeError(Exception):
    """The root: carries what a problem document (RFC 9457) needs.

    `retry_after` is in whole seconds; `extra` becomes members of the problem document.
    """

    status = 500
    code = "internal"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.retry_after = retry_after
        self.extra = extra

    def problem(self) -> bytes:
        """The body of `application/problem+json`."""
        return msgspec.json.encode(
            {
                "type": PROBLEM_TYPE + self.code,
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
                **self.extra,
            }
        )


class BadInput(BoxofficeError):
    status, code = 400, "bad_input"


class TooLarge(BadInput):
    status, code = 413, "body_too_large"


class NotJson(BadInput):
    status, code = 415, "not_json"


class Unprocessable(BadInput):
    status, code = 422, "unprocessable"


class Unauthorized(BoxofficeError):
    status, code = 401, "unauthorized"


class Forbidden(BoxofficeError):
    status, code = 403, "forbidden"


class NotFound(BoxofficeError):
    status, code = 404, "not_found"


class Conflict(BoxofficeError):
    status, code = 409, "conflict"


class Gone(BoxofficeError):
    status, code = 410, "gone"


class TooEarly(BoxofficeError):
    status, code = 425, "too_early"


class TooMany(BoxofficeError):
    status, code = 429, "too_many_requests"


class Unavailable(BoxofficeError):
    status, code = 503, "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int | None = 2, **extra: Any) -> None:
        super().__init__(detail, code=code, retry_after=retry_after, **extra)


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class Recovering(Unavailable):
    code = "recovering"


class LogUnavailable(Unavailable):
    code = "log_unavailable"


class LedgerUnavailable(Unavailable):
    code = "ledger_unavailable"


class LedgerBusy(LedgerUnavailable):
    code = "ledger_busy"


class GatewayUnavailable(Unavailable):
    code = "gateway_unavailable"


class ClusterUnavailable(Unavailable):
    code = "cluster_unavailable"
