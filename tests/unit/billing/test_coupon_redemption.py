"""For which documents a coupon that a customer has takes something off, and what is left of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.domain.coupon_redemption import (
    BilledOf,
    CouponRedemption,
    CouponTerms,
    coupons_on,
    given_back,
    used,
)
from services.billing.domain.discount import Coupon, DiscountableLine, apply_coupons

NOW = datetime(2025, 2, 1, tzinfo=UTC)
TEN = Decimal(10)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def a_redemption(duration: str = "forever", **changes: Any) -> CouponRedemption:
    terms = {"coupon_id": "cpn_1", "code": "spring", "name": "Spring", "duration": duration, "percent": TEN}
    of_terms = {name: changes.pop(name) for name in ("percent", "amount", "periods") if name in changes}
    plain = CouponRedemption("rdm_1", "cus_1", None, CouponTerms(**{**terms, **of_terms}), NOW)
    return replace(plain, **changes)


def an_amount(duration: str, minor: int, **changes: Any) -> CouponRedemption:
    return a_redemption(duration, percent=None, amount=eur(minor), **changes)


def on(redemption: CouponRedemption, *billed: BilledOf, **options: Any) -> tuple[Coupon, ...]:
    options = {"document_kind": "invoice", "clock_id": None, "now": NOW, **options}
    return coupons_on([redemption], billed or [BilledOf("sub_1", "cus_1", 3)], **options)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("invoice", True),
        ("change", True),
        ("correction", True),
        ("interim", True),
        ("one_off", True),
        ("credit", False),
        ("deposit", False),
        ("compensation", False),
        ("top_up", False),
    ],
)
def test_what_bills_a_customer_is_discounted(kind: str, counts: bool) -> None:
    assert bool(on(a_redemption(), document_kind=kind)) is counts


def test_it_counts_from_its_instant_on_the_same_clock() -> None:
    assert on(a_redemption(), now=NOW - timedelta(microseconds=1)) == ()
    assert on(a_redemption(), now=NOW)
    elsewhere = on(a_redemption(), now=NOW - timedelta(days=900), clock_id="clk_1")
    assert elsewhere, "what another clock told cannot be compared: it counts from when it is heard of"
    assert on(a_redemption(withdrawn_at=NOW)) == ()


def test_it_is_for_those_who_have_it() -> None:
    mine, other = BilledOf("sub_1", "cus_1", 0), BilledOf("sub_2", "cus_2", 0)
    (coupon,) = on(a_redemption(), mine, other)
    assert coupon.subscription_ids == ("sub_1",)
    (coupon,) = on(a_redemption(subscription_id="sub_2"), mine, other)
    assert coupon.subscription_ids == ("sub_2",)
    assert on(a_redemption(), other) == ()
    lines = [DiscountableLine(eur(1000), "p", "x", subscription_id=id) for id in ("sub_1", "sub_2", None)]
    assert apply_coupons(lines, [coupon], "EUR").amount == eur(200), "what is about none is for all"
    (without,) = on(a_redemption(), BilledOf(None, "cus_1", 0))
    assert without.subscription_ids is None


def taken(redemption: CouponRedemption, minor: int, index: int, invoice: str = "inv_1") -> CouponRedemption:
    (coupon,) = on(redemption, BilledOf("sub_1", "cus_1", index))
    return used(redemption, [(coupon, eur(minor))], invoice_id=invoice, now=NOW)[0]


def test_a_percentage_once_is_for_the_first_invoice_that_it_takes_something_off() -> None:
    once = a_redemption("once")
    assert on(once)
    assert on(taken(once, 100, 3)) == ()


def test_an_amount_once_lasts_until_it_is_used_up() -> None:
    half = taken(an_amount("once", 1000), 400, 3)
    (coupon,) = on(half)
    assert coupon.available == eur(600)
    assert on(taken(half, 600, 4)) == ()


def test_periods_are_counted_from_the_first_in_which_it_took_something_off() -> None:
    redemption = a_redemption("periods", periods=2)
    assert on(redemption, BilledOf("sub_1", "cus_1", 7))
    begun = taken(redemption, 100, 3)
    lasts = {index: bool(on(begun, BilledOf("sub_1", "cus_1", index))) for index in range(2, 6)}
    assert lasts == {2: False, 3: True, 4: True, 5: False}
    assert on(begun, BilledOf("sub_2", "cus_1", 9)), "each subscription has periods of its own"
    assert on(redemption, BilledOf(None, "cus_1", 0)) == (), "what is about no subscription has no periods"


def test_an_amount_is_there_anew_in_each_period() -> None:
    begun = taken(an_amount("forever", 500), 400, 3)
    for index, left in ((3, 100), (4, 500)):
        (coupon,) = on(begun, BilledOf("sub_1", "cus_1", index))
        assert (coupon.available, coupon.period_index) == (eur(left), index)


@given(
    st.sampled_from(("once", "periods", "forever")),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 700)), max_size=8),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80)
def test_what_voided_documents_give_back_leaves_no_trace(
    duration: str, percent: bool, billed: list[tuple[int, int]], order: Any
) -> None:
    redemption = a_redemption(duration, periods=3) if percent else an_amount(duration, 1000, periods=3)
    start = redemption
    uses = []
    for place, (index, base) in enumerate(billed):
        coupons = on(redemption, BilledOf("sub_1", "cus_1", index))
        found = apply_coupons(
            [DiscountableLine(eur(base), "p", "x", subscription_id="sub_1")], coupons, "EUR"
        )
        parts = [(each.coupon, each.amount) for each in found.discounts if each.amount.amount_minor]
        if parts:
            redemption, use = used(redemption, parts, invoice_id=f"inv_{place}", now=NOW)
            uses.append(use)
    if not percent:
        limit = 1000 if duration == "once" else 1000 * len({index for index, _ in billed})
        assert redemption.used_minor <= limit
    assert redemption.used_minor == sum(use.amount.amount_minor for use in uses)
    order.shuffle(uses)
    for use in uses:
        redemption, back = given_back(redemption, use, now=NOW)
        assert back.amount == -use.amount
    assert redemption == start
