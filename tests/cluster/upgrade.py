"""The next version comes and goes while a crowd buys.

Next is this tree with the changes of dockerfiles/next: other scripts in Redis, the next schema version in the log, a
column more in the ledger. So the older one is what a user has today, both run on the same engines side by side, and
no history is needed; what the next one changes is what docs/upgrade.md lets a version change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.night import Night
from tests.cluster.release import Release, Values
from tests.cluster.test_operator import elsewhere

SEEN = """
import asyncio, json, sys
import sqlalchemy as sa
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.witnesses import reading
async def main(sale):
    settings = Settings.from_env()
    store = await Store.open(settings)
    async with reading(settings.ledger_url) as ask:
        rows = await ask("SELECT id, channel FROM orders WHERE sale = :sale", sale=sale)
    pairs = [(await store.execute("HGET", store.key(sale, f"order:{id}"), "channel"), kept) for id, kept in rows]
    await store.close()
    print(json.dumps({
        "placed and settled by this version": sum(not placed and not kept for placed, kept in pairs),
        "placed and settled by the next": sum(bool(placed and kept) for placed, kept in pairs),
        "placed by the next, settled by this one": sum(bool(placed and not kept) for placed, kept in pairs),
    }))
asyncio.run(main(sys.argv[1]))
"""


@contextmanager
def beside(box: Release, database: str, **more: object) -> Iterator[tuple[Release, Values]]:
    """A release of this version in a namespace of its own, on the engines of another one."""
    with box.cluster.namespace() as namespace:
        release = Release(box.cluster, namespace)
        two: Values = {"replicas": 2, "podDisruptionBudget": {"enabled": False}}
        values = elsewhere(box, namespace, database) | {"app": two, "settle": two, "admin": {"enabled": True}} | more
        release.install(values)
        try:
            yield release, values
        finally:
            release.uninstall("--wait", "--timeout=60s")


def there_and_back(night: Night, values: Values) -> None:
    """`helm upgrade` of every part to the next version, and `helm rollback`."""
    repository, _, tag = night.cluster.image("next").rpartition(":")
    night.mark("helm upgrade")
    night.release.upgrade({**values, "image": {"repository": repository, "tag": tag}})
    night.mark("helm rollback")
    night.release.rollback()
    night.mark("this version is back")


def versions(night: Night) -> dict[str, int]:
    """Whose orders they were: a pod of this version in front of the tables of the next reads them all the same."""
    found: dict[str, int] = json.loads(night.release.execute("settle", SEEN, night.name))
    return found
