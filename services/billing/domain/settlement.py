"""From lines as they were priced to what is asked for: less prepaid units, less coupons, plus tax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from libs.common.money import Money, total
from services.billing.domain.discount import Coupon, Discount, DiscountableLine, apply_coupons
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.invoice_totals import (
    GrossAmount,
    InvoiceTotals,
    TaxedAmount,
    TaxRounding,
    invoice_totals,
    tax_on_net,
)
from services.billing.domain.tax_treatment import (
    NOT_TAXED,
    TaxCategory,
    TaxTreatment,
    is_outside_scope_word,
)


@dataclass(frozen=True, slots=True)
class SettlementInputs:
    """All that decides what lines come to: with the lines, it gives the same document every time.

    `prepaid` is what prepaid units cover, and `treatments` how each line is taxed, by the ids of the lines. `coupons`
    are those of the customer with what of them was used before.
    """

    prepaid: Mapping[str, Money] = field(default_factory=dict)
    coupons: tuple[Coupon, ...] = ()
    treatments: Mapping[str, TaxTreatment] = field(default_factory=dict)
    tax_rounding: TaxRounding = "group"


@dataclass(frozen=True, slots=True)
class InvoiceTax:
    """The tax of all lines of one category, rate and reason: `taxable` is their net."""

    category: TaxCategory
    percent: Decimal
    taxable: Money
    tax: Money
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """`subtotal` is what the lines come to as priced; the nets of `lines` sum to `net`; `net` + `tax` = `total`."""

    lines: tuple[InvoiceLine, ...]
    discounts: tuple[Discount, ...]
    taxes: tuple[InvoiceTax, ...]
    subtotal: Money
    prepaid: Money
    discount: Money
    net: Money
    tax: Money
    total: Money


def settle_lines(lines: Sequence[InvoiceLine], inputs: SettlementInputs, currency: str) -> Settled:
    """Prepaid units first, then coupons off what is left, then tax on what is left of that.

    Rounding: as in `apply_coupons` and `invoice_totals`: each discount once, tax once for each category and rate.
    Raises: CurrencyMismatch.
    """
    zero = Money.zero(currency)
    prepaid = [inputs.prepaid.get(line.id, zero) for line in lines]
    left = [line.amount - part for line, part in zip(lines, prepaid, strict=True)]
    discounts: tuple[Discount, ...] = ()
    taken = [zero] * len(lines)
    if inputs.coupons:
        offered = [
            DiscountableLine(
                amount,
                line.product_id or "",
                line.plan_code or "",
                subscription_id=line.subscription_id,
                only_if_named=line.charge_id is None or is_outside_scope_word(line.product_tax_category),
                id=line.id,
            )
            for line, amount in zip(lines, left, strict=True)
        ]
        discounted = apply_coupons(offered, inputs.coupons, currency)
        discounts = discounted.discounts
        taken = [before - after for before, after in zip(left, discounted.line_nets, strict=True)]
        left = list(discounted.line_nets)
    treatments = [inputs.treatments.get(line.id, NOT_TAXED) for line in lines]
    taxed = [_taxed(line, amount, by) for line, amount, by in zip(lines, left, treatments, strict=True)]
    totals = invoice_totals(taxed, currency, tax_rounding=inputs.tax_rounding)
    settled = tuple(
        replace(
            line,
            prepaid=part,
            discount=off,
            net=net,
            tax_category=by.category,
            tax_percent=by.percent,
            tax_reason_code=by.reason_code,
            tax_reason=by.reason,
            tax=tax_on_net(net, by.percent)
            if inputs.tax_rounding == "line" and line.tax_behavior == "exclusive"
            else None,
        )
        for line, part, off, net, by in zip(lines, prepaid, taken, totals.line_nets, treatments, strict=True)
    )
    return Settled(
        lines=settled,
        discounts=discounts,
        taxes=taxes_of(totals, treatments),
        subtotal=total((line.amount for line in lines), currency),
        prepaid=total(prepaid, currency),
        discount=total(taken, currency),
        net=totals.net,
        tax=totals.tax,
        total=totals.total,
    )


def taxes_of(totals: InvoiceTotals, treatments: Sequence[TaxTreatment]) -> tuple[InvoiceTax, ...]:
    """The tax of a document by category and rate, with all the reasons that were given for it."""
    found = []
    for group in totals.groups:
        key = (group.category, group.tax_percent)
        given = [by for by in treatments if (by.category, by.percent) == key]
        codes = list(dict.fromkeys(by.reason_code for by in given if by.reason_code))
        reasons = list(dict.fromkeys(by.reason for by in given if by.reason))
        found.append(
            InvoiceTax(
                category=given[0].category,
                percent=group.tax_percent,
                taxable=group.taxable,
                tax=group.tax,
                reason_code=codes[0] if codes else None,
                reason="; ".join(reasons) or None,
            )
        )
    return tuple(found)


def _taxed(line: InvoiceLine, amount: Money, by: TaxTreatment) -> TaxedAmount | GrossAmount:
    if line.tax_behavior == "inclusive":
        return GrossAmount(amount, by.percent, by.category)
    return TaxedAmount(amount, by.percent, by.category)
