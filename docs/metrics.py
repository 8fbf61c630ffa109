"""Makes metrics.md from the code: `python docs/metrics.py [--check]`.

Each process is asked by itself, in an interpreter of its own, for what it would show to Prometheus.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
PROCESSES = {
    "app": "import boxoffice.serving",
    "settle": "import boxoffice.cli, boxoffice.settlement",
    "operator": "import sys; sys.path.insert(0, 'operator'); import main",
}
ASK = """
from types import SimpleNamespace
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

def families():
    collectors = [*REGISTRY._collector_to_names]
    if APP:
        from boxoffice.observe import SaleCollector
        from boxoffice.traffic import Traffic
        collectors += [SaleCollector(SimpleNamespace(views={}, last_beat=0.0)), Traffic()]
    for collector in collectors:
        if isinstance(collector, MetricWrapperBase):
            labels = collector._labelnames or (collector._value if collector._type == "info" else ())
            yield collector._name, collector._type, collector._documentation, labels
        else:
            for family in collector.collect():
                yield family.name, family.type, family.documentation, family._labelnames

print([[*each[:3], [*each[3]]] for each in families() if each[0].startswith("boxoffice")])
"""
HEAD = """\
# Metrics

What Boxoffice tells Prometheus, made from the code by `docs/metrics.py`: change that, not this. The app's pods answer
`/metrics` on port 8083, settlement and operator on 8085. Beside these each process tells `process_*` and `python_*`:
CPU, memory, open files, garbage. Labels are bounded: names of sales and their signals, states, partitions; never a
buyer, a seat or an order.

What has the label `sale` is the same on every pod, counters too: take `max by (namespace, sale)` of it. All else is
each process' own: `sum` it.

| name | type | labels | unit | meaning | process |
|---|---|---|---|---|---|
"""
RULES = """
## Recorded by the rules

The shares that failed or were late, for the alerts; and what dashboards of the system before this one ask for, by its
names.

| name | expression |
|---|---|
"""


def ask(process: str) -> list[list[Any]]:
    code = f"APP = {process == 'app'}\n{PROCESSES[process]}\n{ASK}"
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return list(ast.literal_eval(done.stdout.splitlines()[-1]))


def name_of(name: str, kind: str) -> str:
    """As PromQL knows it."""
    return {"counter": f"{name}_total", "info": f"{name}_info"}.get(kind, name)


def unit_of(name: str) -> str:
    if "_timestamp_seconds" in name:
        return "Unix time, s"
    if "_seconds" in name:
        return "s"
    return "per minute" if name.endswith("_per_minute") else "1"


def table() -> str:
    rows: dict[str, tuple[str, str, str]] = {}
    where: dict[str, list[str]] = {}
    for process in PROCESSES:
        for name, kind, text, labels in ask(process):
            full = name_of(name, kind)
            rows[full] = kind, ", ".join(labels), text.rstrip(".")
            where.setdefault(full, []).append(process)
    return "".join(
        f"| `{name}` | {kind} | {labels} | {unit_of(name)} | {text} | {', '.join(where[name])} |\n"
        for name, (kind, labels, text) in sorted(rows.items())
    )


def recorded() -> str:
    groups = yaml.safe_load((ROOT / "chart" / "rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "record" in rule]
    return "".join(f"| `{rule['record']}` | `{' '.join(rule['expr'].split())}` |\n" for rule in rules)


def main() -> int:
    file, text = ROOT / "docs" / "metrics.md", HEAD + table() + RULES + recorded()
    if file.exists() and file.read_text() == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/metrics.md is not what the code says: python docs/metrics.py", file=sys.stderr)
        return 1
    file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
