"""What bodies are made of: read strictly, written one way."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError, model_validator

from libs.common.money import Money
from libs.common.web.bodies import (
    BusinessDate,
    Code,
    Count,
    DecimalText,
    Description,
    ExternalId,
    Flag,
    Instant,
    Metadata,
    MoneyBody,
    Name,
    Quantity,
    StrictBody,
    WrittenIntervalUnit,
    Zone,
    in_months,
)

GOOD = [
    (DecimalText, "12.5", Decimal("12.5")),
    (DecimalText, "-0.000000000000000001", Decimal("-1E-18")),
    (DecimalText, "99999999999999999999", Decimal("99999999999999999999")),
    (Quantity, "0", Decimal(0)),
    (Instant, "2025-06-01T12:00:00Z", datetime(2025, 6, 1, 12, tzinfo=UTC)),
    (Instant, "2025-06-01t14:00:00.5+02:00", datetime(2025, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
    (Instant, "1900-01-01T00:00:00Z", datetime(1900, 1, 1, tzinfo=UTC)),
    (BusinessDate, "2024-02-29", date(2024, 2, 29)),
    (Zone, "Pacific/Apia", "Pacific/Apia"),
    (Zone, "UTC", "UTC"),
    (Code, "flying-minutes.v2", "flying-minutes.v2"),
    (Name, "Grüße 🚲", "Grüße 🚲"),
    (Description, "one\n\ttwo", "one\n\ttwo"),
    (ExternalId, "crm/4711", "crm/4711"),
    (Metadata, {"a.b": "x"}, {"a.b": "x"}),
    (Count, 5, 5),
    (Flag, True, True),
]
BAD = [
    *(
        (DecimalText, bad)
        for bad in (1, 1.5, True, None, "", "1e3", "NaN", "Infinity", "+1", "01", "1.", ".5")
    ),
    *((DecimalText, bad) for bad in (" 1", "1 ", "1,5", "٣", "1" * 21, "0." + "1" * 19, Decimal("NaN"))),
    *((Quantity, bad) for bad in ("-1", "-0.1")),
    *(
        (Instant, bad)
        for bad in (0, 1717243200, "2025-06-01", "2025-06-01T12:00:00", "2025-06-01T12:00Z", "now")
    ),
    *((Instant, bad) for bad in ("2025-02-30T00:00:00Z", "2025-06-01T23:59:60Z", "1899-12-31T23:59:59Z")),
    *(
        (Instant, bad)
        for bad in ("2200-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2025-06-01T12:00:00+24:00")
    ),
    *((Instant, bad) for bad in (datetime(2025, 1, 1), "٢٠٢٥-06-01T12:00:00Z")),  # noqa: DTZ001
    *(
        (BusinessDate, bad)
        for bad in ("2025-02-29", "20250601", "2025-W01-1", 0, "2025-06-01T00:00:00Z", "1899-12-31")
    ),
    *(
        (Zone, bad)
        for bad in ("", "Mars/Olympus", "localtime", "../../etc/passwd", "europe/zurich", "Factory")
    ),
    *((Code, bad) for bad in ("", "A", "-a", "a-", "a b", "ä", "x" * 65, "a\n")),
    *((Name, bad) for bad in ("", " x", "x ", "a\nb", "a\x00b", "x" * 201, "\u200b\n")),
    *((Description, bad) for bad in ("a\x00b", "x" * 2001)),
    *((ExternalId, bad) for bad in ("", "x" * 256, "a\tb")),
    *((Metadata, bad) for bad in ({"": "x"}, {"a b": "x"}, {"a": "x" * 501}, {"a": 1}, {"a": "\x00"})),
    (Metadata, {f"k{n}": "x" for n in range(51)}),
    *((Count, bad) for bad in (-1, 2**31, "5", 5.0, True)),
    *((Flag, bad) for bad in ("true", 1)),
]


@pytest.mark.parametrize(("kind", "text", "value"), GOOD)
def test_good_values_are_read(kind: Any, text: Any, value: Any) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_bad_values_are_refused(kind: Any, text: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (DecimalText, Decimal("12.500"), '"12.5"'),
        (DecimalText, Decimal("1E+3"), '"1000"'),
        (DecimalText, Decimal("-0.00"), '"0"'),
        (DecimalText, Decimal("100"), '"100"'),
        (Instant, datetime(2025, 6, 1, 12, tzinfo=UTC), '"2025-06-01T12:00:00Z"'),
        (Instant, datetime(2025, 6, 1, 12, 0, 0, 5, tzinfo=UTC), '"2025-06-01T12:00:00.000005Z"'),
        (BusinessDate, date(2025, 6, 1), '"2025-06-01"'),
    ],
)
def test_values_are_written_one_way(kind: Any, value: Any, text: str) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.dump_json(value).decode() == text
    assert adapter.validate_json(text) == value


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.50", "EUR", 1250),
        ("12.5", "EUR", 1250),
        ("-3", "EUR", -300),
        ("100", "JPY", 100),
        ("1.234", "KWD", 1234),
        ("92233720368547758.07", "EUR", 2**63 - 1),
    ],
)
def test_money_is_read_exactly(amount: str, currency: str, minor: int) -> None:
    assert MoneyBody(amount=amount, currency=currency).to_money() == Money(minor, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("1.234", "EUR"),
        ("1.5", "JPY"),
        ("1", "EURO"),
        ("1", "XXX"),
        ("1", "eur"),
        ("1e2", "EUR"),
        ("NaN", "EUR"),
        ("", "EUR"),
        ("92233720368547758.08", "EUR"),
        ("9" * 31, "EUR"),
    ],
)
def test_money_that_would_be_rounded_or_guessed_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValidationError):
        MoneyBody(amount=amount, currency=currency)


def test_money_is_a_string_and_nothing_else() -> None:
    for body in (
        {"amount": 12.5, "currency": "EUR"},
        {"amount": "1", "currency": "EUR", "x": 1},
        {"amount": "1"},
    ):
        with pytest.raises(ValidationError):
            MoneyBody.model_validate(body)


@given(
    minor=st.integers(-(2**63) + 1, 2**63 - 1), currency=st.sampled_from(["EUR", "JPY", "KWD", "CLF", "USD"])
)
def test_money_comes_back_as_it_went(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    text = MoneyBody.from_money(money).model_dump_json()
    assert MoneyBody.model_validate_json(text).to_money() == money


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_decimals_come_back_as_they_went(value: Decimal) -> None:
    adapter = TypeAdapter(DecimalText)
    assert adapter.validate_json(adapter.dump_json(value)) == value


class WrittenInterval(StrictBody):
    unit: WrittenIntervalUnit
    count: Count = 1

    _read = model_validator(mode="before")(in_months)


@pytest.mark.parametrize(
    ("told", "unit", "count"),
    [
        ({"unit": "quarter"}, "month", 3),
        ({"unit": "quarter", "count": 5}, "month", 15),
        ({"unit": "half_year"}, "month", 6),
        ({"unit": "half_year", "count": 2}, "month", 12),
        ({"unit": "month", "count": 2}, "month", 2),
        ({"unit": "year"}, "year", 1),
    ],
)
def test_quarters_and_half_years_are_read_as_months(told: dict[str, Any], unit: str, count: int) -> None:
    read = WrittenInterval.model_validate(told)
    assert (read.unit, read.count) == (unit, count)


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ({"unit": "fortnight"}, "unit"),
        ({"unit": ["quarter"]}, "unit"),
        ({"unit": None}, "unit"),
        ({"unit": "quarter", "count": "2"}, "count"),
        ({"unit": "quarter", "count": True}, "count"),
        ({"unit": "quarter", "count": 2**30}, "count"),
        ({"unit": "quarter", "counts": 1}, "counts"),
    ],
)
def test_what_is_no_interval_is_refused_where_it_is_wrong(told: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WrittenInterval.model_validate(told)
    [error] = refused.value.errors()
    assert error["loc"] == (place,)
    assert place != "unit" or "quarter, half_year" in error["msg"]
