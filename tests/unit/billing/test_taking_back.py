"""What a credit gives back is what was paid, and no more."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.application.snapshots import price_from
from services.billing.domain.charge import Charge
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.settlement import SettlementInputs, settle_lines
from services.billing.domain.taking_back import Billed, gives_back, key_of, taken_back
from tests.support.billing import FEE

NOW, ON = datetime(2025, 2, 1, tzinfo=UTC), date(2025, 2, 1)


def usd(minor: int) -> Money:
    return Money(minor, "USD")


def a_credit(minor: int, ordinal: int, kind: str = "advance") -> tuple[Charge, InvoiceLine]:
    charge = Charge(
        id=f"chg_{ordinal}",
        subscription_id="sub_1",
        item_id="itm_1",
        price=price_from(FEE),
        period_index=0,
        kind=kind,  # type: ignore[arg-type]
        revision=ordinal,
        quantity=Decimal(0),
        fraction=Fraction(1),
        service_start=NOW,
        service_end=NOW,
        service_start_on=ON,
        service_end_on=ON,
        amount=usd(minor),
        created_at=NOW,
        invoice_id="inv_1",
    )
    line = InvoiceLine(
        id=f"lin_{ordinal}",
        invoice_id="inv_1",
        charge_id=charge.id,
        ordinal=ordinal,
        tier=None,
        description="Aircraft",
        quantity=Decimal(-1),
        unit_amount=Decimal(1),
        amount=usd(minor),
        prepaid=usd(0),
        discount=usd(0),
        net=usd(minor),
        formula="",
        service_start_on=ON,
        service_end_on=ON,
        subscription_id="sub_1",
    )
    return charge, line


def test_half_of_it_takes_half_of_its_discount_back() -> None:
    charge, line = a_credit(-500, 1)
    found = taken_back([line], {charge.id: charge}, {key_of(charge): Billed(usd(1000), usd(400), usd(100))})
    assert (found.discounts, found.prepaid) == ({"lin_1": usd(-200)}, {"lin_1": usd(-50)})
    coupon = found.as_coupon
    assert coupon is not None
    settled = settle_lines([line], SettlementInputs(prepaid=found.prepaid, coupons=(coupon,)), "USD")
    assert (settled.net, settled.discount, settled.prepaid) == (usd(-250), usd(-200), usd(-50))
    assert [each.amount for each in settled.discounts] == [usd(-200)]


def test_what_was_free_gives_nothing_back() -> None:
    charge, line = a_credit(-1000, 1)
    found = taken_back([line], {charge.id: charge}, {key_of(charge): Billed(usd(1000), usd(1000), usd(0))})
    assert found.discounts == {"lin_1": usd(-1000)}


def test_a_commitment_is_no_credit() -> None:
    charge, _ = a_credit(-1000, 1, kind="commitment")
    assert not gives_back(charge)


@given(
    amount=st.integers(1, 5000),
    off=st.integers(0, 100),
    units=st.integers(0, 100),
    credits=st.lists(st.integers(1, 2000), min_size=1, max_size=6),
)
@settings(max_examples=100)
def test_no_more_than_was_paid_is_given_back(amount: int, off: int, units: int, credits: list[int]) -> None:
    """One after another, whatever the parts; once all is given back, nothing of what was taken off is left."""
    discount = amount * off // 100
    prepaid = (amount - discount) * units // 100
    paid = amount - discount - prepaid
    left = Billed(usd(amount), usd(discount), usd(prepaid))
    returned = 0
    for ordinal, wanted in enumerate([*credits, amount], start=1):
        given_up = min(wanted, left.amount.amount_minor)
        if not given_up:
            break
        charge, line = a_credit(-given_up, ordinal)
        found = taken_back([line], {charge.id: charge}, {key_of(charge): left})
        off_now, units_now = found.discounts[line.id], found.prepaid[line.id]
        net = -given_up - off_now.amount_minor - units_now.amount_minor
        assert -given_up <= net <= 0
        returned -= net
        assert returned <= paid
        left = Billed(left.amount + line.amount, left.discount + off_now, left.prepaid + units_now)
        assert min(left.discount.amount_minor, left.prepaid.amount_minor) >= 0
    if left.amount.amount_minor == 0:
        assert left == Billed(usd(0), usd(0), usd(0))
        assert returned == paid
