"""Pieces that bodies of all services are made of: exact decimals, money, instants, dates, zones, names.

What comes in is read strictly: amounts and quantities are strings, instants say their offset, nothing is
rounded or guessed. What goes out is spelled one way.
"""

import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from libs.common.errors import ServiceError
from libs.common.money import Money, exponent
from libs.common.periods import IntervalUnit

YEAR_MIN, YEAR_MAX = 1900, 2200
METADATA_ENTRIES_MAX = 50

# What an interval may be written in, besides the units that it is kept in.
_MONTHS = {"quarter": 3, "half_year": 6}
_WRITTEN_UNITS = ("day", "week", "month", "quarter", "half_year", "year")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,18})?")
_AMOUNT = r"^-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,10})?$"
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class StrictBody(BaseModel):
    """Base of request and response bodies: an unknown field is an error, and nothing changes afterwards.

    How one is read and written is worked out when the first is: of hundreds, a process needs a few.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


def decimal_text(value: Decimal) -> str:
    """Plain digits, without exponent and without zeros at the end that say nothing."""
    if not value:
        return "0"
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def instant_text(value: datetime) -> str:
    """RFC 3339 in UTC, with Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite():
        return value  # from our own code
    if not isinstance(value, str):
        raise ValueError('must be a string that holds a decimal number, such as "12.5"')
    if not _DECIMAL.fullmatch(value):
        raise ValueError(
            "must be a decimal number of at most 20 digits, and at most 18 decimals, no exponent"
        )
    return Decimal(value)


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _read_instant(value: object) -> datetime:
    if isinstance(value, datetime):
        instant = value  # from our own code
    elif isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            instant = datetime.fromisoformat(value.upper())
        except ValueError:
            raise ValueError("is no instant that exists; seconds go to 59, offsets to 23:59") from None
    else:
        raise ValueError('must be an instant with its offset, such as "2025-06-01T12:00:00Z" (RFC 3339)')
    if instant.tzinfo is None:
        raise ValueError("must say its offset from UTC")
    _within_years(instant)  # first: the conversion fails at the ends of time
    return instant.astimezone(UTC)


