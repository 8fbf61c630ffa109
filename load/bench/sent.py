"""What the crowd sends, rendered beforehand, and the arguments of the same calls when they are made alone."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from boxoffice import admission, events, holds, payments
from scene import HALL_SALE, LINE_SALE, Buyer, Scene, address

METHOD = "pm_card_visa"


class Requests:
    """Renders what the crowd sends, as bytes of HTTP/1.1."""

    def __init__(self, scene: Scene, cookie: str) -> None:
        self._scene, self._cookie = scene, cookie

    def hello(self) -> bytes:
        return _render("GET", "/")

    def line(self) -> bytes:
        return _render("GET", _path(LINE_SALE, "line"))

    def seat_map(self) -> bytes:
        return _render("GET", _path(HALL_SALE, "seats"))

    def whereabouts(self, buyer: Buyer) -> bytes:
        token = self._scene.keys.ticket(buyer.ticket)
        return _render("GET", _path(LINE_SALE, "places/me"), self._signed(buyer, token))

    def join(self, index: int) -> bytes:
        """From an address of its own, behind a proxy, as a browser does that was never here."""
        return _render("POST", _path(LINE_SALE, "places"), {"X-Forwarded-For": address(index)}, {})

    def hold(self, buyer: Buyer) -> bytes:
        return self._inside(buyer, "holds", {"seats": self._scene.names(buyer)})

    def order(self, buyer: Buyer) -> bytes:
        body = {"hold": buyer.hold, "paymentMethod": METHOD}
        return self._inside(buyer, "orders", body, {"Idempotency-Key": secrets.token_urlsafe(16)})

    def refused(self, buyer: Buyer) -> bytes:
        """Someone in line goes straight for seats."""
        token = self._scene.keys.ticket(buyer.ticket)
        return _render("POST", _path(HALL_SALE, "holds"), self._signed(buyer, token), {"count": 2})

    def _inside(self, buyer: Buyer, what: str, body: dict[str, Any], more: dict[str, str] | None = None) -> bytes:
        assert buyer.admission
        headers = self._signed(buyer, self._scene.keys.admission(buyer.admission)) | (more or {})
        return _render("POST", _path(HALL_SALE, what), headers, body)

    def _signed(self, buyer: Buyer, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}", "Cookie": f"{self._cookie}={buyer.visitor}"}


def _path(sale: str, what: str) -> str:
    return f"/api/v1/sales/{sale}/{what}"


def _render(method: str, path: str, headers: dict[str, str] | None = None, body: dict[str, Any] | None = None) -> bytes:
    content = b"" if body is None else msgspec.json.encode(body)
    fields = {"Host": "127.0.0.1", "User-Agent": "boxoffice-bench", "Accept": "*/*"} | (headers or {})
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


def join_args(indices: Sequence[int]) -> list[list[Any]]:
    """Of lua/join.lua, for that many new buyers."""
    return [[LINE_SALE, secrets.token_bytes(16), address(i), ""] for i in indices]


def hold_args(buyers: Sequence[Buyer]) -> list[list[Any]]:
    return [[HALL_SALE, *_entry(buyer), "named", *buyer.seats] for buyer in buyers]


def order_args(scene: Scene, buyers: Sequence[Buyer]) -> list[list[Any]]:
    """The order's id and its event, then the arguments of lua/pay.lua."""
    return [_order_args(scene, buyer) for buyer in buyers]


def _order_args(scene: Scene, buyer: Buyer) -> list[Any]:
    view, place = scene.view(HALL_SALE), buyer.ticket.place
    order = payments.order_id(view.uid, place, secrets.token_urlsafe(16))
    event = events.OrderPlaced(
        order=order,
        sale=HALL_SALE,
        sale_uid=view.uid.hex(),
        buyer=place.hex(),
        hold=int(buyer.hold),
        fence=int(buyer.hold),
        seats=list(buyer.seats),
        names=scene.names(buyer),
        amount_minor=holds.price(view, list(buyer.seats)),
        currency=view.spec.currency,
        method=METHOD,
        placed_ms=view.now_ms(),
    )
    fingerprint = hashlib.sha256(order.encode()).hexdigest()[:32]
    pay = [*_entry(buyer), order, buyer.hold, fingerprint, METHOD, payments.LEASE_MS, view.spec.currency]
    return [HALL_SALE, order, events.encode(event), *pay]


def _entry(buyer: Buyer) -> tuple[bytes, int, int, int, int]:
    assert buyer.admission
    return admission.entry_args(buyer.admission)
