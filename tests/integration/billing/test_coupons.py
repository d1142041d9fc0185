"""Coupons on real invoices: in their order, once each, and back again when an invoice is voided."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.catalog import CouponRedeemedV1, CouponRedemptionWithdrawnV1, CouponV1
from libs.common.contracts.subscriptions import CustomerV1
from libs.common.ids import new_id
from services.billing.application.give_back import give_back
from tests.integration.billing.test_customer_balances import a_fee, audit_is_clean
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story, a_customer


def redeemed(story: Story, **changes: Any) -> CouponRedeemedV1:
    """By the story's customer, before it begins, for all that he has; 10 % for ever, unless told otherwise."""
    subscription_id = changes.pop("subscription_id", None)
    of_coupon = {"percent": Decimal(10), "duration": "forever", "code": "spring", **changes}
    if "amount" in changes:
        of_coupon |= {"percent": None, "currency": "USD"}
    return CouponRedeemedV1(
        tenant=story.tenant,
        occurred_at=story.boundary(0) - timedelta(days=1),
        redemption_id=new_id("rdm"),
        customer_id=story.customer.customer_id,
        subscription_id=subscription_id,
        coupon=CouponV1(coupon_id=new_id("cpn"), coupon_version=1, name="Spring", **of_coupon),
    )


def withdrawn(redemption: CouponRedeemedV1) -> CouponRedemptionWithdrawnV1:
    return CouponRedemptionWithdrawnV1(
        tenant=redemption.tenant,
        occurred_at=redemption.occurred_at,
        redemption_id=redemption.redemption_id,
        coupon_id=redemption.coupon.coupon_id,
        customer_id=redemption.customer_id,
    )


async def standings(bench: Workbench, tenant: str) -> list[tuple[int, int, int]]:
    return [
        (row["subtotal_minor"], row["discount_minor"], row["total_minor"])
        for row in await bench.invoices(tenant)
        if row["status"] in ("finalized", "paid")
    ]


async def uses(bench: Workbench, tenant: str) -> list[tuple[str, int]]:
    found = await bench.rows("SELECT * FROM coupon_use WHERE tenant = $1 ORDER BY recorded_at, id", tenant)
    return [(row["kind"], row["amount_minor"]) for row in found]


@pytest.mark.parametrize(
    ("changes", "discounts"),
    [
        ({}, [1000, 1000, 1000]),
        ({"duration": "once"}, [1000, 0, 0]),
        ({"duration": "periods", "periods": 2}, [1000, 1000, 0]),
        ({"amount": Decimal(150), "duration": "once"}, [10000, 5000, 0]),
        ({"amount": Decimal(150), "duration": "forever"}, [10000, 10000, 10000]),
        ({"amount": Decimal("7.5"), "duration": "periods", "periods": 1}, [750, 0, 0]),
        ({"product_ids": ("prd_other",)}, [0, 0, 0]),
        ({"plan_codes": ("other",)}, [0, 0, 0]),
    ],
    ids=["for_ever", "once", "two_periods", "an_amount_once", "an_amount_each", "for_one", "product", "plan"],
)
async def test_three_periods(
    bench: Workbench, tenant: str, changes: dict[str, Any], discounts: list[int]
) -> None:
    """The same, whether they come one by one or in one batch."""
    await bench.add_seller(tenant)
    one, together = a_fee("100", a_customer(), tenant), a_fee("100", a_customer(), tenant)
    for story in (one, together):
        await bench.hear(redeemed(story, **changes))
    for event in (one.started(), one.renewed(1), one.renewed(2)):
        await bench.hear(event)
    await bench.hear(together.started(), together.renewed(1), together.renewed(2))
    expected = [(10000, off, 10000 - off) for off in discounts for _ in "12"]
    assert await standings(bench, tenant) == expected
    for row in await bench.invoices(tenant):
        told = [discount["amount_minor"] for discount in json.loads(row["discounts"])]
        assert sum(told) == row["discount_minor"]


