"""Request and response bodies of taxes: registrations, rates, and what a supply would bear."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from libs.common.money import Money
from libs.common.web.bodies import (
    BusinessDate,
    DecimalText,
    Flag,
    Instant,
    MoneyBody,
    StrictBody,
    identifier,
)
from services.billing.application.add_tax_rate import AddTaxRate
from services.billing.application.assess_tax import AssessedSupply, AssessedTax, AssessTax, SupplyWanted
from services.billing.domain.seller import TaxRegistration
from services.billing.domain.settlement import InvoiceTax
from services.billing.domain.tax_rate import TaxRate
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.draft_plan_bodies import TaxCategory

PERCENT_DECIMALS = 6
SUPPLIES_MAX = 100

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["NL"])]


def _percent(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not 0 <= value <= 100 or (isinstance(exponent, int) and exponent < -PERCENT_DECIMALS):
        raise ValueError(f"must lie between 0 and 100, with at most {PERCENT_DECIMALS} decimals")
    return value


Percent = Annotated[DecimalText, AfterValidator(_percent), Field(examples=["21"])]


class TaxRegistrationBody(StrictBody):
    """Where the seller is registered for tax, besides his `tax_number`; from the first day if `valid_from` is left out.

    `oss` is the EU's one-stop shop: it declares the tax of all member states, whichever country it is joined in.
    """

    country: Country
    number: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
    valid_from: BusinessDate | None = None
    scheme: Literal["vat", "oss"] = "vat"

    def to_domain(self) -> TaxRegistration:
        return TaxRegistration(self.country, self.number, self.valid_from, self.scheme)

    @classmethod
    def from_domain(cls, registration: TaxRegistration) -> Self:
        return cls(**{name: getattr(registration, name) for name in cls.model_fields})


class NewTaxRateBody(StrictBody):
    """A rate of one's own, before the law's: for a category that the law does not know, or a country that is not kept.

    It holds from `valid_from` until the next one of its country and category. A `percent` of null ends it: from then on
    the law's holds again. Of two from one day on, the one that was added later holds.
    """

    country: Country
    tax_category: TaxCategory
    percent: Percent | None
    valid_from: BusinessDate
    source: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        Field(examples=["Wet op de omzetbelasting 1968, Tabel I"]),
    ]

    def to_command(self) -> AddTaxRate:
        return AddTaxRate(
            country=self.country,
            category=self.tax_category,
            percent=self.percent,
            valid_from=self.valid_from,
            source=self.source,
        )


class TaxRateBody(StrictBody):
    """`percent` of null ends the rate. `is_shipped`: it comes with the program, and its `source` says who tells of it."""

    id: str
    country: str
    tax_category: str
    percent: DecimalText | None
    valid_from: BusinessDate
    source: str
    is_shipped: bool
    created_at: Instant

    @classmethod
    def from_domain(cls, rate: TaxRate) -> Self:
        plain: dict[str, Any] = {
            name: getattr(rate, name) for name in cls.model_fields if name != "tax_category"
        }
        return cls(**plain, tax_category=rate.category)


class SupplyBody(StrictBody):
    """`service_period_end` is not included. Without a service period it is supplied on the day of the invoice."""

    amount: MoneyBody
    tax_category: TaxCategory | None = None
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"
    service_period_start: BusinessDate | None = None
    service_period_end: BusinessDate | None = None

    @model_validator(mode="after")
    def _whole_period(self) -> Self:
        start, end = self.service_period_start, self.service_period_end
        if (start is None) != (end is None):
            raise ValueError("a service period has a start and an end, or is left out")
        if start is not None and end is not None and end < start:
            raise ValueError("a service period ends when it begins, or later")
        return self

    def to_wanted(self, invoiced_on: date) -> SupplyWanted:
        return SupplyWanted(
            amount=self.amount.to_money(),
            category=self.tax_category,
            behavior=self.tax_behavior,
            start_on=self.service_period_start or invoiced_on,
            end_on=self.service_period_end or invoiced_on,
        )


class BuyerBody(StrictBody):
    """Somebody who is no customer, or not yet."""

    country: Country | None = None
    vat_id: Annotated[str, Field(min_length=1, max_length=40, examples=["DE136695976"])] | None = None
    is_business: Flag | None = None
    tax_status: Literal["auto", "taxable", "exempt", "reverse_charge", "outside_scope"] = "auto"
    tax_exemption_reason: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class NewTaxAssessmentBody(StrictBody):
    """What would stand on an invoice. All amounts are in one currency. Either `customer_id` or `buyer`."""

    invoiced_on: BusinessDate
    supplies: Annotated[list[SupplyBody], Field(min_length=1, max_length=SUPPLIES_MAX)]
    customer_id: CustomerId | None = None
    buyer: BuyerBody | None = None
    seller_id: Annotated[str, identifier("sel")] | None = None

    @model_validator(mode="after")
    def _one_buyer(self) -> Self:
        if (self.customer_id is None) == (self.buyer is None):
            raise ValueError("say who buys: customer_id or buyer, one of the two")
        if len({supply.amount.currency for supply in self.supplies}) > 1:
            raise ValueError("all amounts of one invoice are in one currency")
        return self

    def to_command(self) -> AssessTax:
        buyer = self.buyer
        return AssessTax(
            invoiced_on=self.invoiced_on,
            supplies=tuple(supply.to_wanted(self.invoiced_on) for supply in self.supplies),
            customer_id=self.customer_id,
            country=None if buyer is None else buyer.country,
            vat_id=None if buyer is None else buyer.vat_id,
            is_business=None if buyer is None else buyer.is_business,
            tax_status="auto" if buyer is None else buyer.tax_status,
            reason=None if buyer is None else buyer.tax_exemption_reason,
            seller_id=self.seller_id,
        )


class AssessedSupplyBody(StrictBody):
    """`category` by EN 16931, `country` is whose tax it is; `told` are the steps that led there."""

    amount: MoneyBody
    net: MoneyBody
    category: str
    percent: DecimalText
    reason_code: str | None
    reason: str | None
    country: str | None
    tax_point: BusinessDate
    told: list[str]

    @classmethod
    def from_view(cls, supply: AssessedSupply) -> Self:
        treatment = supply.assessment.treatment
        return cls(
            amount=MoneyBody.from_money(supply.amount),
            net=MoneyBody.from_money(supply.net),
            category=treatment.category,
            percent=treatment.percent,
            reason_code=treatment.reason_code,
            reason=treatment.reason,
            country=supply.assessment.country,
            tax_point=supply.tax_point,
            told=list(supply.assessment.told),
        )


class AssessedGroupBody(StrictBody):
    category: str
    percent: DecimalText
    taxable: MoneyBody
    tax: MoneyBody
    reason_code: str | None
    reason: str | None

    @classmethod
    def from_domain(cls, group: InvoiceTax) -> Self:
        return cls(
            category=group.category,
            percent=group.percent,
            taxable=MoneyBody.from_money(group.taxable),
            tax=MoneyBody.from_money(group.tax),
            reason_code=group.reason_code,
            reason=group.reason,
        )


class TaxAssessmentBody(StrictBody):
    """`net` + `tax` = `total`. What is outside the scope of tax would stand on an invoice of its own."""

    seller_id: str
    supplies: list[AssessedSupplyBody]
    taxes: list[AssessedGroupBody]
    net: MoneyBody
    tax: MoneyBody
    total: MoneyBody

    @classmethod
    def from_view(cls, view: AssessedTax) -> Self:
        def money(amount: Money) -> MoneyBody:
            return MoneyBody.from_money(amount)

        return cls(
            seller_id=view.seller_id,
            supplies=[AssessedSupplyBody.from_view(supply) for supply in view.supplies],
            taxes=[AssessedGroupBody.from_domain(group) for group in view.taxes],
            net=money(view.net),
            tax=money(view.tax),
            total=money(view.total),
        )
