"""A ConcertSale says in one line what is wrong with it, and is read back as it was written."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, strategies as st

from boxoffice.errors import Unprocessable
from boxoffice.sale import MAX_RESOURCE_BYTES, ConcertSale, Metadata, dump_sale, parse_sale, parse_sales, record_of
from boxoffice.spec import AbuseSpec, AdmissionSpec, HoldSpec, LineSpec, SeatingSpec, Section, Signal, Spec, stored_spec
from tests.integration.house import resource

Path = tuple[str | int, ...]


def put(path: Path, value: Any) -> dict[str, Any]:
    """A good resource, but for one field; `...` takes it away."""
    document = copy.deepcopy(resource())
    part: Any = document
    for step in path[:-1]:
        part = part.setdefault(step, {}) if isinstance(part, dict) else part[step]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return document


def refusal(document: Any) -> Unprocessable:
    with pytest.raises(Unprocessable) as error:
        parse_sale(msgspec.json.encode(document))
    assert "\n" not in error.value.detail
    return error.value


SECTION: Path = ("spec", "seating", "sections", 0)
BAD: list[tuple[Path, Any, str]] = [
    (("apiVersion",), "v1", "apiVersion"),
    (("kind",), "Sale", "kind"),
    (("metadata", "name"), "Not A Name", "metadata.name"),
    (("metadata", "name"), "x" * 54, "metadata.name"),
    (("metadata", "name"), "-x", "metadata.name"),
    (("spec", "concert"), "", "spec.concert"),
    (("spec", "title"), "x" * 201, "spec.title"),
    (("spec", "venue"), 7, "spec.venue"),
    (("spec", "timeZone"), "Mars/Olympus", "spec.timeZone"),
    (("spec", "timeZone"), "../../etc/passwd", "spec.timeZone"),
    (("spec", "timeZone"), "", "spec.timeZone"),
    (("spec", "timeZone"), "A\0B", "spec.timeZone"),
    (("spec", "currency"), "won", "spec.currency"),
    (("spec", "opensTime"), "2030-05-01T20:00:00", "spec.opensTime"),
    (("spec", "opensTime"), "tomorrow", "spec.opensTime"),
    (("spec", "opensTime"), 5, "spec.opensTime"),
    (("spec", "opensTime"), "1999-01-01T00:00:00Z", "spec.preQueueTime"),
    (("spec", "opensTime"), "0001-01-01T00:00:00+23:59", "spec.preQueueTime"),
    (("spec", "preQueueTime"), "2999-01-01T00:00:00Z", "spec.preQueueTime"),
    (("spec", "closesTime"), "2000-01-01T00:00:00Z", "spec.closesTime"),
    (("spec", "closesTime"), "9999-12-31T23:59:59-23:59", "spec.opensTime"),
    (("spec", "policy"), "open", "spec.policy"),
    (("spec", "seating", "sections"), [], "spec.seating.sections"),
    (("spec", "seating", "sections"), None, "spec.seating.sections"),
    ((*SECTION, "name"), "Stalls!", "spec.seating.sections[0].name"),
    ((*SECTION, "rows"), 0, "spec.seating.sections[0].rows"),
    ((*SECTION, "rows"), 1.5, "spec.seating.sections[0].rows"),
    ((*SECTION, "rows"), True, "spec.seating.sections[0].rows"),
    ((*SECTION, "rows"), 10**30, "spec.seating.sections[0].rows"),
    ((*SECTION, "seatsPerRow"), "ten", "spec.seating.sections[0].seatsPerRow"),
    ((*SECTION, "seatsPerRow"), ..., "spec.seating.sections[0]"),
    ((*SECTION, "priceMinor"), -1, "spec.seating.sections[0].priceMinor"),
    ((*SECTION, "capacity"), 5, "spec.seating.sections[0]"),
    (("spec", "line", "order"), "Draw", "spec.line.order"),
    (("spec", "line", "maxWaiting"), 0, "spec.line.maxWaiting"),
    (("spec", "line", "claimSeconds"), 4, "spec.line.claimSeconds"),
    (("spec", "line", "onePer"), "Person", "spec.line.onePer"),
    (("spec", "admission", "mode"), "Off", "spec.admission.mode"),
    (("spec", "admission", "perMinute"), -1, "spec.admission.perMinute"),
    (("spec", "admission", "minActive"), 2000, "spec.admission"),
    (("spec", "admission", "maxActive"), 1_000_001, "spec.admission.maxActive"),
    (("spec", "admission", "initialActive"), 1001, "spec.admission.initialActive"),
    (("spec", "admission", "fallbackActive"), 0, "spec.admission.fallbackActive"),
    (("spec", "admission", "sessionSeconds"), 9, "spec.admission.sessionSeconds"),
    (("spec", "admission", "weight"), 0, "spec.admission.weight"),
    (("spec", "hold", "seconds"), 4, "spec.hold.seconds"),
    (("spec", "hold", "maxSeatsPerBuyer"), 11, "spec.hold.maxSeatsPerBuyer"),
    (("spec", "abuse", "joinsPerMinutePerAddress"), 0, "spec.abuse.joinsPerMinutePerAddress"),
    (("spec", "abuse", "proofOfWork"), "Adaptive", "spec.abuse.proofOfWork"),
    (("spec", "abuse", "proofOfWork"), False, "spec.abuse.proofOfWork"),
    (("spec", "signals"), [{"name": "cpu"}], "spec.signals[0]"),
    (("spec", "signals"), [{}] * 21, "spec.signals"),
]


@pytest.mark.parametrize(("path", "value", "field"), BAD, ids=lambda part: str(part)[:40])
def test_every_fields_message_names_the_field(path: Path, value: Any, field: str) -> None:
    error = refusal(put(path, value))
    assert error.code == "invalid_sale"
    assert error.extra["field"].startswith(field)
    assert error.detail.startswith(f"{error.extra['field']}: ")


FIELDS = [
    (where, name)
    for where, kind in [
        (("spec",), Spec),
        (SECTION, Section),
        (("spec", "line"), LineSpec),
        (("spec", "admission"), AdmissionSpec),
        (("spec", "hold"), HoldSpec),
        (("spec", "abuse"), AbuseSpec),
    ]
    for name in kind.__struct_encode_fields__
]


@pytest.mark.parametrize(("where", "name"), FIELDS)
def test_no_field_takes_what_is_none_of_its_kind(where: Path, name: str) -> None:
    error = refusal(put((*where, name), {"a": 1}))
    assert name in error.detail or "contains unknown field" in error.detail


@pytest.mark.parametrize(
    "where", [(), ("spec",), SECTION, ("spec", "line"), ("spec", "admission"), ("spec", "hold"), ("spec", "abuse")]
)
def test_a_field_that_nobody_knows_is_named(where: Path) -> None:
    assert "unknown field colour" in refusal(put((*where, "colour"), 1)).detail


@pytest.mark.parametrize("name", ["concert", "title", "venue", "currency", "opensTime", "closesTime", "seating"])
def test_a_field_that_is_missing_is_named(name: str) -> None:
    assert name in refusal(put(("spec", name), ...)).detail


def test_two_sections_of_one_name_are_refused() -> None:
    section = {"name": "floor", "capacity": 10, "priceMinor": 1}
    assert "different names" in refusal(put(("spec", "seating", "sections"), [section, section])).detail


def test_a_house_too_large_is_refused() -> None:
    sections = [{"name": f"s{n}", "capacity": 150_000, "priceMinor": 1} for n in range(2)]
    assert "200000 seats" in refusal(put(("spec", "seating", "sections"), sections)).detail


NOT_YAML = [
    b"\xff\xfe\x00",
    b"\x00",
    b"a: [",
    b"a: b: c",
    b"\t- x",
    b"[" * 20_000,
    b"a: &x [1]\nb: *x",
    b"a: !!python/object/apply:os.system [ls]",
    b"a: !!timestamp soon",
    b"a: !!bool perhaps",
    b"a: !!int x",
    b'a: !!int ""',
    b"a: !!float x",
    b"a: !!binary \xc3\xa9",
    b"? [1, 2]\n: x",
    b"? {a: 1}\n: x",
    b"a: " + b"9" * 5000,
    b"%YAML 9.9\n---\na: 1",
    b"<<: 1",
    b"<<: [1]",
]


@pytest.mark.parametrize("text", NOT_YAML, ids=lambda text: repr(text[:30]))
def test_what_is_not_yaml_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(Unprocessable) as error:
        parse_sales(text)
    assert "\n" not in error.value.detail


def test_aliases_are_refused() -> None:
    bomb = "a: &a [x, x]\n" + "\n".join(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(Unprocessable, match="aliases") as error:
        parse_sales(bomb.encode())
    assert error.value.code == "invalid_yaml"


@pytest.mark.parametrize("text", [b"", b"---\n---\n", b"# nothing"])
def test_an_empty_file_is_refused(text: bytes) -> None:
    with pytest.raises(Unprocessable, match="no ConcertSale"):
        parse_sales(text)


@pytest.mark.parametrize("text", [b"5", b"[]", b"text", b"{}", b"null: 1", b"1: 2", b"apiVersion: [v1]"])
def test_yaml_that_is_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(Unprocessable):
        parse_sales(text)


def test_a_file_too_large_is_refused_unread() -> None:
    with pytest.raises(Unprocessable, match=str(MAX_RESOURCE_BYTES)):
        parse_sales(b"#" * (MAX_RESOURCE_BYTES + 1))


def test_several_documents_are_several_sales() -> None:
    text = "---\n".join(yaml.safe_dump(resource(name=name)) for name in ("first", "second"))
    assert [sale.metadata.name for sale in parse_sales(text.encode())] == ["first", "second"]
    with pytest.raises(Unprocessable, match="one ConcertSale"):
        parse_sale(text.encode())


def test_times_need_no_quotes() -> None:
    text = yaml.safe_dump(resource()).replace("'", "")
    assert parse_sale(text.encode()).spec.opens_time.tzinfo is not None


def test_what_kubernetes_adds_is_let_through() -> None:
    document = put(("metadata", "resourceVersion"), "17") | {"status": {"conditions": [{"type": "Ready"}]}}
    sale = parse_sale(msgspec.json.encode(document))
    assert "status" not in dump_sale(sale)


LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"], exclude_characters="\ufeff")
"""YAML has no way to write surrogates, and PyYAML does not read back the rarer line ends that it writes."""
TEXT = st.text(LETTERS, min_size=1, max_size=200)
NAME = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
WORDS = st.dictionaries(st.text(LETTERS, max_size=9), st.text(LETTERS, max_size=9), max_size=2)
TIME = st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def sections(draw: st.DrawFn, name: str) -> Section:
    price = draw(st.integers(0, 10**9))
    if draw(st.booleans()):
        return Section(name=name, price_minor=price, capacity=draw(st.integers(1, 1000)))
    rows, seats = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    return Section(name=name, price_minor=price, rows=rows, seats_per_row=seats)


@st.composite
def sales(draw: st.DrawFn) -> ConcertSale:
    opens = draw(TIME)
    names = draw(st.lists(NAME, min_size=1, max_size=5, unique=True))
    low, high = sorted((draw(st.integers(1, 10**6)), draw(st.integers(1, 10**6))))
    spec = Spec(
        concert=draw(TEXT),
        title=draw(TEXT),
        venue=draw(TEXT),
        time_zone=draw(st.sampled_from(["UTC", "Asia/Seoul", "America/New_York"])),
        currency=draw(st.from_regex(r"[A-Z]{3}", fullmatch=True)),
        pre_queue_time=draw(st.none() | st.just(opens - timedelta(minutes=5))),
        opens_time=opens,
        closes_time=opens + timedelta(seconds=draw(st.integers(1, 10**7))),
        policy=draw(st.sampled_from(["Open", "Hold", "Drain", "Closed"])),
        seating=SeatingSpec(sections=[draw(sections(name)) for name in names]),
        line=LineSpec(max_waiting=draw(st.integers(1, 5_000_000)), claim_seconds=draw(st.integers(5, 600))),
        admission=AdmissionSpec(min_active=low, max_active=high, initial_active=low, fallback_active=high),
        signals=[Signal(name="cpu", kind="Utilisation", query=draw(TEXT), setpoint=700)],
        hold=HoldSpec(seconds=draw(st.integers(5, 3600)), max_seats_per_buyer=draw(st.integers(1, 10))),
        abuse=AbuseSpec(proof_of_work=draw(st.sampled_from(["Off", "Always"]))),
    )
    metadata = Metadata(name=draw(NAME.filter(lambda n: n[-1] != "-")), labels=draw(WORDS), annotations=draw(WORDS))
    return ConcertSale(api_version="boxoffice.dev/v1alpha1", kind="ConcertSale", metadata=metadata, spec=spec)


@given(sales())
def test_what_is_written_is_read_back(sale: ConcertSale) -> None:
    assert parse_sale(dump_sale(sale).encode()) == sale
    assert parse_sale(msgspec.json.encode(sale)) == sale


@given(sales())
def test_a_spec_that_a_newer_version_wrote_is_read_without_what_is_new_in_it(sale: ConcertSale) -> None:
    written = msgspec.to_builtins(sale.spec)
    for part in (
        written,
        written["line"],
        written["seating"],
        written["seating"]["sections"][0],
        written["signals"][0],
    ):
        part["newer"] = {"than": ["this"]}
    assert stored_spec(msgspec.json.encode(written)) == sale.spec


@given(sales())
def test_a_record_is_pairs_of_names_and_plain_values(sale: ConcertSale) -> None:
    record = record_of(sale.spec)
    fields = dict(zip(record[::2], record[1::2], strict=True))
    assert int(fields["prequeue_ms"]) <= int(fields["opens_ms"]) < int(fields["closes_ms"])
    assert all(type(value) in (str, int) for value in fields.values())
