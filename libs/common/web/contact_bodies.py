"""The parts of a contact in bodies: mail, country, locale, postal address."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from libs.common.countries import known_countries
from libs.common.locale import LOCALE_LENGTH_MAX, LocaleUnknown, canonical_locale
from libs.common.web.bodies import Name, StrictBody


def _known_country(value: str) -> str:
    if value not in known_countries():
        raise ValueError('must be a country of ISO 3166-1, such as "CH"')
    return value


def _known_locale(value: str) -> str:
    try:
        return canonical_locale(value)
    except LocaleUnknown as error:
        raise ValueError(f"{error.message}; a locale is written like de-CH") from None


Email = Annotated[
    str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254, examples=["accounts@delta.example"])
]
Country = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$", max_length=2, examples=["US"]), AfterValidator(_known_country)
]
Locale = Annotated[
    str, Field(min_length=2, max_length=LOCALE_LENGTH_MAX, examples=["en-US"]), AfterValidator(_known_locale)
]
_Line = Annotated[Name, Field(examples=["1030 Delta Blvd"])]
_PostalCode = Annotated[Name, Field(max_length=20, examples=["30354-1989"])]
_City = Annotated[Name, Field(examples=["Atlanta"])]
_Region = Annotated[Name, Field(examples=["GA"])]


class AddressParts(StrictBody):
    """As it is written on a letter; `region` is a state, province or canton. At least one part is given."""

    line1: _Line | None = None
    line2: _Line | None = None
    postal_code: _PostalCode | None = None
    city: _City | None = None
    region: _Region | None = None
    country: Country | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("needs at least one part")
        return self
