"""The seats of a house, as numbers and as names."""

from __future__ import annotations

import hashlib
from bisect import bisect_right

import msgspec

from boxoffice.errors import NotFound
from boxoffice.spec import SeatingSpec, Section, Spec


def size_of(section: Section) -> int:
    return section.capacity or (section.rows or 0) * (section.seats_per_row or 0)


class Block(msgspec.Struct, frozen=True):
    """A section in the numbering of the whole house: seats `first` to `first + size - 1`."""

    name: str
    first: int
    size: int
    rows: int
    """0 for general admission."""
    seats_per_row: int
    price_minor: int


def _offset(section: Block, numbers: list[str]) -> int:
    """Where in the section; negative for what can be no seat, and of the rest only one spelling is right."""
    try:
        if section.rows:
            row, seat = numbers
            return (int(row) - 1) * section.seats_per_row + int(seat) - 1
        (seat,) = numbers
        return int(seat) - 1
    except ValueError:
        return -1


class Seating:
    """Seats as numbers and as names: `stalls/3/12` (section, row, seat), `floor/0017` (general admission)."""

    def __init__(self, spec: SeatingSpec) -> None:
        self.sections: list[Block] = []
        first = 0
        for s in spec.sections:
            self.sections.append(Block(s.name, first, size_of(s), s.rows or 0, s.seats_per_row or 0, s.price_minor))
            first += size_of(s)
        self.total = first
        self._firsts = [section.first for section in self.sections]
        self.by_name = {section.name: section for section in self.sections}
        self.digest = hashlib.sha256(msgspec.json.encode(self.sections)).hexdigest()

    @classmethod
    def of(cls, spec: Spec) -> Seating:
        return cls(spec.seating)

    def section_of(self, index: int) -> Block:
        if not 0 <= index < self.total:
            raise NotFound(f"there is no seat number {index}", code="unknown_seat")
        return self.sections[bisect_right(self._firsts, index) - 1]

    def name(self, index: int) -> str:
        section = self.section_of(index)
        at = index - section.first
        if not section.rows:
            return f"{section.name}/{at + 1:04d}"
        return f"{section.name}/{at // section.seats_per_row + 1}/{at % section.seats_per_row + 1}"

    def index(self, name: str) -> int:
        """Raises NotFound for a name that this house does not have."""
        head, *rest = name.split("/")
        section = self.by_name.get(head)
        if section is not None:
            at = _offset(section, rest)
            if 0 <= at < section.size and self.name(section.first + at) == name:
                return section.first + at
        raise NotFound(f"there is no seat {name!r} here", code="unknown_seat")

    def price(self, index: int) -> int:
        """In minor units."""
        return self.section_of(index).price_minor
