"""How the lines of a document are taxed: each by its day, and a correction as what it puts right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from libs.common.money import Money
from services.billing.application.add_tax_rate import AddTaxRate, add_tax_rate
from services.billing.application.tax_treatments import treatments_for
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import Invoice, open_draft
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.tax_rate import OWN_RATES_MAX, TooManyTaxRates
from services.billing.domain.tax_treatment import TaxTreatment, is_outside_scope
from tests.support.billing import MemoryBilling, Story, a_customer, a_seller

GERMAN = a_seller(country="DE", tax_number="DE-1")
NOW = datetime(2021, 1, 1, 12, tzinfo=UTC)


def a_draft() -> Invoice:
    story = Story(metered=False, customer=a_customer(country="DE"))
    return open_draft(
        story.agreement(), boundary_at=NOW, period_index=0, awaits_window=False, traceparent=None, now=NOW
    )


def a_line(id: str, start_on: date, end_on: date, category: str | None = None) -> InvoiceLine:
    amount, nothing = Money(1000, "USD"), Money(0, "USD")
    return InvoiceLine(
        id=id,
        invoice_id="inv_1",
        charge_id="chg_1",
        ordinal=1,
        tier=None,
        description="Line",
        quantity=Decimal(1),
        unit_amount=Decimal(10),
        amount=amount,
        prepaid=nothing,
        discount=nothing,
        net=amount,
        formula="",
        service_start_on=start_on,
        service_end_on=end_on,
        product_tax_category=category,
    )


async def percents(uow: MemoryBilling, *lines: InvoiceLine) -> dict[str, str]:
    found = await treatments_for(a_draft(), lines, seller=GERMAN, profile=None, now=NOW, uow=uow)
    return {id: format(treatment.percent, "f") for id, treatment in found.items()}


async def test_a_period_that_is_over_has_the_rate_of_its_last_day() -> None:
    behind = a_line("behind", date(2020, 12, 1), date(2021, 1, 1))
    ahead = a_line("ahead", date(2021, 1, 1), date(2021, 2, 1))
    assert await percents(MemoryBilling(), behind, ahead) == {"behind": "16", "ahead": "19"}


async def test_a_correction_is_taxed_as_the_line_that_it_puts_right() -> None:
    uow = MemoryBilling()
    uow.billed_treatments.by_line["lin_old"] = TaxTreatment("S", Decimal(7))
    late = replace(a_line("late", date(2020, 12, 1), date(2021, 1, 1)), corrects_line_id="lin_old")
    lost = replace(late, id="lost", corrects_line_id="lin_unknown")
    assert await percents(uow, late, lost) == {"late": "7", "lost": "16"}


async def test_ones_own_rates_are_added_up_to_a_number() -> None:
    uow = MemoryBilling()
    wanted = AddTaxRate("EL", "Wash-Plus", Decimal(9), date(2020, 1, 1), "ours")
    rate = await add_tax_rate(wanted, now=NOW, uow=uow)
    assert (rate.country, rate.category) == ("GR", "wash_plus")
    uow.tax_rates.own *= OWN_RATES_MAX
    with pytest.raises(TooManyTaxRates):
        await add_tax_rate(wanted, now=NOW, uow=uow)


@pytest.mark.parametrize(
    ("category", "expect"),
    [("outside_scope", True), ("Outside-Scope", True), ("exempt", False), (None, False)],
)
def test_what_is_outside_the_scope_of_tax(category: str | None, expect: bool) -> None:
    story = Story(metered=False)
    charge: Charge = story.ahead(0, now=NOW)[0]
    price = replace(charge.price, tax_category=category)
    assert is_outside_scope(replace(charge, price=price)) is expect
