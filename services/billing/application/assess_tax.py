"""What tax supplies would bear: nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from libs.common.money import Money
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_profile import TaxStatus
from services.billing.domain.invoice_totals import GrossAmount, TaxedAmount, invoice_totals
from services.billing.domain.seller import Seller, SellerNotFound
from services.billing.domain.settlement import InvoiceTax, taxes_of
from services.billing.domain.tax_assessment import (
    Supply,
    TaxAssessment,
    TaxedBuyer,
    TaxQuestion,
    buyer_of,
    registrations_of,
    tax_point,
)


@dataclass(frozen=True, slots=True)
class SupplyWanted:
    """`end_on` is not in the service period."""

    amount: Money
    category: str | None
    behavior: Literal["exclusive", "inclusive"]
    start_on: date
    end_on: date


@dataclass(frozen=True, slots=True)
class AssessTax:
    """To a customer, or else to a buyer as described."""

    invoiced_on: date
    supplies: tuple[SupplyWanted, ...]
    customer_id: str | None = None
    country: str | None = None
    vat_id: str | None = None
    is_business: bool | None = None
    tax_status: TaxStatus = "auto"
    reason: str | None = None
    seller_id: str | None = None


@dataclass(frozen=True, slots=True)
class AssessedSupply:
    amount: Money
    net: Money
    tax_point: date
    assessment: TaxAssessment


@dataclass(frozen=True, slots=True)
class AssessedTax:
    seller_id: str
    supplies: Sequence[AssessedSupply]
    taxes: Sequence[InvoiceTax]
    net: Money
    tax: Money
    total: Money


async def assess_tax(command: AssessTax, *, uow: UnitOfWork) -> AssessedTax:
    """By the rules, rates and roundings that invoices go by.

    Raises: CustomerNotFound, SellerNotFound.
    """
    profile_seller, buyer = await _buyer(command, uow)
    seller = await _seller(command.seller_id, profile_seller, uow)
    points = [tax_point(command.invoiced_on, wanted.start_on, wanted.end_on) for wanted in command.supplies]
    question = TaxQuestion(
        seller_country=seller.country,
        registrations=registrations_of(seller),
        buyer=buyer,
        supplies=[
            Supply(str(position), wanted.category, point)
            for position, (wanted, point) in enumerate(zip(command.supplies, points, strict=True))
        ],
    )
    answers = await uow.tax_engine.assess(question)
    currency = command.supplies[0].amount.currency
    taxed = [_taxed(wanted, answer) for wanted, answer in zip(command.supplies, answers, strict=True)]
    totals = invoice_totals(taxed, currency, tax_rounding=seller.tax_rounding)
    return AssessedTax(
        seller_id=seller.id,
        supplies=[
            AssessedSupply(wanted.amount, net, point, answer)
            for wanted, net, point, answer in zip(
                command.supplies, totals.line_nets, points, answers, strict=True
            )
        ],
        taxes=taxes_of(totals, [answer.treatment for answer in answers]),
        net=totals.net,
        tax=totals.tax,
        total=totals.total,
    )


async def _buyer(command: AssessTax, uow: UnitOfWork) -> tuple[str | None, TaxedBuyer]:
    """And by which seller the customer is billed, where that was agreed on."""
    if command.customer_id is None:
        return None, TaxedBuyer(
            command.country, command.vat_id, command.is_business, command.tax_status, command.reason
        )
    customer = await uow.customers.find(command.customer_id)
    if customer is None:
        raise CustomerNotFound("no customer has this id", pointer="/customer_id")
    profile = await uow.billing_profiles.find(command.customer_id)
    return None if profile is None else profile.seller_id, buyer_of(customer, profile)


async def _seller(named: str | None, agreed: str | None, uow: UnitOfWork) -> Seller:
    id = named or agreed
    found = await uow.sellers.find(id) if id is not None else await uow.sellers.find_default()
    if found is None:
        raise SellerNotFound(
            "no seller has this id" if id is not None else "there is no seller yet",
            pointer="/seller_id",
            remedy="Name one of GET /v1/sellers, or add one.",
        )
    return found


def _taxed(wanted: SupplyWanted, answer: TaxAssessment) -> TaxedAmount | GrossAmount:
    by = answer.treatment
    if wanted.behavior == "inclusive":
        return GrossAmount(wanted.amount, by.percent, by.category)
    return TaxedAmount(wanted.amount, by.percent, by.category)
