"""A bounded memory of what was seen lately."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `most` entries, in two generations: when the newer is full, the older is forgotten as a whole.

    That is half the cost of an order of age, kept entry by entry; what is asked for again stays.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._newer: dict[K, V] = {}
        self._older: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def get(self, key: K) -> V | None:
        value = self._newer.get(key)
        if value is None and (value := self._older.pop(key, None)) is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        if len(self._newer) >= self._half:
            self._newer, self._older = {}, self._newer
        self._newer[key] = value
