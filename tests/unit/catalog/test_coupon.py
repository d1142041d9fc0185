"""What a coupon may be worth, what of it may change, and when it can be redeemed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from libs.common.errors import DomainError
from libs.common.money import Money
from services.catalog.domain.coupon import (
    CouponArchived,
    CouponExhausted,
    CouponExhaustedForCustomer,
    CouponExpired,
    CouponInvalid,
    CouponLimitTooLow,
    CouponNotValidYet,
    CouponTermsFixed,
    RedemptionCount,
    archive,
    change_terms,
    check_count,
    check_redeemable,
    check_terms,
)
from services.catalog.domain.coupon_redemption import withdraw
from tests.support.coupons import MADE, a_coupon, a_redemption, some_terms

ONE_US = timedelta(microseconds=1)
TEN_EUROS = {"percent": None, "amount": Money(1000, "EUR")}


class Terms(NamedTuple):
    name: str
    changes: dict[str, Any]
    pointers: list[str]


TERMS = [
    Terms("a_percentage", {"percent": Decimal("12.5")}, []),
    Terms("all_of_it", {"percent": Decimal(100)}, []),
    Terms("six_decimals", {"percent": Decimal("0.000001")}, []),
    Terms("seven_decimals", {"percent": Decimal("0.0000001")}, ["/percent"]),
    Terms("zeros_at_the_end_say_nothing", {"percent": Decimal("12.50000000")}, []),
    Terms("nothing_of_it", {"percent": Decimal(0)}, ["/percent"]),
    Terms("less_than_nothing", {"percent": Decimal(-5)}, ["/percent"]),
    Terms("more_than_all", {"percent": Decimal("100.01")}, ["/percent"]),
    Terms("no_number", {"percent": Decimal("NaN")}, ["/percent"]),
    Terms("an_amount", TEN_EUROS, []),
    Terms("one_yen", {"percent": None, "amount": Money(1, "JPY")}, []),
    Terms("an_amount_of_nothing", {"percent": None, "amount": Money(0, "EUR")}, ["/amount/amount"]),
    Terms("a_negative_amount", {"percent": None, "amount": Money(-1, "EUR")}, ["/amount/amount"]),
    Terms("neither", {"percent": None}, ["/percent"]),
    Terms("both", {"amount": Money(1000, "EUR")}, ["/percent"]),
    Terms("three_periods", {"duration": "periods", "periods": 3}, []),
    Terms("how_many_periods", {"duration": "periods"}, ["/periods"]),
    Terms("no_periods", {"duration": "periods", "periods": 0}, ["/periods"]),
    Terms("too_many_periods", {"duration": "periods", "periods": 1201}, ["/periods"]),
    Terms("once_has_no_periods", {"duration": "once", "periods": 3}, ["/periods"]),
    Terms("for_ever_has_no_periods", {"periods": 3}, ["/periods"]),
    Terms("a_limit_of_nothing", {"redemptions_max": 0}, ["/redemptions_max"]),
    Terms("a_limit_of_one", {"redemptions_max": 1, "redemptions_per_customer_max": 1}, []),
    Terms("no_limit_so_high", {"redemptions_per_customer_max": 2**31}, ["/redemptions_per_customer_max"]),
    Terms("order_below", {"stacking_order": -1}, ["/stacking_order"]),
    Terms("order_above", {"stacking_order": 10_000}, ["/stacking_order"]),
    Terms("valid_for_a_moment", {"valid_from": MADE, "valid_until": MADE + ONE_US}, []),
    Terms("valid_never", {"valid_from": MADE, "valid_until": MADE}, ["/valid_until"]),
    Terms("too_many_plans", {"plan_codes": tuple(f"p{n}" for n in range(101))}, ["/plans"]),
    Terms("all_at_once", {"percent": None, "periods": 1, "stacking_order": -1},
          ["/percent", "/periods", "/stacking_order"]),
]  # fmt: skip


@pytest.mark.parametrize("case", TERMS, ids=lambda case: case.name)
def test_terms_are_accepted_or_every_fault_is_pointed_at(case: Terms) -> None:
    terms = some_terms(**case.changes)
    if not case.pointers:
        check_terms(terms)
        return
    with pytest.raises(CouponInvalid) as refused:
        check_terms(terms)
    assert [error["pointer"] for error in refused.value.errors] == case.pointers


def test_faults_of_reading_come_first() -> None:
    found = [{"pointer": "/plans/0", "detail": "unknown"}]
    with pytest.raises(CouponInvalid) as refused:
        check_terms(some_terms(percent=None), found=found)  # type: ignore[arg-type]
    assert [error["pointer"] for error in refused.value.errors] == ["/plans/0", "/percent"]


class Change(NamedTuple):
    name: str
    changes: dict[str, Any]
    redeemed: RedemptionCount
    refused: type[DomainError] | None
    pointer: str | None = None


NOBODY, THRICE = RedemptionCount(), RedemptionCount(overall=3, by_customer=2)
FIXED = CouponTermsFixed
CHANGES = [
    Change("anything_before", {"percent": Decimal(30), "plan_codes": ("x",)}, NOBODY, None),
    Change("percent_after", {"percent": Decimal(30)}, THRICE, FIXED, "/percent"),
    Change("percent_becomes_amount", TEN_EUROS, THRICE, FIXED, "/percent"),
    Change("duration_after", {"duration": "once"}, THRICE, FIXED, "/duration"),
    Change("products_after", {"product_ids": ("prd_1",)}, THRICE, FIXED, "/products"),
    Change("plans_after", {"plan_codes": ("power",)}, THRICE, FIXED, "/plans"),
    Change("order_after", {"stacking_order": 7}, THRICE, FIXED, "/stacking_order"),
    Change("name_after", {"name": "Spring"}, THRICE, None),
    Change("validity_after", {"valid_until": MADE}, THRICE, None),
    Change("metadata_after", {"metadata": {"a": "b"}}, THRICE, None),
    Change("limit_to_what_is_redeemed", {"redemptions_max": 3}, THRICE, None),
    Change("limit_below", {"redemptions_max": 2}, THRICE, CouponLimitTooLow, "/redemptions_max"),
    Change("one_customers_limit", {"redemptions_per_customer_max": 2}, THRICE, None),
    Change("one_customers_limit_below", {"redemptions_per_customer_max": 1}, THRICE, CouponLimitTooLow,
           "/redemptions_per_customer_max"),
    Change("no_limit_any_more", {"redemptions_max": None}, THRICE, None),
]  # fmt: skip


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.name)
def test_what_may_change_of_a_coupon(case: Change) -> None:
    coupon = a_coupon(redemptions_max=10)
    terms = some_terms(**{"redemptions_max": 10, **case.changes})
    if case.refused is None:
        changed = change_terms(coupon, terms, redeemed=case.redeemed)
        assert (changed.terms, changed.version, changed.code) == (terms, 2, coupon.code)
        return
    with pytest.raises(case.refused) as refused:
        change_terms(coupon, terms, redeemed=case.redeemed)
    assert refused.value.pointer == case.pointer
    assert refused.value.remedy


def test_the_same_terms_change_nothing() -> None:
    archived = archive(a_coupon(), MADE)
    assert change_terms(archived, some_terms(), redeemed=THRICE) is archived
    assert archive(archived, MADE) is archived
    with pytest.raises(CouponArchived):
        change_terms(archived, some_terms(name="Spring"), redeemed=NOBODY)


@pytest.mark.parametrize(
    ("at", "refused"),
    [
        (MADE - ONE_US, CouponNotValidYet),
        (MADE, None),
        (MADE + timedelta(days=1) - ONE_US, None),
        (MADE + timedelta(days=1), CouponExpired),
    ],
)
def test_it_is_valid_from_the_first_instant_until_before_the_last(
    at: Any, refused: type[DomainError] | None
) -> None:
    coupon = a_coupon(valid_from=MADE, valid_until=MADE + timedelta(days=1))
    if refused is None:
        check_redeemable(coupon, at)
        return
    with pytest.raises(refused):
        check_redeemable(coupon, at)


def test_an_archived_coupon_can_be_redeemed_by_nobody() -> None:
    check_redeemable(a_coupon(), MADE)
    with pytest.raises(CouponArchived):
        check_redeemable(archive(a_coupon(), MADE), MADE)


@pytest.mark.parametrize(
    ("limits", "redeemed", "refused"),
    [
        ({}, RedemptionCount(10**6, 10**6), None),
        ({"redemptions_max": 5}, RedemptionCount(4, 4), None),
        ({"redemptions_max": 5}, RedemptionCount(5, 0), CouponExhausted),
        ({"redemptions_per_customer_max": 1}, RedemptionCount(9, 0), None),
        ({"redemptions_per_customer_max": 1}, RedemptionCount(9, 1), CouponExhaustedForCustomer),
        ({"redemptions_max": 1, "redemptions_per_customer_max": 1}, RedemptionCount(1, 1), CouponExhausted),
    ],
)
def test_it_is_redeemed_no_more_often_than_it_may(
    limits: dict[str, int], redeemed: RedemptionCount, refused: type[DomainError] | None
) -> None:
    if refused is None:
        check_count(some_terms(**limits), redeemed)
        return
    with pytest.raises(refused) as raised:
        check_count(some_terms(**limits), redeemed)
    assert type(raised.value) is refused


def test_withdrawing_twice_withdraws_once() -> None:
    withdrawn = withdraw(a_redemption(), MADE)
    assert (withdrawn.withdrawn, withdrawn.version) == (True, 2)
    assert withdraw(withdrawn, MADE + ONE_US) is withdrawn
