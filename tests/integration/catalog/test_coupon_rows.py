"""Features, coupons and redemptions on a real PostgreSQL: kept as they were, and never redeemed beyond a limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from libs.common.access.tenancy import APP
from libs.common.ids import new_id
from libs.common.money import Money
from services.catalog.adapters import rows
from services.catalog.application.redeem_coupon import RedeemCoupon, redeem_coupon
from services.catalog.application.withdraw_coupon_redemption import (
    WithdrawCouponRedemption,
    withdraw_coupon_redemption,
)
from services.catalog.domain.coupon import (
    Coupon,
    CouponCodeTaken,
    CouponExhausted,
    CouponExhaustedForCustomer,
    RedemptionCount,
)
from services.catalog.domain.feature import FeatureCodeTaken
from services.catalog.domain.known_customer import KnownSubscription
from tests.integration.catalog.test_rows import units_of
from tests.support.clocks import FixedClock
from tests.support.coupons import MADE, a_coupon, a_feature, a_redemption
from tests.support.service_under_test import ServiceUnderTest, new_tenant
from tests.support.versions import any_version

ACTOR = "token:test"
AT_ONCE = 20
TABLES = (
    rows.feature,
    rows.coupon,
    rows.coupon_customer,
    rows.coupon_redemption,
    rows.known_customer,
    rows.known_subscription,
)


async def keep(catalog: ServiceUnderTest, tenant: str, **limits: Any) -> Coupon:
    """A coupon, and the customers who are to redeem it."""
    coupon = a_coupon(id=new_id("cpn"), **limits)
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        uow.coupons.add(coupon)
        for number in range(AT_ONCE):
            uow.known_customers.put(customer(number))
    return coupon


def customer(number: int) -> str:
    return f"cus_{number}"


async def test_what_is_saved_is_found_again_as_it_was(catalog: ServiceUnderTest, tenant: str) -> None:
    feature = a_feature(id=new_id("ftr"), archived_at=MADE)
    plain = a_coupon(id=new_id("cpn"), code="plain", percent=Decimal("0.000001"))
    full = a_coupon(
        id=new_id("cpn"),
        code="full",
        percent=None,
        amount=Money(12345, "KWD"),
        duration="periods",
        periods=3,
        product_ids=("prd_1", "prd_2"),
        plan_codes=("power",),
        stacking_order=7,
        redemptions_max=5,
        redemptions_per_customer_max=2,
        valid_from=MADE,
        valid_until=MADE + timedelta(days=1),
        metadata={"a": "b"},
        archived_at=MADE,
    )
    redemption = a_redemption(id=new_id("rdm"), coupon_id=full.id, subscription_id="sub_1", withdrawn_at=MADE)
    known = KnownSubscription("sub_1", "cus_1", "clk_1")
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        uow.features.add(feature)
        for coupon in (plain, full):
            uow.coupons.add(coupon)
        uow.coupon_redemptions.add(redemption)
        for _ in range(2):
            uow.known_customers.put("cus_1")
            uow.known_customers.put_subscription(known)
            await uow.flush()
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        assert await uow.features.get(feature.id) == feature
        assert await uow.features.find_named(["minutes", "other"]) == [feature]
        named = await uow.coupons.find_named(["plain", "full", "none"])
        assert {coupon.id for coupon in named} == {plain.id, full.id}
        assert await uow.coupons.get(plain.id) == plain
        assert await uow.coupons.get(full.id) == full
        assert await uow.coupon_redemptions.get(redemption.id) == redemption
        assert await uow.known_customers.find_subscription("sub_1") == known
        assert [await uow.known_customers.is_known(id) for id in ("cus_1", "cus_2")] == [True, False]


async def test_codes_are_unique_within_a_tenant(catalog: ServiceUnderTest, tenant: str) -> None:
    for owner in (tenant, new_tenant()):
        async with units_of(catalog).open(owner, ACTOR) as uow:
            uow.features.add(a_feature(id=new_id("ftr")))
            uow.coupons.add(a_coupon(id=new_id("cpn")))
    with pytest.raises(FeatureCodeTaken):
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            uow.features.add(a_feature(id=new_id("ftr")))
    with pytest.raises(CouponCodeTaken):
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            uow.coupons.add(a_coupon(id=new_id("cpn")))


async def test_another_tenant_and_no_tenant_see_nothing(catalog: ServiceUnderTest, tenant: str) -> None:
    coupon = await keep(catalog, tenant)
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        uow.features.add(a_feature(id=new_id("ftr")))
        uow.known_customers.put_subscription(KnownSubscription("sub_1", customer(0), None))
        await redeem_coupon(RedeemCoupon(customer(0), coupon.id), uow=uow, clock=FixedClock())
    for other in (new_tenant(), ""):
        async with units_of(catalog).database.transaction(APP, other) as connection:
            for table in TABLES:
                assert (await connection.execute(select(table))).first() is None, table.name
    async with units_of(catalog).database.transaction(APP, tenant) as connection:
        for table in TABLES:
            assert (await connection.execute(select(table))).first() is not None, table.name


async def test_twenty_at_once_meet_a_limit_of_five(catalog: ServiceUnderTest, tenant: str) -> None:
    coupon = await keep(catalog, tenant, redemptions_max=5)
    outcomes = await asyncio.gather(
        *[redeem(catalog, tenant, RedeemCoupon(customer(n), coupon.id)) for n in range(AT_ONCE)]
    )
    assert Counter(outcomes) == {"redeemed": 5, "coupon_exhausted": 15}
    assert await counted(catalog, tenant, coupon.id) == (5, 5, 5)


async def test_twenty_at_once_meet_one_customers_limit(catalog: ServiceUnderTest, tenant: str) -> None:
    coupon = await keep(catalog, tenant, redemptions_per_customer_max=1)
    outcomes = await asyncio.gather(
        *[redeem(catalog, tenant, RedeemCoupon(customer(n % 2), coupon.id)) for n in range(AT_ONCE)]
    )
    assert Counter(outcomes) == {"redeemed": 2, "coupon_exhausted_for_customer": 18}
    assert await counted(catalog, tenant, coupon.id) == (2, 2, 2)


@pytest.mark.parametrize(
    ("limits", "customers", "expected"),
    [
        ({"redemptions_max": 5}, AT_ONCE, 5),
        ({"redemptions_per_customer_max": 1}, 1, 1),
        ({"redemptions_per_customer_max": 3}, 4, 12),
        ({}, 1, AT_ONCE),
    ],
)
async def test_the_rows_keep_the_limits_even_where_nobody_locks_the_coupon(
    catalog: ServiceUnderTest, tenant: str, limits: dict[str, int], customers: int, expected: int
) -> None:
    coupon = await keep(catalog, tenant, **limits)

    async def count(number: int) -> bool:
        try:
            async with units_of(catalog).open(tenant, ACTOR) as uow:
                if not await uow.coupons.count_redemption(coupon.id, customer(number % customers)):
                    raise CouponExhausted("rolled back")
        except CouponExhausted:
            return False
        return True

    assert sum(await asyncio.gather(*[count(number) for number in range(AT_ONCE)])) == expected
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        assert (await uow.coupons.redeemed(coupon.id, None)).overall == expected


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE coupon SET redeemed_count = 6 WHERE id = '{}'",
        "UPDATE coupon SET redeemed_count = -1 WHERE id = '{}'",
        "UPDATE coupon SET percent = 101 WHERE id = '{}'",
        "UPDATE coupon SET amount_minor = 1, currency = 'EUR' WHERE id = '{}'",
        "UPDATE coupon SET percent = NULL WHERE id = '{}'",
        "UPDATE coupon SET duration = 'periods' WHERE id = '{}'",
        "UPDATE coupon SET periods = 3 WHERE id = '{}'",
    ],
)
async def test_the_table_refuses_what_makes_no_sense(
    catalog: ServiceUnderTest, tenant: str, statement: str
) -> None:
    coupon = await keep(catalog, tenant, redemptions_max=5)
    with pytest.raises(Exception, match="violates check constraint"):
        async with units_of(catalog).database.transaction(APP, tenant) as connection:
            await connection.execute(text(statement.format(coupon.id)))


async def test_withdrawing_makes_room_again(catalog: ServiceUnderTest, tenant: str) -> None:
    coupon = await keep(catalog, tenant, redemptions_max=1, redemptions_per_customer_max=1)
    command = RedeemCoupon(customer(0), coupon.id)
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        first = await redeem_coupon(command, uow=uow, clock=FixedClock())
    assert await redeem(catalog, tenant, command) == "coupon_exhausted"

    async def withdraw() -> None:
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            await withdraw_coupon_redemption(
                WithdrawCouponRedemption(first.id), uow=uow, clock=FixedClock(), check_version=any_version
            )

    await asyncio.gather(*[withdraw() for _ in range(4)])
    assert await counted(catalog, tenant, coupon.id) == (0, 0, 0)
    assert await redeem(catalog, tenant, command) == "redeemed"
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        assert await uow.coupons.redeemed(coupon.id, customer(0)) == RedemptionCount(1, 1)
        assert await uow.coupons.redeemed(coupon.id, customer(1)) == RedemptionCount(1, 0)


async def redeem(catalog: ServiceUnderTest, tenant: str, command: RedeemCoupon) -> str:
    try:
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            await redeem_coupon(command, uow=uow, clock=FixedClock())
    except (CouponExhausted, CouponExhaustedForCustomer) as refused:
        return refused.code
    return "redeemed"


async def counted(catalog: ServiceUnderTest, tenant: str, coupon_id: str) -> tuple[int, int, int]:
    """Counted at the coupon, at its customers, and the redemptions that stand."""
    redemption = rows.coupon_redemption
    async with units_of(catalog).database.transaction(APP, tenant) as connection:
        overall = await connection.scalar(
            select(rows.coupon.c.redeemed_count).where(rows.coupon.c.id == coupon_id)
        )
        by_customer = await connection.scalars(
            select(rows.coupon_customer.c.redeemed_count).where(rows.coupon_customer.c.coupon_id == coupon_id)
        )
        standing = await connection.scalars(
            select(redemption.c.id).where(
                redemption.c.coupon_id == coupon_id, redemption.c.withdrawn_at.is_(None)
            )
        )
        return overall or 0, sum(by_customer), len(standing.all())
