"""A business keeps a rate of tax of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from libs.common.ids import new_id
from services.billing.application.ports import UnitOfWork
from services.billing.domain.tax_area import taxed_as
from services.billing.domain.tax_rate import (
    OWN_RATES_MAX,
    WITHOUT_RATE,
    TaxRate,
    TaxRateOfFixedCategory,
    TooManyTaxRates,
    word_of,
)


@dataclass(frozen=True, slots=True)
class AddTaxRate:
    """Each field is the rate's of the same name."""

    country: str
    category: str
    percent: Decimal | None
    valid_from: date
    source: str


async def add_tax_rate(command: AddTaxRate, *, now: datetime, uow: UnitOfWork) -> TaxRate:
    """For documents that are issued from now on; it holds before the law's.

    Raises: TaxRateOfFixedCategory, TooManyTaxRates.
    """
    word = word_of(command.category)
    if word in WITHOUT_RATE:
        raise TaxRateOfFixedCategory(
            f"what is {word} bears no tax, whatever the rate",
            pointer="/tax_category",
            remedy="Name another category, and give it to the products that are taxed so.",
        )
    if await uow.tax_rates.count() >= OWN_RATES_MAX:
        raise TooManyTaxRates(
            f"a business keeps at most {OWN_RATES_MAX} rates",
            remedy="Keep one for each country and category.",
        )
    rate = TaxRate(
        id=new_id("txr"),
        country=taxed_as(command.country) or command.country,
        category=word,
        percent=command.percent,
        valid_from=command.valid_from,
        source=command.source,
        created_at=now,
    )
    uow.tax_rates.add(rate)
    uow.record("tax_rate.added", rate.id)
    return rate
