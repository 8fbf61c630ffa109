"""Settings come from the environment, and one that is wrong is named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from boxoffice.errors import BadInput
from boxoffice.settings import Settings

KINDS = {"str": "text", "int": "7", "float": "0.5", "bool": "true"}


def test_nothing_is_needed() -> None:
    assert Settings.from_env({}) == Settings()


def test_every_field_is_a_variable() -> None:
    env = {f"BOXOFFICE_{field.name.upper()}": KINDS[str(field.type)] for field in fields(Settings)}
    read = Settings.from_env({name: text for name, text in env.items() if not name.endswith("_FILE")})
    values = {"str": "text", "int": 7, "float": 0.5, "bool": True}
    for field in fields(Settings):
        if not field.name.endswith("_file"):
            assert getattr(read, field.name) == values[str(field.type)], field.name


def test_what_is_not_ours_is_let_be() -> None:
    assert Settings.from_env({"PATH": "/bin", "BOXOFFICE_SOMETHING": "1"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BOXOFFICE_PORT", "http"),
        ("BOXOFFICE_PORT", ""),
        ("BOXOFFICE_PORT", "80.5"),
        ("BOXOFFICE_PUBLISH_SECONDS", "two"),
        ("BOXOFFICE_INSECURE_COOKIES", "maybe"),
        ("BOXOFFICE_INSECURE_COOKIES", ""),
    ],
)
def test_a_value_that_is_wrong_is_named(name: str, text: str) -> None:
    with pytest.raises(BadInput, match=name):
        Settings.from_env({name: text})


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False)]
)
def test_yes_and_no(text: str, value: bool) -> None:
    assert Settings.from_env({"BOXOFFICE_INSECURE_COOKIES": text}).insecure_cookies is value


@pytest.mark.parametrize("name", ["keys", "place_key"])
def test_a_secret_may_come_from_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("k1:abcd\n")
    env = {f"BOXOFFICE_{name.upper()}_FILE": str(file)}
    assert getattr(Settings.from_env(env), name) == "k1:abcd"
    env[f"BOXOFFICE_{name.upper()}"] = "given"
    assert getattr(Settings.from_env(env), name) == "given"


@pytest.mark.parametrize("name", ["KEYS_FILE", "PLACE_KEY_FILE"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=f"BOXOFFICE_{name}"):
        Settings.from_env({f"BOXOFFICE_{name}": str(tmp_path / "none")})


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
