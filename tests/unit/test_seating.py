"""Seats have numbers and names, and one is as good as the other."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from boxoffice.errors import NotFound
from boxoffice.seating import Seating
from boxoffice.spec import SeatingSpec, Section

HOUSE = Seating(
    SeatingSpec(
        sections=[
            Section(name="stalls", price_minor=900, rows=3, seats_per_row=4),
            Section(name="floor", price_minor=500, capacity=20),
            Section(name="box-1", price_minor=2000, rows=1, seats_per_row=1),
        ]
    )
)


@pytest.mark.parametrize(
    ("index", "name", "price"),
    [
        (0, "stalls/1/1", 900),
        (3, "stalls/1/4", 900),
        (4, "stalls/2/1", 900),
        (11, "stalls/3/4", 900),
        (12, "floor/0001", 500),
        (31, "floor/0020", 500),
        (32, "box-1/1/1", 2000),
    ],
)
def test_names_and_prices(index: int, name: str, price: int) -> None:
    assert HOUSE.name(index) == name
    assert HOUSE.index(name) == index
    assert HOUSE.price(index) == price


SECTIONS = st.lists(
    st.builds(lambda rows, seats: (rows, seats), st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=6
)


@given(SECTIONS)
def test_every_seat_has_one_name_and_every_name_one_seat(sizes: list[tuple[int, int]]) -> None:
    """Rows of none: general admission."""
    house = Seating(
        SeatingSpec(
            sections=[
                Section(name=f"s{i}", price_minor=i, rows=rows, seats_per_row=seats)
                if rows
                else Section(name=f"s{i}", price_minor=i, capacity=seats)
                for i, (rows, seats) in enumerate(sizes)
            ]
        )
    )
    names = [house.name(index) for index in range(house.total)]
    assert len(set(names)) == house.total == sum((rows or 1) * seats for rows, seats in sizes)
    assert [house.index(name) for name in names] == list(range(house.total))
    for i, section in enumerate(house.sections):
        assert house.price(section.first) == house.price(section.first + section.size - 1) == i


@pytest.mark.parametrize(
    "name",
    [
        "",
        "stalls",
        "stalls/1",
        "stalls/1/5",
        "stalls/4/1",
        "stalls/0/1",
        "stalls/1/0",
        "stalls/01/1",
        "stalls/+1/1",
        "stalls/1/1/1",
        "stalls/1/1 ",
        " stalls/1/1",
        "stalls//1",
        "stalls/1/\u0661",
        "stalls/9999999/1",
        "floor/1",
        "floor/00001",
        "floor/0000",
        "floor/0021",
        "floor/0001/1",
        "balcony/1/1",
    ],
)
def test_a_name_that_no_seat_has_is_refused(name: str) -> None:
    with pytest.raises(NotFound) as error:
        HOUSE.index(name)
    assert error.value.code == "unknown_seat"


@pytest.mark.parametrize("index", [-1, 33, 10**9])
def test_a_number_that_no_seat_has_is_refused(index: int) -> None:
    with pytest.raises(NotFound):
        HOUSE.name(index)


@given(st.text(max_size=30))
def test_any_text_is_a_seat_or_is_refused(text: str) -> None:
    try:
        assert HOUSE.name(HOUSE.index(text)) == text
    except NotFound:
        return


def test_another_house_has_another_digest() -> None:
    one = Section(name="floor", price_minor=1, capacity=10)
    others = [
        Section(name="floor", price_minor=2, capacity=10),
        Section(name="floor", price_minor=1, capacity=11),
        Section(name="pit", price_minor=1, capacity=10),
        Section(name="floor", price_minor=1, rows=1, seats_per_row=10),
    ]
    digests = {Seating(SeatingSpec(sections=[section])).digest for section in (one, *others)}
    assert len(digests) == 5
    assert Seating(SeatingSpec(sections=[one])).digest in digests
