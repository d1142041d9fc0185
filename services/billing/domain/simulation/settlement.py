"""Coupons and tax on what was simulated: period by period, as if each were an invoice of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from libs.common.errors import InputError
from libs.common.money import Money, total
from services.billing.domain.discount import Coupon, DiscountableLine, apply_coupons, explain
from services.billing.domain.invoice_totals import (
    GrossAmount,
    InvoiceTotals,
    TaxedAmount,
    TaxGroup,
    invoice_totals,
)
from services.billing.domain.simulation.simulated import SimulatedCharge, SimulatedPlan

Duration = Literal["once", "periods", "forever"]


@dataclass(frozen=True, slots=True)
class SupposedCoupon:
    """A coupon, and how long it lasts: `periods` billing periods of the plan where `duration` says so."""

    coupon: Coupon
    duration: Duration
    periods: int | None = None


@dataclass(frozen=True, slots=True)
class SettledDiscount:
    """What a coupon took off in one period. `told` is how it came about."""

    code: str
    amount: Money
    told: str


@dataclass(frozen=True, slots=True)
class SettledPeriod:
    """`amount` - `discount` is what is charged; with taxes, `totals` splits that into net and tax.

    `nets` are those of the lines after discount, charge by charge, where taxes are known.
    """

    amount: Money
    discount: Money
    discounts: tuple[SettledDiscount, ...]
    totals: InvoiceTotals | None
    nets: tuple[tuple[Money, ...], ...] | None

    @property
    def charged(self) -> Money:
        return self.amount - self.discount


@dataclass(frozen=True, slots=True)
class SettledPlan:
    """The sums over all periods, the trial included. `total` is with tax, None where no taxes were given."""

    simulated: SimulatedPlan
    trial: SettledPeriod | None
    periods: tuple[SettledPeriod, ...]
    amount: Money
    discount: Money
    net: Money | None
    tax: Money | None
    total: Money | None
    tax_groups: tuple[TaxGroup, ...]

    @property
    def charged(self) -> Money:
        return self.amount - self.discount

    @property
    def compared(self) -> Money:
        """What candidates are compared by."""
        return self.total if self.total is not None else self.charged


Taxes = Mapping[str | None, Decimal]


def settle_plan(
    simulated: SimulatedPlan, coupons: Sequence[SupposedCoupon], taxes: Taxes | None
) -> SettledPlan:
    """Each period's discounts, then its tax. Coupons do not reach the trial.

    `taxes` are percentages by tax category, None being that of whatever is not named.
    Rounding: as on an invoice: a discount once, tax once for each percentage and category.
    Raises: AmountTooLarge.
    """
    currency = simulated.currency
    trial = None if simulated.trial is None else _settled([simulated.trial], [], taxes, simulated)
    used: dict[str, Money] = {}
    periods = []
    for period in simulated.periods:
        number = period.index // simulated.plan_steps
        is_new = period.index % simulated.plan_steps == 0
        live = [
            _as_of(given, used, is_new=is_new) for given in coupons if _holds(given, period.index, number)
        ]
        settled = _settled(list(period.charges), live, taxes, simulated)
        for discount in settled.discounts:
            before = used.get(discount.code, Money.zero(currency))
            used[discount.code] = before + discount.amount
        periods.append(settled)
    parts = [*([trial] if trial is not None else []), *periods]
    totals = [part.totals for part in parts if part.totals is not None]
    has_tax = taxes is not None
    return SettledPlan(
        simulated=simulated,
        trial=trial,
        periods=tuple(periods),
        amount=total((part.amount for part in parts), currency),
        discount=total((part.discount for part in parts), currency),
        net=total((found.net for found in totals), currency) if has_tax else None,
        tax=total((found.tax for found in totals), currency) if has_tax else None,
        total=total((found.total for found in totals), currency) if has_tax else None,
        tax_groups=_groups(totals, currency),
    )


def _holds(given: SupposedCoupon, index: int, number: int) -> bool:
    """Whether it takes off anything in this period; an amount given once lasts until it is used up."""
    if given.duration == "forever":
        return True
    if given.duration == "periods":
        assert given.periods is not None
        return number < given.periods
    return index == 0 or given.coupon.amount is not None


def _as_of(given: SupposedCoupon, used: dict[str, Money], *, is_new: bool) -> Coupon:
    """What is left of an amount: of all of it where it is given once, else anew in each billing period."""
    coupon = given.coupon
    if coupon.amount is None:
        return coupon
    if given.duration != "once" and is_new:
        used.pop(coupon.code, None)
    before = used.get(coupon.code)
    same = before is not None and before.currency == coupon.amount.currency
    return replace(coupon, already_used=before) if same else coupon


def _settled(
    charges: list[SimulatedCharge], coupons: list[Coupon], taxes: Taxes | None, simulated: SimulatedPlan
) -> SettledPeriod:
    currency = simulated.currency
    lines = [(charge, line) for charge in charges for line in charge.lines]
    amount = total((line.amount for _, line in lines), currency)
    offered = [
        DiscountableLine(line.amount, charge.product_id or "", simulated.plan.code) for charge, line in lines
    ]
    taken = apply_coupons(offered, coupons, currency)
    discounts = tuple(
        SettledDiscount(found.coupon.code, found.amount, explain(found)) for found in taken.discounts
    )
    totals, nets = None, None
    if taxes is not None:
        taxed = [_taxed(charge, net, taxes) for (charge, _), net in zip(lines, taken.line_nets, strict=True)]
        totals = invoice_totals(taxed, currency)
        following = iter(totals.line_nets)
        nets = tuple(tuple(next(following) for _ in charge.lines) for charge in charges)
    return SettledPeriod(amount, taken.amount, discounts, totals, nets)


def percent_of(charge: SimulatedCharge, taxes: Taxes) -> Decimal | None:
    found = taxes.get(charge.tax_category)
    return taxes.get(None) if found is None else found


def _taxed(charge: SimulatedCharge, amount: Money, taxes: Taxes) -> TaxedAmount | GrossAmount:
    percent = percent_of(charge, taxes)
    assert percent is not None, "every category has a percentage"
    category = charge.tax_category or ""
    if charge.tax_behavior == "inclusive":
        return GrossAmount(amount, percent, category)
    return TaxedAmount(amount, percent, category)


def tax_faults(simulated: SimulatedPlan, taxes: Taxes, at: str) -> list[InputError]:
    """The categories of which nobody has said how they are taxed."""
    charges = [charge for period in simulated.periods for charge in period.charges]
    charges += [simulated.trial] if simulated.trial is not None else []
    missing = {
        charge.tax_category or "": charge.code for charge in charges if percent_of(charge, taxes) is None
    }
    return [
        {
            "pointer": at,
            "detail": f"there is no percentage for the tax category {category or 'of prices that have none'} "
            f"({code}): give it, or one without a category for all others",
        }
        for category, code in sorted(missing.items())
    ]


def _groups(totals: Sequence[InvoiceTotals], currency: str) -> tuple[TaxGroup, ...]:
    """The tax of all periods by percentage and category."""
    found: dict[tuple[Decimal, str], TaxGroup] = {}
    for group in (group for each in totals for group in each.groups):
        key = (group.tax_percent, group.category)
        before = found.get(key)
        found[key] = (
            group
            if before is None
            else replace(before, taxable=before.taxable + group.taxable, tax=before.tax + group.tax)
        )
    return tuple(found[key] for key in sorted(found))