async def test_coupons_apply_in_their_order_and_say_so(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = a_fee("100", a_customer(), tenant)
    await bench.hear(
        redeemed(story, code="b-percent", stacking_order=2),
        redeemed(story, code="a-amount", amount=Decimal(20), duration="once", stacking_order=1),
        redeemed(a_fee("1", a_customer(), tenant), code="of-another"),
    )
    await bench.hear(story.started())
    (row,) = await bench.invoices(tenant)
    assert [discount["told"] for discount in json.loads(row["discounts"])] == [
        "a-amount: 20.00 USD off 100.00 USD = 20.00 USD",
        "b-percent: 10 % of 80.00 USD = 8.00 USD",
    ]
    assert (row["discount_minor"], row["net_minor"]) == (2800, 7200)


async def test_two_invoices_at_once_use_an_amount_once(bench: Workbench, tenant: str) -> None:
    """Two workers, each with two invoices of one customer: together they take off what there is."""
    await bench.add_seller(tenant)
    customer = a_customer()
    stories = [a_fee("40", customer, tenant) for _ in range(4)]
    await bench.hear(redeemed(stories[0], amount=Decimal(100), duration="once"))
    await asyncio.gather(
        bench.hear(stories[0].started(), stories[1].started()),
        bench.hear(stories[2].started(), stories[3].started()),
    )
    found = await standings(bench, tenant)
    assert sorted(off for _, off, _ in found) == [0, 2000, 4000, 4000]
    (redemption,) = await bench.rows("SELECT * FROM coupon_redemption WHERE tenant = $1", tenant)
    assert (redemption["used_minor"], redemption["used_count"]) == (10000, 3)


async def test_what_a_voided_invoice_used_can_be_used_again(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = a_fee("60", a_customer(), tenant)
    await bench.hear(redeemed(story, amount=Decimal(100), duration="once"))
    await bench.hear(story.started())
    (row,) = await bench.invoices(tenant)
    for _ in range(2):  # a repeat gives nothing back
        async with bench.open(tenant) as uow:
            invoice = await uow.invoices.get_for_update(row["id"])
            await give_back(invoice, now=story.boundary(0), uow=uow)
    assert await uses(bench, tenant) == [("used", 6000), ("given_back", -6000)]
    await bench.hear(story.renewed(1), story.renewed(2))
    assert [off for _, off, _ in await standings(bench, tenant)] == [6000, 6000, 4000]


async def test_one_that_was_withdrawn_takes_nothing_off(bench: Workbench, tenant: str) -> None:
    """Whichever of the two news comes first."""
    await bench.add_seller(tenant)
    one, two = a_fee("100", a_customer(), tenant), a_fee("100", a_customer(), tenant)
    kept, lost = redeemed(one), redeemed(two)
    await bench.hear(kept)
    await bench.hear(withdrawn(lost))
    await bench.hear(lost)
    await bench.hear(one.started(), two.started())
    await bench.hear(withdrawn(kept))
    await bench.hear(one.renewed(1))
    assert sorted(off for _, off, _ in await standings(bench, tenant)) == [0, 0, 1000]


async def test_a_coupon_for_one_subscription(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    customer = a_customer()
    one, two = a_fee("100", customer, tenant), a_fee("50", customer, tenant)
    await bench.hear(redeemed(one, subscription_id=one.subscription_id))
    await bench.hear(one.started(), two.started())
    assert sorted(await standings(bench, tenant)) == [(5000, 0, 5000), (10000, 1000, 9000)]


async def test_a_payer_pays_less_for_what_the_user_has(bench: Workbench, tenant: str) -> None:
    payer: CustomerV1 = a_customer(name="Holding")
    await bench.add_seller(tenant)
    story = a_fee("100", a_customer(), tenant, payer=payer)
    await bench.hear(redeemed(story))
    await bench.hear(story.started())
    assert await standings(bench, tenant) == [(10000, 1000, 9000)]


async def test_the_books_agree(own_bench: Workbench, tenant: str) -> None:
    await own_bench.add_seller(tenant)
    story = a_fee("100", a_customer(), tenant)
    await own_bench.hear(redeemed(story), redeemed(story, code="x", amount=Decimal(5), duration="once"))
    await own_bench.hear(story.started(), story.renewed(1))
    await audit_is_clean(own_bench)
    async with own_bench.admin() as admin:
        await admin.execute("UPDATE coupon_redemption SET used_minor = used_minor + 1 WHERE used_count = 2")
    report = await own_bench.audit()
    assert "coupons_are_used_as_invoices_say" in {check.name for check in report.checks if not check.ok}
