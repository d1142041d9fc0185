"""Adding an invoice up: lines, less discount, plus tax; every part of it in whole minor units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.money import Money, allocate, apportion, round_ratio, total

TaxRounding = Literal["group", "line", "document"]

NO_TAX = Decimal(0)
STANDARD = "S"


class DiscountBeyondLines(RuleViolation):
    code = "discount_beyond_lines"
    title = "A discount that exceeds what it is taken from"


@dataclass(frozen=True, slots=True)
class TaxedAmount:
    """The net amount of a line, and the rate that applies to it, in percent, within a category of EN 16931."""

    net: Money
    tax_percent: Decimal = NO_TAX
    category: str = STANDARD


@dataclass(frozen=True, slots=True)
class GrossAmount:
    """The amount of a line whose price includes the tax; its net is found with the other lines of the same tax."""

    gross: Money
    tax_percent: Decimal = NO_TAX
    category: str = STANDARD


@dataclass(frozen=True, slots=True)
class TaxGroup:
    """All that is taxed at one rate in one category: `taxable` is after discount."""

    tax_percent: Decimal
    taxable: Money
    tax: Money
    category: str = STANDARD


@dataclass(frozen=True, slots=True)
class InvoiceTotals:
    """`net` + `tax` = `total`; the groups sum to `net` and `tax`.

    `subtotal` is the sum of the amounts as the lines have them, net or gross, and where all are net, `subtotal` -
    `discount` = `net`. `line_nets` are the nets of the lines after discount, in their order; they sum to `net`.
    """

    subtotal: Money
    discount: Money
    net: Money
    tax: Money
    total: Money
    groups: tuple[TaxGroup, ...]
    line_nets: tuple[Money, ...]


def invoice_totals(
    lines: Sequence[TaxedAmount | GrossAmount],
    currency: str,
    *,
    discount: Money | None = None,
    tax_rounding: TaxRounding = "group",
) -> InvoiceTotals:
    """Add up the lines; the discount is taken off before tax, from each line in proportion to its amount.

    Rounding: tax once for each category and rate, on the sum of its nets (`group`), unless the seller rounds each `line`,
    or once for the whole `document`: then the exact taxes of all rates are added up, and the rounded sum is spread over
    them by largest remainder. Of prices that include tax: once on the sum of the gross amounts, always; the rest, the
    net, is spread over the lines by largest remainder.
    Raises: DiscountBeyondLines, CurrencyMismatch.
    Source: EN 16931, BR-CO-10, BR-CO-13 to BR-CO-15; tax by rate on the sum of nets, never of rounded taxes.
    """
    subtotal = total((_amount(line) for line in lines), currency)
    taken = Money.zero(currency) if discount is None else discount
    amounts = _less(lines, subtotal, taken)
    nets = list(amounts)
    groups: list[TaxGroup] = []
    on_top_exact: list[Fraction] = []
    for percent, category in sorted({(line.tax_percent, line.category) for line in lines}):
        indexes = [
            index
            for index, line in enumerate(lines)
            if (line.tax_percent, line.category) == (percent, category)
        ]
        net_of = [index for index in indexes if isinstance(lines[index], TaxedAmount)]
        gross_of = [index for index in indexes if isinstance(lines[index], GrossAmount)]
        included, inside = split_inclusive([amounts[index] for index in gross_of], percent, currency)
        for index, net in zip(gross_of, inside, strict=True):
            nets[index] = net
        taxed = [amounts[index] for index in net_of]
        on_top_exact.append(_exact_tax(taxed, percent))
        on_top = (
            Money.zero(currency)
            if tax_rounding == "document"
            else _tax(taxed, percent, currency, tax_rounding)
        )
        taxable = total((nets[index] for index in indexes), currency)
        groups.append(TaxGroup(percent, taxable, on_top + included, category))
    if tax_rounding == "document":
        groups = _spread_over(groups, on_top_exact, currency)
    net = total(nets, currency)
    tax = total((group.tax for group in groups), currency)
    return InvoiceTotals(subtotal, taken, net, tax, net + tax, tuple(groups), tuple(nets))


def split_inclusive(
    gross: Sequence[Money], tax_percent: Decimal, currency: str, *, rounds: Literal["tax", "net"] = "tax"
) -> tuple[Money, tuple[Money, ...]]:
    """The tax inside these gross amounts, and the net of each; tax and nets sum to the gross.

    Rounding: the tax once, half away from zero, on the sum; the net is what is left (where `rounds` says `net`, the
    other way about), and each line gets its exact share floored, the missing minor units going to the largest
    remainders, ties to the first.
    Source: R4 and R7: 3 x 9.99 with 21 % are 5.20 of tax, and nets of 8.26, 8.26 and 8.25.
    """
    whole = total(gross, currency)
    tax = tax_in_gross(whole, tax_percent) if rounds == "tax" else whole - net_in_gross(whole, tax_percent)
    net_part = Fraction(100) * (100 + Fraction(tax_percent)) ** -1
    return tax, tuple(apportion(whole - tax, [amount.amount_minor * net_part for amount in gross]))


def tax_on_net(net: Money, tax_percent: Decimal) -> Money:
    """The tax that comes on top of `net`. Rounding: once, half away from zero."""
    return _percent_of(net, Fraction(tax_percent), Fraction(100))


def tax_in_gross(gross: Money, tax_percent: Decimal) -> Money:
    """The tax that `gross` holds; the net is what is left of it.

    Rounding: once, half away from zero: 10.00 with 21 % holds 1.74, although 21 % of 8.26 would be 1.73.
    """
    return _percent_of(gross, Fraction(tax_percent), 100 + Fraction(tax_percent))


def net_in_gross(gross: Money, tax_percent: Decimal) -> Money:
    """The net of `gross` where it is the net that is rounded, and the tax is what is left.

    Rounding: once, half away from zero: 2.99 with 4 % are 2.88 and 0.11, where the tax rounded would be 0.12.
    """
    return _percent_of(gross, Fraction(100), 100 + Fraction(tax_percent))


def _amount(line: TaxedAmount | GrossAmount) -> Money:
    return line.net if isinstance(line, TaxedAmount) else line.gross


def _less(lines: Sequence[TaxedAmount | GrossAmount], subtotal: Money, discount: Money) -> list[Money]:
    amounts = [_amount(line) for line in lines]
    if discount.amount_minor == 0:
        return amounts
    if not 0 < discount.amount_minor <= subtotal.amount_minor:
        raise DiscountBeyondLines("a discount is between nothing and the lines", discount=discount)
    shares = allocate(discount, [amount.amount_minor for amount in amounts])
    return [amount - share for amount, share in zip(amounts, shares, strict=True)]


def _tax(nets: Sequence[Money], percent: Decimal, currency: str, tax_rounding: TaxRounding) -> Money:
    if tax_rounding == "group":
        return tax_on_net(total(nets, currency), percent)
    return total((tax_on_net(net, percent) for net in nets), currency)


def _exact_tax(nets: Sequence[Money], percent: Decimal) -> Fraction:
    """In minor units, and parts of one."""
    return sum(net.amount_minor for net in nets) * Fraction(percent) * Fraction(1, 100)


def _spread_over(groups: Sequence[TaxGroup], exact: Sequence[Fraction], currency: str) -> list[TaxGroup]:
    """The tax on top of all rates, rounded once, and each rate's part of it."""
    whole = sum(exact, start=Fraction(0))
    parts = apportion(Money(round_ratio(whole.numerator, whole.denominator, 0), currency), exact)
    return [replace(group, tax=group.tax + part) for group, part in zip(groups, parts, strict=True)]


def _percent_of(money: Money, percent: Fraction, hundred: Fraction) -> Money:
    share = percent * hundred**-1
    return money.share(share.numerator, share.denominator)
