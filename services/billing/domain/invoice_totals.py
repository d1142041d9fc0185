"""Adding an invoice up: lines, less discount, plus tax; every part of it in whole minor units."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.money import Money, allocate, total

TaxRounding = Literal["group", "line"]

NO_TAX = Decimal(0)


class DiscountBeyondLines(RuleViolation):
    code = "discount_beyond_lines"
    title = "A discount that exceeds what it is taken from"


@dataclass(frozen=True, slots=True)
class TaxedAmount:
    """The net amount of a line and the rate that applies to it, in percent."""

    net: Money
    tax_percent: Decimal = NO_TAX


@dataclass(frozen=True, slots=True)
class TaxGroup:
    """All that is taxed at one rate: `taxable` is after discount."""

    tax_percent: Decimal
    taxable: Money
    tax: Money


@dataclass(frozen=True, slots=True)
class InvoiceTotals:
    """`subtotal` - `discount` = `net`; `net` + `tax` = `total`; the groups sum to `net` and `tax`.

    `line_nets` are the lines after discount, in their order; they sum to `net`.
    """

    subtotal: Money
    discount: Money
    net: Money
    tax: Money
    total: Money
    groups: tuple[TaxGroup, ...]
    line_nets: tuple[Money, ...]


def invoice_totals(
    lines: Sequence[TaxedAmount],
    currency: str,
    *,
    discount: Money | None = None,
    tax_rounding: TaxRounding = "group",
) -> InvoiceTotals:
    """Add up the lines; the discount is taken off before tax, from each line in proportion to its net.

    Rounding: tax once for each rate, on the sum of its nets (`group`), unless the seller rounds each line.
    Raises: DiscountBeyondLines, CurrencyMismatch.
    Source: EN 16931, BR-CO-10, BR-CO-13 to BR-CO-15; tax by rate on the sum of nets, never of rounded taxes.
    """
    subtotal = total((line.net for line in lines), currency)
    taken = Money.zero(currency) if discount is None else discount
    nets = _less(lines, subtotal, taken)
    groups = tuple(
        _group(
            percent,
            [net for line, net in zip(lines, nets, strict=True) if line.tax_percent == percent],
            currency,
            tax_rounding,
        )
        for percent in sorted({line.tax_percent for line in lines})
    )
    net = total(nets, currency)
    tax = total((group.tax for group in groups), currency)
    return InvoiceTotals(subtotal, taken, net, tax, net + tax, groups, tuple(nets))


def tax_on_net(net: Money, tax_percent: Decimal) -> Money:
    """The tax that comes on top of `net`. Rounding: once, half away from zero."""
    return _percent_of(net, Fraction(tax_percent), Fraction(100))


def tax_in_gross(gross: Money, tax_percent: Decimal) -> Money:
    """The tax that `gross` holds; the net is what is left of it.

    Rounding: once, half away from zero: 10.00 with 21 % holds 1.74, although 21 % of 8.26 would be 1.73.
    """
    return _percent_of(gross, Fraction(tax_percent), 100 + Fraction(tax_percent))


def _less(lines: Sequence[TaxedAmount], subtotal: Money, discount: Money) -> list[Money]:
    nets = [line.net for line in lines]
    if discount.amount_minor == 0:
        return nets
    if not 0 < discount.amount_minor <= subtotal.amount_minor:
        raise DiscountBeyondLines("a discount is between nothing and the lines", discount=discount)
    shares = allocate(discount, [net.amount_minor for net in nets])
    return [net - share for net, share in zip(nets, shares, strict=True)]


def _group(percent: Decimal, nets: Sequence[Money], currency: str, tax_rounding: TaxRounding) -> TaxGroup:
    taxable = total(nets, currency)
    if tax_rounding == "group":
        return TaxGroup(percent, taxable, tax_on_net(taxable, percent))
    return TaxGroup(percent, taxable, total((tax_on_net(net, percent) for net in nets), currency))


def _percent_of(money: Money, percent: Fraction, hundred: Fraction) -> Money:
    share = percent * hundred**-1
    return money.share(share.numerator, share.denominator)
