"""The secrets that an installation makes for itself are such that the processes take them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from boxoffice import cli, keychain
from boxoffice.errors import BadInput
from boxoffice.identity import Places
from boxoffice.kubeapi import Account, open_kube_api
from boxoffice.settings import Settings
from boxoffice.tokens import KeyRing, Ticket


def call(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["boxoffice", *argv])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return int(exit_.value.code or 0)


def test_keys_sign(tmp_path: Path) -> None:
    env = {}
    for name, text in keychain.keys_secret("shop-keys")["stringData"].items():
        (tmp_path / name).write_text(text)
        env[f"BOXOFFICE_{name.replace('-', '_').upper()}_FILE"] = str(tmp_path / name)
    settings = Settings.from_env(env)
    ring, places = KeyRing(settings.keys), Places(settings)
    place = places.place(b"u" * 16, b"visitor", "ann")
    ticket = Ticket(b"u" * 16, place, 7, 1, 1000, b"b" * 16)
    assert ring.read_ticket(ring.ticket(ticket)) == ticket


def test_the_hash_is_the_tokens() -> None:
    data = keychain.admin_secret("shop-admin")["stringData"]
    assert data["token-sha256"] == hashlib.sha256(data["token"].encode()).hexdigest()


def test_no_two_are_the_same() -> None:
    made = [text for _ in range(20) for text in keychain.keys_secret("x")["stringData"].values()]
    assert len(set(made)) == 40


def test_prints_what_kubectl_takes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "secrets", "--keys", "shop-keys") == 0
    keys, admin = yaml.safe_load_all(capsys.readouterr().out)
    assert [keys["metadata"]["name"], admin["metadata"]["name"]] == ["shop-keys", "boxoffice-admin"]
    assert {keys["kind"], admin["kind"]} == {"Secret"}


def test_outside_of_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert call(monkeypatch, "secrets", "--create") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("boxoffice: this works inside a cluster")


async def test_without_an_account_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(BadInput, match="service account"):
        async with open_kube_api(Account.of_this_pod(tmp_path)):
            pass
