"""VAT ids: which are taken, how they are spelled then, and what is said of the others."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.countries import known_countries
from libs.common.errors import DomainError
from services.subscriptions.domain.vat_id import (
    VatIdInvalid,
    VatIdNotCheckable,
    VatIdOfAnotherCountry,
    canonical_vat_id,
)


class Taken(NamedTuple):
    name: str
    text: str
    country: str | None
    spelled: str


TAKEN = [
    Taken("austria", "ATU13585627", "AT", "ATU13585627"),
    Taken("belgium", "BE 428759497", "BE", "BE0428759497"),
    Taken("czechia", "CZ 25123891", "CZ", "CZ25123891"),
    Taken("germany_with_spaces", "DE 136.695 976", "DE", "DE136695976"),
    Taken("greece_by_its_prefix", "EL 094259216", "GR", "EL094259216"),
    Taken("greece_by_its_country", "GR 094259216", "GR", "EL094259216"),
    Taken("greece_by_its_country_alone", "GR094259216", None, "EL094259216"),
    Taken("spain_without_prefix", "B64717838", "ES", "ESB64717838"),
    Taken("france", "Fr 40 303 265 045", "FR", "FR40303265045"),
    Taken("ireland", "IE 6433435F", "IE", "IE6433435F"),
    Taken("italy", "IT 00743110157", "IT", "IT00743110157"),
    Taken("monaco_is_french", "FR 53 0000 04605", "MC", "FR53000004605"),
    Taken("netherlands", "NL4495445B01", "NL", "NL004495445B01"),
    Taken("northern_ireland", "XI 980 7806 84", "GB", "XI980780684"),
    Taken("britain", "GB 980 7806 84", "GB", "GB980780684"),
    Taken("switzerland", "CHE-107.787.577 IVA", "CH", "CHE107787577MWST"),
    Taken("switzerland_without_its_end", "CHE-107.787.577", None, "CHE107787577MWST"),
    Taken("norway", "NO 995 525 828 MVA", "NO", "NO995525828MVA"),
    Taken("norway_without_its_end", "995525828", "NO", "NO995525828MVA"),
    Taken("iceland", "IS 00621", "IS", "IS00621"),
    Taken("australia", "83 914 571 673", "AU", "AU83914571673"),
]


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name)
def test_a_vat_id_is_spelled_one_way(case: Taken) -> None:
    assert canonical_vat_id(case.text, country=case.country) == case.spelled
    assert canonical_vat_id(case.spelled, country=case.country) == case.spelled


class Refused(NamedTuple):
    name: str
    text: str
    country: str | None
    error: type[DomainError]
    told: str


REFUSED = [
    Refused("a_digit_mistyped", "DE136695977", "DE", VatIdInvalid, "check digit"),
    Refused("too_short", "DE13669597", "DE", VatIdInvalid, "too few or too many"),
    Refused("letters_among_the_digits", "DE13669597X", "DE", VatIdInvalid, "not written like one"),
    Refused("another_members", "DE136695976", "AT", VatIdOfAnotherCountry, "one of DE"),
    Refused("northern_ireland_is_not_ireland", "XI980780684", "IE", VatIdOfAnotherCountry, "one of XI"),
    Refused("neither_prefix_nor_country", "980780684", None, VatIdNotCheckable, "does not begin with"),
    Refused("a_country_without_them", "98-7654321", "US", VatIdNotCheckable, "VAT ids of US"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_wrong_with_a_vat_id_is_told(case: Refused) -> None:
    with pytest.raises(case.error) as refused:
        canonical_vat_id(case.text, country=case.country)
    assert case.told in refused.value.message
    assert refused.value.pointer == "/vat_id"
    assert refused.value.remedy


countries = st.sampled_from([None, *sorted(known_countries())])
texts = st.text(alphabet="ABCDEILMNSTUVX0123456789+*&Ñ. -٣②", min_size=1, max_size=18)


@settings(max_examples=500)
@given(country=countries, text=texts, with_prefix=st.booleans())
def test_whatever_is_sent_is_spelled_one_way_or_refused(
    country: str | None, text: str, with_prefix: bool
) -> None:
    """The rules are those of a library, country by country: none of them may fail in a way of its own."""
    sent = (country or "DE") + text if with_prefix else text
    try:
        spelled = canonical_vat_id(sent, country=country)
    except (VatIdInvalid, VatIdNotCheckable, VatIdOfAnotherCountry):
        return
    assert canonical_vat_id(spelled, country=country) == spelled
