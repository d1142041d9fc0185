"""Documents with tax: worked examples to the cent, and that lines, coupons, taxes and totals always add up."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money, total
from services.billing.adapters.shipped_tax_rates import shipped_table
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.invoice_totals import TaxRounding, tax_on_net
from services.billing.domain.seller import TaxRegistration
from services.billing.domain.settlement import Settled, SettlementInputs, settle_lines
from services.billing.domain.tax_assessment import Supply, TaxedBuyer, TaxQuestion, assess
from services.billing.domain.tax_rate import TaxTable
from services.billing.domain.tax_treatment import TaxTreatment

TODAY = date(2026, 6, 1)
SELLER = TaxRegistration("NL", "NL004495445B01")


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def a_line(place: int, minor: int, *, inclusive: bool = False, category: str | None = None) -> InvoiceLine:
    amount, nothing = eur(minor), eur(0)
    return InvoiceLine(
        id=f"lin_{place}",
        invoice_id="inv_1",
        charge_id=f"chg_{place}",
        ordinal=place + 1,
        tier=None,
        description="Line",
        quantity=Decimal(1),
        unit_amount=amount.to_decimal(),
        amount=amount,
        prepaid=nothing,
        discount=nothing,
        net=amount,
        formula="",
        service_start_on=TODAY,
        service_end_on=TODAY,
        product_id=f"prd_{place % 2}",
        tax_behavior="inclusive" if inclusive else "exclusive",
        product_tax_category=category,
    )


def settled(lines: list[InvoiceLine], buyer: TaxedBuyer, tax_rounding: TaxRounding = "group") -> Settled:
    supplies = [Supply(line.id, line.product_tax_category, TODAY) for line in lines]
    answers = assess(TaxQuestion("NL", (SELLER,), buyer, supplies), TaxTable(shipped_table(), {}))
    treatments = {supply.key: answer.treatment for supply, answer in zip(supplies, answers, strict=True)}
    return settle_lines(lines, SettlementInputs(treatments=treatments, tax_rounding=tax_rounding), "EUR")


class Washes(NamedTuple):
    name: str
    gross: list[int]
    nets: list[int]
    tax: int
    total: int


WASHES = [
    Washes("may_estimated", [1995, 380], [1649, 314], 412, 2375),
    Washes("june_trued_up", [1995, -285], [1649, -236], 297, 1710),
    Washes("three_of_a_kind", [999, 999, 999], [826, 826, 825], 520, 2997),
    Washes("ten_euros", [1000], [826], 174, 1000),
]


@pytest.mark.parametrize("case", WASHES, ids=lambda case: case.name)
def test_prices_that_include_the_tax(case: Washes) -> None:
    found = settled(
        [a_line(n, gross, inclusive=True) for n, gross in enumerate(case.gross)], TaxedBuyer("NL")
    )
    assert [line.net.amount_minor for line in found.lines] == case.nets
    assert (found.net, found.tax, found.total) == (eur(sum(case.nets)), eur(case.tax), eur(case.total))


def test_seats_sold_across_a_border_bear_no_tax_and_say_why() -> None:
    lines = [a_line(0, 25480), a_line(1, 150000), a_line(2, 36400)]
    found = settled(lines, TaxedBuyer("DE", "DE136695976"))
    assert (found.net, found.tax, found.total) == (eur(211880), eur(0), eur(211880))
    (group,) = found.taxes
    assert (group.category, group.reason_code, group.reason) == ("AE", "VATEX-EU-AE", "Reverse charge")


def test_light_as_a_service_is_taxed_once_on_the_sum() -> None:
    found = settled(
        [a_line(n, minor) for n, minor in enumerate([131200, 36593, 6458, -6560])], TaxedBuyer("NL")
    )
    assert (found.net, found.tax, found.total) == (eur(167691), eur(35215), eur(202906))


def test_tax_once_for_the_document_is_spread_over_its_rates() -> None:
    """0.105 and 0.045 are 0.15 together, and 0.11 and 0.05 each by itself."""
    lines = [a_line(0, 50), a_line(1, 50, category="reduced")]
    assert settled(lines, TaxedBuyer("NL")).tax == eur(16)
    together = settled(lines, TaxedBuyer("NL"), "document")
    assert together.tax == eur(15)
    assert [(group.percent, group.tax) for group in together.taxes] == [
        (Decimal(9), eur(5)),
        (Decimal(21), eur(10)),
    ]


def test_tax_of_each_line_is_told_where_the_seller_rounds_each() -> None:
    lines = [a_line(0, 12), a_line(1, 12), a_line(2, 12, inclusive=True)]
    by_line = settled(lines, TaxedBuyer("NL"), "line")
    assert [line.tax for line in by_line.lines] == [eur(3), eur(3), None]
    assert by_line.tax == eur(3 + 3 + 2)
    assert settled(lines, TaxedBuyer("NL")).lines[0].tax is None


def test_all_reasons_of_a_rate_are_told() -> None:
    lines = [a_line(0, 100), a_line(1, 100), a_line(2, 100)]
    said = {
        "lin_0": TaxTreatment("E", reason="Books"),
        "lin_1": TaxTreatment("E", reason="Schools"),
        "lin_2": TaxTreatment("E", reason="Books"),
    }
    (group,) = settle_lines(lines, SettlementInputs(treatments=said), "EUR").taxes
    assert group.reason == "Books; Schools"


treatments = st.sampled_from(
    [
        TaxTreatment("S", Decimal(21)),
        TaxTreatment("S", Decimal("8.875")),
        TaxTreatment("S", Decimal("25.5")),
        TaxTreatment("Z"),
        TaxTreatment("E", reason="Exempt"),
        TaxTreatment("AE", reason="Reverse charge"),
    ]
)
drawn_lines = st.lists(st.tuples(st.integers(-500, 10**6), st.booleans(), treatments), min_size=1, max_size=7)
drawn_coupons = st.lists(
    st.one_of(
        st.decimals("0.01", 100, places=2).map(lambda percent: Coupon("P", "P", percent=percent)),
        st.integers(1, 10**5).map(lambda minor: Coupon("A", "A", amount=eur(minor), product_ids=("prd_1",))),
        st.integers(1, 10**5).map(lambda minor: Coupon("B", "B", amount=eur(minor))),
    ),
    max_size=3,
)
roundings = st.sampled_from(["group", "line", "document"])


@settings(max_examples=150)
@given(drawn_lines, drawn_coupons, roundings)
def test_lines_less_discounts_plus_tax_are_the_total(
    drawn: list[tuple[int, bool, TaxTreatment]], coupons: list[Coupon], tax_rounding: TaxRounding
) -> None:
    """Invariant 7, in minor units, whatever is mixed; and every split sums to what was split."""
    lines = [a_line(place, minor, inclusive=inside) for place, (minor, inside, _) in enumerate(drawn)]
    named = {f"lin_{place}": treatment for place, (_, _, treatment) in enumerate(drawn)}
    coupons = [replace(coupon, code=f"{coupon.code}{place}") for place, coupon in enumerate(coupons)]
    found = settle_lines(lines, SettlementInputs({}, tuple(coupons), named, tax_rounding), "EUR")
    paid = [line.amount - line.discount - line.prepaid for line in found.lines]
    inside = total(
        (
            left - line.net
            for line, left in zip(found.lines, paid, strict=True)
            if line.tax_behavior == "inclusive"
        ),
        "EUR",
    )
    on_top = found.tax - inside
    assert found.subtotal == total((line.amount for line in lines), "EUR")
    assert found.subtotal - found.discount + on_top == found.total
    assert found.net + found.tax == found.total
    assert total((line.net for line in found.lines), "EUR") == found.net
    assert total((line.discount for line in found.lines), "EUR") == found.discount
    assert total((discount.amount for discount in found.discounts), "EUR") == found.discount
    assert total((group.tax for group in found.taxes), "EUR") == found.tax
    assert total((group.taxable for group in found.taxes), "EUR") == found.net
    assert len({(group.category, group.percent) for group in found.taxes}) == len(found.taxes)
    assert all(group.tax.amount_minor == 0 for group in found.taxes if not group.percent)
    if tax_rounding == "line":
        by_line = [line.tax for line in found.lines if line.tax is not None]
        assert total(by_line, "EUR") == on_top
    if tax_rounding == "group" and not any(line.tax_behavior == "inclusive" for line in lines):
        assert all(group.tax == tax_on_net(group.taxable, group.percent) for group in found.taxes)
    if tax_rounding == "document":
        exact = sum(
            (
                line.net.amount_minor * line.tax_percent
                for line in found.lines
                if line.tax_behavior == "exclusive"
            ),
            start=Decimal(0),
        )
        assert abs(on_top.amount_minor * 100 - exact) <= 50


def test_settling_twice_gives_the_same_bytes() -> None:
    lines = [a_line(0, 999, inclusive=True), a_line(1, 12345), a_line(2, -100)]
    assert repr(settled(lines, TaxedBuyer("NL"))) == repr(settled(lines, TaxedBuyer("NL")))
