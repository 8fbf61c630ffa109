"""Makes the dashboards' JSON: `python chart/dashboards/generate.py [--check]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from controller import controller
from glance import glance
from settling import settling
from sre import sre

HERE = Path(__file__).parent


def made() -> dict[str, str]:
    """File name and text of each."""
    boards = (glance(), sre(), controller(), settling())
    return {f"{board.uid}.json": json.dumps(board, cls=JSONEncoder, indent=1) + "\n" for board in boards}


def main() -> int:
    texts = made()
    present = {file.name: file.read_text() for file in HERE.glob("*.json")}
    stale = [name for name in texts | present if texts.get(name) != present.get(name)]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"chart/dashboards/{name} is not what the program says: make generate", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        if name in texts:
            (HERE / name).write_text(texts[name])
        else:
            (HERE / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
