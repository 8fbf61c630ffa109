"""What runs beside settlement goes on whatever one turn of it meets: with it settlement itself would end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from boxoffice import arrears, checkpoints, deadletters, retention, samples
from boxoffice.arrears import Arrears
from boxoffice.checkpoints import Checkpoints
from boxoffice.samples import Samples
from boxoffice.tasks import end

NOTHING: Any = None
LOOPS: dict[str, tuple[Callable[[], Coroutine[Any, Any, None]], Any, str, str]] = {
    "arrears": (Arrears(NOTHING, NOTHING, NOTHING).run, Arrears, "sweep", "SWEEP_SECONDS"),
    "samples": (Samples(NOTHING, NOTHING).run, Samples, "take", "LOOK_SECONDS"),
    "checkpoints": (Checkpoints(NOTHING, NOTHING).run, Checkpoints, "take", "EVERY_SECONDS"),
    "deadletters": (lambda: deadletters.watch_letters(NOTHING), deadletters, "count_open", "LOOK_SECONDS"),
    "retention": (lambda: retention.keep_forever(NOTHING, NOTHING), retention, "keep_records", "EVERY_SECONDS"),
}
MODULES = {each.__name__.rpartition(".")[2]: each for each in (arrears, samples, checkpoints, deadletters, retention)}


@pytest.mark.parametrize("name", LOOPS)
async def test_a_turn_that_fails_is_not_the_last(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, owner, step, pause = LOOPS[name]
    turns, again = 0, asyncio.Event()

    async def fail(*_: object) -> int:
        nonlocal turns
        turns += 1
        if turns == 2:
            again.set()
        raise ValueError("something that nobody foresaw")

    monkeypatch.setattr(owner, step, fail)
    monkeypatch.setattr(MODULES[name], pause, 0.0)
    task = asyncio.create_task(loop())
    waiting = asyncio.create_task(again.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    await end([task])