def _within_years(value: date) -> None:
    if not YEAR_MIN <= value.year < YEAR_MAX:
        raise ValueError(f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")


def _read_date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        day = value  # from our own code
    elif isinstance(value, str) and _DATE.fullmatch(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise ValueError("is no date that exists") from None
    else:
        raise ValueError('must be a date, such as "2025-06-01"')
    _within_years(day)
    return day


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """The zones of the pinned tzdata, whatever the machine has of its own."""
    listed = files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(zone for zone in listed.split() if zone != "Factory")


def _known_zone(value: str) -> str:
    if value not in known_zones():
        raise ValueError('must be a time zone of the IANA database, such as "Europe/Zurich"')
    return value


def _known_currency(value: str) -> str:
    try:
        exponent(value)
    except ServiceError:
        raise ValueError('must be a currency of ISO 4217, such as "EUR"') from None
    return value


def _printable(value: str) -> str:
    if value != value.strip() or any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        raise ValueError("must not hold control characters, nor begin or end with a space")
    return value


def _multiline(value: str) -> str:
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in value):
        raise ValueError("must not hold control characters but line breaks and tabs")
    return value


def _metadata(value: dict[str, str]) -> dict[str, str]:
    if len(value) > METADATA_ENTRIES_MAX:
        raise ValueError(f"must not have more than {METADATA_ENTRIES_MAX} entries")
    for text in value.values():
        _multiline(text)
    return value


def _known_unit(unit: object) -> object:
    if unit not in get_args(IntervalUnit):
        raise ValueError(f"must be one of {', '.join(_WRITTEN_UNITS)}")
    return unit


def in_months(interval: Any) -> Any:
    """An interval as it was sent, with quarters and half-years told in months. What is wrong with it is left as it is."""
    unit = interval.get("unit") if isinstance(interval, dict) else None
    if not isinstance(unit, str) or unit not in _MONTHS:
        return interval
    count = interval.get("count", 1)
    return {**interval, "unit": "month", "count": _MONTHS[unit] * count if type(count) is int else count}


def identifier(prefix: str) -> StringConstraints:
    """What an id of one kind looks like: `InvoiceId = Annotated[str, identifier("inv")]`."""
    return StringConstraints(pattern=rf"^{prefix}_[0-9a-hjkmnp-tv-z]{{26}}$", max_length=64)


_DECIMAL_SCHEMA = {"type": "string", "pattern": f"^{_DECIMAL.pattern}$", "examples": ["12.5"]}

DecimalText = Annotated[
    Decimal,
    BeforeValidator(_read_decimal),
    PlainSerializer(decimal_text, return_type=str),
    WithJsonSchema(_DECIMAL_SCHEMA),
]
"""An exact decimal of either sign, a string in JSON."""

Quantity = Annotated[
    Decimal,
    BeforeValidator(_read_decimal),
    AfterValidator(_not_negative),
    PlainSerializer(decimal_text, return_type=str),
    WithJsonSchema({**_DECIMAL_SCHEMA, "pattern": f"^{_DECIMAL.pattern.removeprefix('-?')}$"}),
]
"""How much of something: an exact decimal, not negative, a string in JSON."""

Instant = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    PlainSerializer(instant_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-06-01T12:00:00Z"]}),
]
"""RFC 3339 with any offset; in UTC from here on."""

BusinessDate = Annotated[
    date,
    BeforeValidator(_read_date),
    PlainSerializer(date.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2025-06-01"]}),
]
"""A day in somebody's calendar; a zone beside it says whose."""

Zone = Annotated[str, Field(max_length=64, examples=["Europe/Zurich"]), AfterValidator(_known_zone)]
Currency = Annotated[
    str, Field(pattern=r"^[A-Z]{3}$", max_length=3, examples=["EUR"]), AfterValidator(_known_currency)
]
Code = Annotated[
    str,
    Field(pattern=r"^[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?$", max_length=64, examples=["flying-minutes"]),
]
"""A name for programs, chosen by the tenant, unique among things of its kind."""

Name = Annotated[
    str, Field(min_length=1, max_length=200, examples=["Flying minutes"]), AfterValidator(_printable)
]
Description = Annotated[str, Field(max_length=2000), AfterValidator(_multiline)]
ExternalId = Annotated[
    str, Field(min_length=1, max_length=255, examples=["crm-4711"]), AfterValidator(_printable)
]
"""The tenant's own id for the thing, from another system."""

Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,40}$")],
        Annotated[str, Field(max_length=500)],
    ],
    AfterValidator(_metadata),
]
"""Notes of the tenant's programs; nothing here reads them."""

WrittenIntervalUnit = Annotated[
    IntervalUnit,
    BeforeValidator(_known_unit),
    WithJsonSchema({"type": "string", "enum": list(_WRITTEN_UNITS), "examples": ["month"]}),
]
"""The unit of an interval in a body that `in_months` reads first: `quarter` and `half_year` come back as months."""

Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Flag = Annotated[bool, Field(strict=True)]


class MoneyBody(StrictBody):
    """An amount with all the decimals that it needs and no more than its currency has."""

    amount: Annotated[str, Field(pattern=_AMOUNT, max_length=32, examples=["12.50"])]
    currency: Currency

    @model_validator(mode="after")
    def _fits_its_currency(self) -> Self:
        decimals = len(self.amount.partition(".")[2])
        if decimals > exponent(self.currency):
            raise ValueError(
                f"amount has {decimals} decimals, but {self.currency} has {exponent(self.currency)}"
            )
        try:
            self.to_money()
        except ServiceError as error:
            raise ValueError(error.message) from None
        return self

    @classmethod
    def from_money(cls, money: Money) -> Self:
        return cls(amount=format(money.to_decimal(), "f"), currency=money.currency)

    def to_money(self) -> Money:
        """Exact: an amount that is finer than its currency was refused."""
        return Money.from_decimal(Decimal(self.amount), self.currency)
