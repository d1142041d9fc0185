"""The offline script adds taxes up as the engine does, which it does not import."""

from decimal import Decimal
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.domain.invoice_totals import GrossAmount, TaxedAmount, TaxRounding, invoice_totals
from tests.unit.docs.bundle_script import loaded

script = loaded()


class Line(NamedTuple):
    minor: int
    percent: str
    category: str
    inclusive: bool


lines = st.lists(
    st.builds(
        Line,
        st.integers(-300, 10**6),
        st.sampled_from(["0", "9", "21", "8.875"]),
        st.sampled_from(["S", "E"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=100)
@given(lines, st.sampled_from(["group", "line", "document"]))
def test_both_come_to_the_same_taxes(drawn: list[Line], tax_rounding: TaxRounding) -> None:
    amounts = [
        (GrossAmount if line.inclusive else TaxedAmount)(
            Money(line.minor, "EUR"), Decimal(line.percent), line.category
        )
        for line in drawn
    ]
    ours = invoice_totals(amounts, "EUR", tax_rounding=tax_rounding)
    told = [
        {
            "tax_percent": line.percent,
            "tax_category": line.category,
            "tax_behavior": "inclusive" if line.inclusive else "exclusive",
        }
        for line in drawn
    ]
    nets, groups = script.taxed(told, [line.minor for line in drawn], tax_rounding)
    assert nets == [net.amount_minor for net in ours.line_nets]
    assert list(groups.values()) == [
        (group.taxable.amount_minor, group.tax.amount_minor) for group in ours.groups
    ]
