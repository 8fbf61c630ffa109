"""Makes the next version out of the one that is installed: an order has a channel, and every place of it knows.

In Redis other scripts, and one field more of an order; in the log the next schema version, with a field that may be
missing; in the ledger one revision and one column more. Ends with an error when this version is no longer one that
these changes fit.
"""

from __future__ import annotations

import compileall
import py_compile
from pathlib import Path

import boxoffice
from boxoffice import events

HERE, HOME = Path(__file__).parent, Path(boxoffice.__file__).parent
VERSION = "\nVERSION = {}\n".format
ADDED = {
    "lua/guard.lua": ("local SALE = KEYS[1]\n", "local CHANNEL = 'web'\n"),
    "lua/pay.lua": ("'reason', ''", ", 'channel', CHANNEL"),
    "events.py": ("    placed_ms: int\n", '    channel: str = ""\n'),
    "payments.py": ("        placed_ms=placed_ms,\n", '        channel="web",\n'),
    "batch.py": ("        placed_ms=event.placed_ms,\n", "        channel=event.channel,\n"),
    "orderrecords.py": ('    why: str = ""\n', '    channel: str = ""\n'),
    "tables.py": (
        '"""Asked for the refund."""\n    why: str = Field(max_length=255)\n',
        "    channel: str = Field(max_length=16)\n",
    ),
}
"""Behind what, and what; by file."""


def change(file: Path, before: str, after: str) -> None:
    source = file.read_text()
    assert source.count(before) == 1, f"{file.name} has {before!r} {source.count(before)} times"
    file.write_text(source.replace(before, after))


def add_revision() -> None:
    """Behind the newest, which has the highest number."""
    versions = HOME / "migrations/versions"
    head = max(file.stem.partition("_")[0] for file in versions.glob("[0-9]*.py"))
    (versions / "next.py").write_text((HERE / "channel.py").read_text().replace('"HEAD"', f'"{head}"'))


for name, (place, added) in ADDED.items():
    change(HOME / name, place, place + added)
change(HOME / "events.py", VERSION(events.VERSION), VERSION(events.VERSION + 1))
add_revision()
hashed = py_compile.PycInvalidationMode.UNCHECKED_HASH
assert compileall.compile_dir(HOME, quiet=1, force=True, invalidation_mode=hashed)
