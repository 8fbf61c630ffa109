"""Makes README.md and values.schema.json from values.yaml and its comments: `python3 chart/generate.py [--check]`.

A comment above a value says what it is for. Lines of it that begin with `@` are for the schema: `@enum A B` (two blanks
in front: empty as well), `@min N`, `@max N`, `@pattern REGEXP`, `@items KIND` (of a list), `@map string` (any keys),
`@object` (any object, Kubernetes checks it), `@intOrString`. Everything else follows from the default.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent
KEY = re.compile(r"^( *)([A-Za-z0-9]+):")
KINDS: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
WHOLE = {"map", "object", "items", "intOrString"}
"""Rules for values that are described as a whole, not by their members."""


@dataclass
class Value:
    path: tuple[str, ...]
    default: Any
    text: str
    rules: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_group(self) -> bool:
        return isinstance(self.default, dict) and not WHOLE & self.rules.keys()


def read(source: str) -> list[Value]:
    """Every value, groups before their members, in the order of the file."""
    defaults = yaml.safe_load(source)
    return [_value(defaults, path, comment) for path, comment in _keys(source)]


def _keys(source: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    path: list[str] = []
    comment: list[str] = []
    for line in source.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped[1:].removeprefix(" "))
        elif match := KEY.match(line):
            path = [*path[: len(match[1]) // 2], match[2]]
            yield tuple(path), comment
            comment = []
        elif not stripped:
            comment = []


def _value(defaults: Any, path: tuple[str, ...], comment: list[str]) -> Value:
    for key in path:
        defaults = defaults[key]
    rules = dict(line[1:].partition(" ")[::2] for line in comment if line.startswith("@"))
    return Value(path, defaults, " ".join(line for line in comment if not line.startswith("@")), rules)


def shown(values: list[Value]) -> list[Value]:
    """Without the members of those that are described as a whole."""
    whole = [value.path for value in values if WHOLE & value.rules.keys()]
    return [value for value in values if not any(value.path[: len(w)] == w != value.path for w in whole)]


def schema(values: list[Value]) -> dict[str, Any]:
    root = {"$schema": "https://json-schema.org/draft-07/schema#", "title": "Values of the Boxoffice chart", **_group()}
    root["properties"]["global"] = {"type": "object", "description": "Set by charts that this one is a part of."}
    for value in shown(values):
        parent = root
        for key in value.path[:-1]:
            parent = parent["properties"][key]
        parent["properties"][value.path[-1]] = _group(value.text) if value.is_group else _leaf(value)
    return root


def _group(text: str = "") -> dict[str, Any]:
    described = {"description": text} if text else {}
    return {"type": "object", **described, "additionalProperties": False, "properties": {}}


def _leaf(value: Value) -> dict[str, Any]:
    rules = value.rules
    leaf: dict[str, Any] = {"type": KINDS[type(value.default)]}
    if value.text:
        leaf["description"] = value.text
    if "intOrString" in rules:
        leaf["type"] = ["integer", "string"]
    if "map" in rules:
        leaf["additionalProperties"] = {"type": rules["map"]}
    if "items" in rules:
        leaf["items"] = {"type": rules["items"]}
    if "enum" in rules:
        leaf["enum"] = rules["enum"].split(" ")
    if "pattern" in rules:
        leaf["pattern"] = rules["pattern"]
    for rule, word in (("min", "minimum"), ("max", "maximum")):
        if rule in rules:
            leaf[word] = int(rules[rule])
    return leaf


def readme(values: list[Value], chart: dict[str, Any]) -> str:
    lines = [
        f"# The chart of Boxoffice {chart['version']}",
        "",
        chart["description"],
        "",
        "Made from values.yaml by `python3 chart/generate.py`; change that, not this.",
        "",
        *(CHART / "README.head.md").read_text().splitlines(),
        "",
        "## Values",
        "",
        "| value | default | |",
        "|---|---|---|",
    ]
    for value in shown(values):
        default = "" if value.is_group else f"`{json.dumps(value.default)}`".replace("|", "\\|")
        name = f"**{value.name}**" if value.is_group else f"`{value.name}`"
        lines.append(f"| {name} | {default} | {_sentence(value)} |")
    return "\n".join(lines) + "\n"


def _sentence(value: Value) -> str:
    choice = ""
    if "enum" in value.rules:
        choice = "One of " + ", ".join(f"`{one}`" if one else "nothing" for one in value.rules["enum"].split(" ")) + "."
    return f"{value.text} {choice}".strip().replace("|", "\\|")


def main() -> int:
    values = read((CHART / "values.yaml").read_text())
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    made = {
        "values.schema.json": json.dumps(schema(values), indent=2, ensure_ascii=False) + "\n",
        "README.md": readme(values, chart),
    }
    stale = [name for name, text in made.items() if not (CHART / name).exists() or (CHART / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"chart/{name} is not what values.yaml says: python3 chart/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (CHART / name).write_text(made[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
