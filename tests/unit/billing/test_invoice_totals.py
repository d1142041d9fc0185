"""Adding up: lines, less discount, plus tax, to the cent."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CurrencyMismatch, Money, total
from services.billing.domain.invoice_totals import (
    DiscountBeyondLines,
    GrossAmount,
    TaxedAmount,
    TaxRounding,
    invoice_totals,
    split_inclusive,
    tax_in_gross,
    tax_on_net,
)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def taxed(*amounts: tuple[int, str]) -> list[TaxedAmount]:
    return [TaxedAmount(eur(minor), Decimal(percent)) for minor, percent in amounts]


def test_without_tax_the_total_is_the_sum_of_the_lines() -> None:
    totals = invoice_totals(
        [TaxedAmount(eur(131200)), TaxedAmount(eur(36593)), TaxedAmount(eur(-6560))], "EUR"
    )
    assert (totals.subtotal, totals.net, totals.tax, totals.total) == (
        eur(161233), eur(161233), eur(0), eur(161233)
    )  # fmt: skip


def test_no_lines_come_to_zero() -> None:
    assert invoice_totals([], "EUR").total == eur(0)


def test_tax_is_taken_once_from_the_sum_of_each_rate() -> None:
    lines = taxed((131200, "21"), (36593, "21"), (6458, "21"), (-6560, "21"))
    totals = invoice_totals(lines, "EUR")
    assert (totals.net, totals.tax, totals.total) == (eur(167691), eur(35215), eur(202906))


@pytest.mark.parametrize(("tax_rounding", "tax"), [("group", 5), ("line", 4)])
def test_rounding_each_line_gives_another_tax(tax_rounding: TaxRounding, tax: int) -> None:
    totals = invoice_totals(taxed((12, "20"), (12, "20")), "EUR", tax_rounding=tax_rounding)
    assert totals.tax == eur(tax)


def test_rates_are_grouped_in_order() -> None:
    totals = invoice_totals(taxed((10000, "21"), (5000, "9"), (1, "21.0")), "EUR")
    assert [(group.tax_percent, group.taxable, group.tax) for group in totals.groups] == [
        (Decimal(9), eur(5000), eur(450)),
        (Decimal(21), eur(10001), eur(2100)),
    ]


def test_a_discount_lowers_what_is_taxed_in_proportion() -> None:
    totals = invoice_totals(taxed((6000, "20"), (4000, "10")), "EUR", discount=eur(1000))
    assert [group.taxable for group in totals.groups] == [eur(3600), eur(5400)]
    assert (totals.subtotal, totals.discount, totals.net, totals.tax, totals.total) == (
        eur(10000), eur(1000), eur(9000), eur(1440), eur(10440)
    )  # fmt: skip


@pytest.mark.parametrize("discount", [10001, -1])
def test_a_discount_is_between_nothing_and_the_lines(discount: int) -> None:
    with pytest.raises(DiscountBeyondLines):
        invoice_totals(taxed((10000, "20")), "EUR", discount=eur(discount))


def test_a_discount_may_take_everything() -> None:
    assert invoice_totals(taxed((10000, "20")), "EUR", discount=eur(10000)).total == eur(0)


def test_lines_of_another_currency_are_refused() -> None:
    with pytest.raises(CurrencyMismatch):
        invoice_totals([TaxedAmount(Money(1, "USD"))], "EUR")


def test_tax_inside_a_gross_price() -> None:
    """10.00 with 21 % is 8.26 and 1.74, although 21 % of 8.26 would round to 1.73."""
    assert tax_in_gross(eur(1000), Decimal(21)) == eur(174)
    assert tax_on_net(eur(826), Decimal(21)) == eur(173)


def test_tax_inside_a_sum_of_gross_prices() -> None:
    assert tax_in_gross(eur(3 * 999), Decimal(21)) == eur(520)


def test_prices_with_and_without_tax_stand_on_one_invoice() -> None:
    lines = [
        GrossAmount(eur(999), Decimal(21)),
        TaxedAmount(eur(1000), Decimal(21)),
        GrossAmount(eur(999), Decimal(21)),
        GrossAmount(eur(1000), Decimal(9)),
    ]
    totals = invoice_totals(lines, "EUR")
    assert [net.amount_minor for net in totals.line_nets] == [826, 1000, 825, 917]
    assert [(group.tax_percent, group.taxable, group.tax) for group in totals.groups] == [
        (Decimal(9), eur(917), eur(83)),
        (Decimal(21), eur(2651), eur(557)),
    ]
    assert (totals.subtotal, totals.net, totals.total) == (eur(3998), eur(3568), eur(4208))


def test_categories_of_one_rate_are_groups_of_their_own() -> None:
    lines = [
        TaxedAmount(eur(10), category="Z"),
        GrossAmount(eur(20), category="E"),
        TaxedAmount(eur(30), category="Z"),
    ]
    totals = invoice_totals(lines, "EUR")
    assert [(group.category, group.taxable) for group in totals.groups] == [("E", eur(20)), ("Z", eur(40))]
    assert {group.category for group in invoice_totals(taxed((1, "5")), "EUR").groups} == {"S"}


def test_a_discount_is_taken_from_gross_amounts_before_their_tax_is_found() -> None:
    lines = [GrossAmount(eur(1210), Decimal(21)), GrossAmount(eur(1210), Decimal(21))]
    totals = invoice_totals(lines, "EUR", discount=eur(1210))
    assert (totals.subtotal, totals.net, totals.tax, totals.total) == (
        eur(2420),
        eur(1000),
        eur(210),
        eur(1210),
    )


def test_tax_inside_is_rounded_once_even_where_the_seller_rounds_each_line() -> None:
    lines = [GrossAmount(eur(999), Decimal(21))] * 3
    assert invoice_totals(lines, "EUR", tax_rounding="line").tax == eur(520)


def test_the_net_may_be_what_is_rounded() -> None:
    """2.99 with 4 % are 2.88 and 0.11; the tax rounded would be 0.12."""
    assert split_inclusive([eur(299)], Decimal(4), "EUR", rounds="net") == (eur(11), (eur(288),))
    assert split_inclusive([eur(299)], Decimal(4), "EUR") == (eur(12), (eur(287),))


@pytest.mark.parametrize(
    ("lines", "taxes"),
    [
        ([(50, "9"), (50, "21")], [5, 10]),  # 4.5 and 10.5 are 15
        ([(45, "10"), (45, "20")], [5, 9]),  # 4.5 and 9 are 13.5
        ([(45, "10"), (-45, "20")], [4, -9]),  # 4.5 and -9 are -4.5, rounded away from zero
        ([], []),
    ],
)
def test_tax_once_for_the_whole_document(lines: list[tuple[int, str]], taxes: list[int]) -> None:
    totals = invoice_totals(taxed(*lines), "EUR", tax_rounding="document")
    assert [group.tax.amount_minor for group in totals.groups] == taxes
    assert totals.tax == eur(sum(taxes))


def test_what_is_given_back_whole_leaves_no_tax() -> None:
    tax, nets = split_inclusive([eur(1000), eur(-1000)], Decimal(21), "EUR")
    assert (tax, total(nets, "EUR")) == (eur(0), eur(0))
    assert [abs(net.amount_minor) for net in nets] in ([826, 826], [827, 827])


nets = st.integers(0, 10**9)
percents = st.sampled_from(["0", "6", "9", "21", "8.875"])
lines = st.lists(st.tuples(nets, percents), min_size=1, max_size=8)


@given(amounts=lines, part=st.fractions(0, 1), tax_rounding=st.sampled_from(["group", "line"]))
def test_all_parts_of_an_invoice_sum_up(
    amounts: list[tuple[int, str]], part: Fraction, tax_rounding: TaxRounding
) -> None:
    discount = eur(sum(minor for minor, _ in amounts)).share(part.numerator, part.denominator)
    totals = invoice_totals(taxed(*amounts), "EUR", discount=discount, tax_rounding=tax_rounding)
    assert totals.subtotal - totals.discount == totals.net
    assert totals.net + totals.tax == totals.total
    assert total(totals.line_nets, "EUR") == totals.net
    assert total((group.taxable for group in totals.groups), "EUR") == totals.net
    assert total((group.tax for group in totals.groups), "EUR") == totals.tax


@given(
    gross=st.lists(st.integers(-(10**9), 10**9), max_size=8),
    percent=st.sampled_from(["0", "6", "9", "21", "8.875"]),
)
def test_nets_and_tax_sum_to_what_was_paid(gross: list[int], percent: str) -> None:
    """No net is more than a unit away from its exact share."""
    amounts = [eur(minor) for minor in gross]
    tax, found = split_inclusive(amounts, Decimal(percent), "EUR")
    assert total(found, "EUR") + tax == total(amounts, "EUR")
    assert tax == tax_in_gross(total(amounts, "EUR"), Decimal(percent))
    for amount, net in zip(amounts, found, strict=True):
        assert (
            abs(net.amount_minor - amount.amount_minor * Fraction(100) * (100 + Fraction(percent)) ** -1) < 1
        )
