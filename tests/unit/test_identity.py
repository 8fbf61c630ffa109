"""Who a buyer is: a cookie that we set, an account that the shop vouches for, an address that no buyer can choose."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, strategies as st
from jwt.algorithms import OKPAlgorithm

from boxoffice.errors import BadInput, Unauthorized
from boxoffice.identity import Accounts, Places, address_reader, new_visitor, visitor_of
from boxoffice.settings import Settings

VISITOR = "abcDEF012_-xyz789ABC0123"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"visitor={VISITOR}", VISITOR),
        (f"theme=dark; visitor={VISITOR}; lang=ko", VISITOR),
        (f" visitor={VISITOR} ", VISITOR),
        (f"visitor={VISITOR}; visitor={VISITOR[::-1]}", VISITOR),
        ("", None),
        ("visitor", None),
        ("visitor=", None),
        ("visitor=short", None),
        ("visitor=" + "x" * 65, None),
        (f"visitor={VISITOR}\xff", None),
        (f'visitor="{VISITOR}"', None),
        (f"Visitor={VISITOR}", None),
        (f"other={VISITOR}", None),
        (f"xvisitor={VISITOR}", None),
        (f"__Host-visitor={VISITOR}", None),
        (f"visitor=a={VISITOR}", None),
    ],
)
def test_the_visitor_in_a_cookie_header(header: str, found: str | None) -> None:
    assert visitor_of(header.encode("latin-1"), b"visitor") == found


@given(st.binary(max_size=200))
def test_any_cookie_header_is_read(header: bytes) -> None:
    assert visitor_of(header, b"visitor") is None or b"visitor=" in header


def test_a_visitor_that_we_name_is_one_that_we_read() -> None:
    names = {new_visitor() for _ in range(1000)}
    assert len(names) == 1000
    assert all(visitor_of(f"visitor={name}".encode(), b"visitor") == name for name in names)


def test_a_place_is_one_identity_in_one_sale() -> None:
    places = Places(Settings(place_key="ab" * 32))
    mine = places.place(b"u" * 16, b"visitor", "ann")
    assert len(mine) == 16
    assert mine == places.place(b"u" * 16, b"visitor", "ann")
    others = {
        places.place(b"v" * 16, b"visitor", "ann"),
        places.place(b"u" * 16, b"account", "ann"),
        places.place(b"u" * 16, b"visitor", "ben"),
        places.place(b"u" * 16, b"visito", "rann"),
        Places(Settings(place_key="ac" * 32)).place(b"u" * 16, b"visitor", "ann"),
    }
    assert len(others | {mine}) == 6


@pytest.mark.parametrize("key", ["", "xyz", "ab" * 31])
def test_a_place_key_that_is_none_is_refused_at_start(key: str) -> None:
    with pytest.raises(BadInput, match="BOXOFFICE_PLACE_KEY"):
        Places(Settings(place_key=key))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.5", "", "10.0.0.5"),
        ("10.0.0.5", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "1.1.1.1, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.5", "10.0.0.7", "10.0.0.7"),
        ("10.0.0.5", " , 198.51.100.1 ,, ", "198.51.100.1"),
        ("10.0.0.5", "1.1.1.1, rubbish", "10.0.0.5"),
        ("10.0.0.5", "rubbish, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "", "2001:db8:1:2::"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("::ffff:10.0.0.5", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fe80::1%eth0", "", "fe80::"),
        ("", "198.51.100.1", "unknown"),
        ("socket", "", "unknown"),
    ],
)
def test_the_address_that_counts(peer: str, forwarded: str, address: str) -> None:
    assert address_reader("10.0.0.0/8, fd00::/8")(peer, forwarded) == address


def test_without_proxies_nobody_is_believed() -> None:
    assert address_reader("")("127.0.0.1", "198.51.100.1") == "127.0.0.1"


def test_two_addresses_of_one_network_are_one_and_of_two_are_two() -> None:
    read = address_reader("")
    assert read("2001:db8:1:2::1", "") == read("2001:db8:1:2:ffff::9", "")
    assert read("2001:db8:1:2::1", "") != read("2001:db8:1:3::1", "")


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_chain_of_addresses_is_read(peer: str, forwarded: str) -> None:
    assert address_reader("10.0.0.0/8")(peer, forwarded)


ISSUER, AUDIENCE = "https://shop.example", "boxoffice"
KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    jwk = OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "shop-1", "alg": "EdDSA", "use": "sig"}
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk]}))
    return Accounts(Settings(oidc_jwks_file=str(file), oidc_issuer=ISSUER, oidc_audience=AUDIENCE))


def token(key: Ed25519PrivateKey = KEY, kid: str | None = "shop-1", **claims: Any) -> str:
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "account-7", "exp": int(time.time()) + 60}
    given = {name: value for name, value in (good | claims).items() if value is not None}
    return jwt.encode(given, key, "EdDSA", headers={"kid": kid} if kid else {})


def test_an_account_is_the_subject_of_the_shops_token(accounts: Accounts) -> None:
    assert accounts.account(token()) == "account-7"


def _raw(header: bytes, claims: bytes = b"{}") -> str:
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, claims, b"x" * 64))


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=int(time.time()) - 1),
    "another issuer": lambda: token(iss="https://evil.example"),
    "another audience": lambda: token(aud="shop"),
    "no subject": lambda: token(sub=None),
    "no end": lambda: token(exp=None),
    "no issuer": lambda: token(iss=None),
    "no audience": lambda: token(aud=None),
    "a number for a subject": lambda: token(sub=7),
    "another key": lambda: token(STRANGER),
    "an unknown kid": lambda: token(kid="shop-2"),
    "no kid": lambda: token(kid=None),
    "nothing": lambda: "",
    "dots": lambda: "..",
    "rubbish": lambda: "\u00e9.x.y",
    "unsigned": lambda: _raw(b'{"alg":"none","kid":"shop-1"}'),
    "signed with the public key": lambda: _raw(b'{"alg":"HS256","kid":"shop-1"}'),
    "a kid that is a list": lambda: _raw(b'{"alg":"EdDSA","kid":[]}'),
    "a header that is a list": lambda: _raw(b"[]"),
    "a header that is deep": lambda: _raw(b'{"alg":' + b"[" * 5000),
    "claims that are deep": lambda: _raw(b'{"alg":"EdDSA","kid":"shop-1"}', b"[" * 5000),
    "cut short": lambda: token()[:-9],
    "a byte changed": lambda: token().replace(".", ".A", 1),
}


@pytest.mark.parametrize("why", BAD_TOKENS)
def test_an_account_token_that_does_not_hold_is_refused(accounts: Accounts, why: str) -> None:
    with pytest.raises(Unauthorized) as error:
        accounts.account(BAD_TOKENS[why]())
    assert error.value.code == "bad_account"


def test_without_the_shops_keys_no_account_holds() -> None:
    with pytest.raises(Unauthorized):
        Accounts(Settings()).account(token())


def test_keys_without_issuer_or_audience_are_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="BOXOFFICE_OIDC_ISSUER"):
        Accounts(Settings(oidc_jwks_file=str(tmp_path / "x"), oidc_audience=AUDIENCE))
