"""The page stands alone, shows what it was given, and says it in words too."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, strategies as st

from boxoffice.aftermath import Deed
from boxoffice.plots import Plot, Series, bars, lines, nice_step
from boxoffice.reckoning import reckon
from boxoffice.reportpage import page, table
from boxoffice.reportwords import duration
from tests.unit.test_reckoning import OPENED, night

NOW = OPENED + 25_000


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.mark.parametrize("samples", [[], night().samples[:1], night().samples], ids=["none", "one", "a night"])
def test_stands_alone(samples: list[object]) -> None:
    reader = read(page(reckon(night(samples=samples), NOW)))
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name in ("src", "href", "style") or name.startswith("on")]
    assert ("http-equiv", "Content-Security-Policy") in reader.attributes


def test_every_plot_says_what_it_shows() -> None:
    text = page(reckon(night(), NOW))
    plots = re.findall(r'<svg viewBox="0 0 900.*?</svg>', text, re.DOTALL)
    assert len(plots) == 5
    for plot in plots:
        root = ElementTree.fromstring(plot)
        title, says = root[0], root[1]
        assert (title.tag, says.tag) == ("title", "desc")
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], says.attrib["id"]]
        assert title.text
        assert says.text
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))


def test_what_people_wrote_is_text() -> None:
    deeds = [Deed(OPENED + 12_000, "<b>me</b>", "hold", "\"><script>alert('1')</script>")]
    text = page(reckon(night(deeds=deeds), NOW))
    assert "<script" not in text
    assert text.count("&lt;b&gt;me&lt;/b&gt;") == 1 + 4, "in the table, and at its mark in every plot over time"


def test_marks_are_where_something_happened() -> None:
    """Of deeds those during the sale; recoveries and silences too."""
    deeds = [Deed(OPENED - 99_000, "me", "apply", ""), Deed(OPENED + 12_000, "me", "hold", "slow")]
    samples = night().samples
    text = page(reckon(night(deeds=deeds, samples=samples), OPENED + 20_000 + 60_000))
    assert text.count('class="mark act"') == 4
    assert text.count('class="silence"') == 4
    assert 'class="mark fault"' not in text


@given(st.lists(st.tuples(st.floats(0, 1e10), st.floats(0, 1e9)), max_size=30))
def test_every_line_stays_in_its_frame(points: list[tuple[float, float]]) -> None:
    plot = Plot(name="a", title="b & c", says="d < e", series=[Series("f", points)], x_text=str)
    text = lines(plot)
    assert bool(text) == bool(points)
    if text:
        [line] = [e for e in ElementTree.fromstring(text) if e.tag == "polyline"]
        drawn = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert all(64 <= x <= 888 and 26 <= y <= 232 for x, y in drawn)


@given(st.floats(0, 1e12))
def test_steps_are_round_and_few(most: float) -> None:
    step = nice_step(most)
    assert step >= 1
    assert str(f"{step:.0f}").rstrip("0") in ("1", "2", "5")
    assert most / step <= 4 + 1e-9


def test_no_bars_without_counts() -> None:
    assert bars("a", "b", "c", [], str) == ""
    assert table("nothing", ("A",), []) == '<p class="soft">None.</p>'


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (4.25, "4.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3900.4, "1 h 5 min"),
    ],
)
def test_durations_in_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said
