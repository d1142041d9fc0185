"""docs/taxes.md: every command in it can be run as it stands, and comes to what the page says."""

from __future__ import annotations

import re

from services.billing.adapters.shipped_tax_rates import shipped_tax_rates
from services.billing.domain.tax_area import MEMBER_STATES
from services.billing.domain.tax_rate import GOODS, WITHOUT_RATE
from services.billing.entrypoints.tax_bodies import (
    AssessedSupplyBody,
    BuyerBody,
    NewTaxAssessmentBody,
    SupplyBody,
    TaxRegistrationBody,
)
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.service_under_test import ServiceUnderTest, new_tenant

PAGE = (ROOT / "docs" / "taxes.md").read_text(encoding="utf-8")


async def test_every_command_of_the_page_comes_to_what_it_says(billing: ServiceUnderTest) -> None:
    known: dict[str, str] = {}
    taxes = []
    async with billing.client(new_tenant(), "billing:read", "billing:write") as client:
        for name, words, field in commands(PAGE):
            answer = await run(client, words, known)
            if name is not None:
                assert field is not None
                known[name] = answer[field]
            if "/v1/tax-assessments" in words:
                taxes.append(answer["tax"]["amount"])
    assert taxes == re.findall(r"\*(\d+\.\d\d)\*", PAGE)


def test_every_field_and_every_word_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    for body in (NewTaxAssessmentBody, BuyerBody, SupplyBody, AssessedSupplyBody, TaxRegistrationBody):
        assert set(body.model_fields) - explained - {"number"} == set(), body
    assert {rate.category for rate in shipped_tax_rates()} | WITHOUT_RATE | {GOODS} <= explained


def test_rates_are_shipped_for_the_countries_that_the_page_names() -> None:
    assert {rate.country for rate in shipped_tax_rates()} - MEMBER_STATES == {"GB", "NO", "CH"}
