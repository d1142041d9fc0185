"""Entitlements over HTTP: from plans, add-ons and balances as they are stored, for the customer who uses."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from libs.common.contracts.catalog import FeatureGrantV1
from libs.common.contracts.metering import (
    AggregationV1,
    MeterDefinedV1,
    UsageBalanceUpdatedV1,
    UsageCorrectedV1,
    UsageTotalV1,
    UsageWindowClosedV1,
)
from libs.common.contracts.subscriptions import TestClockMovedV1
from services.subscriptions.adapters import rows
from tests.integration.subscriptions.story import Story, instant, usage_item
from tests.support.subscriptions import MINUTES, NOW, utc

PATH = "/v1/entitlements"
CLOCK_NOW = "2025-06-10T00:00:00Z"
FEATURES = (
    FeatureGrantV1(feature_id="ftr_1", code="support", kind="switch"),
    FeatureGrantV1(feature_id="ftr_2", code="seats", kind="limit", limit=Decimal(5)),
    FeatureGrantV1(feature_id="ftr_3", code="minutes", kind="metered", allowance=Decimal(100), meter=MINUTES),
    FeatureGrantV1(
        feature_id="ftr_4",
        code="minutes-a-year",
        kind="metered",
        allowance=Decimal(1000),
        meter=MINUTES,
        overage_allowed=True,
        interval_unit="year",
    ),
)


@pytest.fixture
async def story(story: Story) -> Story:
    plan = story.plan.model_copy(
        update={
            "features": FEATURES,
            "code": "featured",
            "plan_version_id": f"{story.plan.plan_version_id[:-1]}z",
        }
    )
    await story.hear_of_plan(plan)
    story.plan = plan
    return story


async def a_subscription(story: Story, client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Monthly from January on, in the period that began on 31 May."""
    clock = await story.test_clock(client, CLOCK_NOW)
    now = instant(CLOCK_NOW)
    await story.hear(
        TestClockMovedV1(tenant=story.tenant, occurred_at=now, clock_id=clock["id"], now=now, version=1)
    )
    made = await story.subscription(client, test_clock_id=clock["id"], zone="UTC", **body)
    while await story.job().run_once():
        pass
    shown: dict[str, Any] = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert shown["current_period"]["start_on"] == "2025-05-31", shown
    return shown


def balance(
    story: Story,
    subscription: dict[str, Any],
    quantity: int | str,
    *,
    version: int = 1,
    index: int = 4,
    start: str = "2025-05-31",
    **changes: Any,
) -> UsageBalanceUpdatedV1:
    return UsageBalanceUpdatedV1(
        tenant=story.tenant,
        version=version,
        occurred_at=NOW,
        subscription_id=subscription["id"],
        item_id=usage_item(subscription),
        meter=MINUTES,
        period_index=index,
        period_start=utc(start),
        period_end=utc("2025-06-30"),
        quantity=Decimal(quantity),
        as_of=NOW,
        **changes,
    )


def closed(
    story: Story, subscription: dict[str, Any], *totals: tuple[str | None, int], version: int = 1
) -> UsageWindowClosedV1 | UsageCorrectedV1:
    given: dict[str, Any] = {
        "tenant": story.tenant,
        "version": version,
        "occurred_at": NOW,
        "window_id": f"uwin_{subscription['id']}",
        "subscription_id": subscription["id"],
        "period_index": 4,
        "window_start": utc("2025-05-31"),
        "window_end": utc("2025-06-30"),
        "totals": tuple(
            UsageTotalV1(
                item_id=usage_item(subscription),
                meter=MINUTES,
                quantity=Decimal(quantity),
                event_count=1,
                price_id=price,
            )
            for price, quantity in totals
        ),
    }
    if version == 1:
        return UsageWindowClosedV1(**given)
    return UsageCorrectedV1(**given, revision=version - 1, before=())


async def asked(client: httpx.AsyncClient, subscription: dict[str, Any], **wanted: str) -> dict[str, Any]:
    """What is granted, by the code of the feature."""
    answer = await client.get(PATH, params={"customer_id": subscription["customer_id"], **wanted})
    assert answer.status_code == 200, answer.text
    return {entitlement["feature"]: entitlement for entitlement in answer.json()["data"]}


async def test_all_that_a_plan_grants_is_answered(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        await story.hear(balance(story, subscription, 30))
        found = await asked(client, subscription)
        assert list(found) == ["minutes", "minutes-a-year", "seats", "support"]
        assert found["support"] == {
            "feature": "support",
            "feature_id": "ftr_1",
            "kind": "switch",
            "allowed": True,
            "reason": None,
            "limit": None,
            "allowance": None,
            "used": None,
            "remaining": None,
            "overage_allowed": None,
            "resets_at": None,
            "as_of": None,
            "subscription_ids": [subscription["id"]],
        }
        assert found["seats"]["limit"] == "5"
        minutes = found["minutes"]
        assert (minutes["allowance"], minutes["used"], minutes["remaining"]) == ("100", "30", "70")
        assert minutes["resets_at"] == "2025-06-30T00:00:00Z"
        assert datetime.fromisoformat(minutes["as_of"]) == NOW


async def test_an_allowance_of_a_year_counts_its_billing_periods(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        await story.hear(
            balance(story, subscription, 200, index=0, start="2025-01-31"),
            balance(story, subscription, 300, index=3, start="2025-04-30"),
            balance(story, subscription, 40),
        )
        found = await asked(client, subscription)
        assert (found["minutes"]["used"], found["minutes-a-year"]["used"]) == ("40", "540")
        assert found["minutes-a-year"]["resets_at"] == "2026-01-31T00:00:00Z"


async def test_the_newest_balance_holds_in_whatever_order_they_come(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        for version, quantity in ((2, 20), (1, 10), (4, 40), (3, 30)):
            await story.hear(balance(story, subscription, quantity, version=version))
        assert (await asked(client, subscription))["minutes"]["used"] == "40"
        await story.hear(
            balance(story, subscription, 60, version=6), balance(story, subscription, 50, version=5)
        )
        assert (await asked(client, subscription))["minutes"]["used"] == "60"


async def test_what_is_said_when_the_window_closes_holds_from_then_on(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        await story.hear(balance(story, subscription, 20))
        await story.hear(closed(story, subscription, ("prc_1", 30), ("prc_2", 4)))
        await story.hear(balance(story, subscription, 99, version=9))
        assert (await asked(client, subscription))["minutes"]["used"] == "34"
        await story.hear(closed(story, subscription, (None, 50), version=3))
        await story.hear(closed(story, subscription, (None, 40), version=2))
        assert (await asked(client, subscription))["minutes"]["used"] == "50"


@pytest.mark.parametrize("told_by", ["meter", "balance"])
@pytest.mark.parametrize(
    ("aggregation", "together"),
    [("sum", "34"), ("max", "30"), ("peak", "30"), ("min", "4"), ("latest", "4"), ("time_weighted", "34")],
)
async def test_what_the_parts_of_a_window_come_to_is_told_by_what_the_meter_does(
    story: Story, aggregation: AggregationV1, together: str, told_by: str
) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        if told_by == "balance":
            await story.hear(balance(story, subscription, 20, aggregation=aggregation))
        else:
            await story.hear(defined(story, aggregation, version=2), defined(story, "count"))
        await story.hear(closed(story, subscription, ("prc_1", 30), ("prc_2", 4)))
        assert (await asked(client, subscription))["minutes"]["used"] == together


def defined(story: Story, aggregation: AggregationV1, version: int = 1) -> MeterDefinedV1:
    return MeterDefinedV1(
        tenant=story.tenant,
        version=version,
        occurred_at=NOW,
        meter_id="mtr_1",
        code=MINUTES,
        aggregation=aggregation,
    )


async def test_parts_of_a_meter_that_nobody_told_of_add_up(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        await story.hear(closed(story, subscription, ("prc_1", 30), ("prc_2", 4)))
        assert (await asked(client, subscription))["minutes"]["used"] == "34"


async def test_a_suspended_subscription_grants_nothing_and_says_why(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        failed = story.failed(subscription["id"], "inv_1")
        await story.hear(failed.model_copy(update={"next_attempt_at": NOW}))
        assert len(await asked(client, subscription)) == 4  # past due: it may still be used
        await story.hear(failed)
        assert await asked(client, subscription) == {}
        answer = (await asked(client, subscription, feature="support"))["support"]
        assert (answer["allowed"], answer["reason"], answer["kind"]) == (False, "suspended", "switch")
        await story.hear(story.paid(subscription["id"], "inv_1"))
        assert len(await asked(client, subscription)) == 4


async def test_one_feature_is_answered_whether_it_is_granted_or_not(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        await story.hear(balance(story, subscription, 100))
        for feature, allowed, reason in (
            ("seats", True, None),
            ("minutes", False, "used_up"),
            ("minutes-a-year", True, None),
        ):
            [answer] = (await asked(client, subscription, feature=feature)).values()
            assert (answer["feature"], answer["allowed"], answer["reason"]) == (feature, allowed, reason)


async def test_a_feature_that_nothing_grants_has_no_answer(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        assert await asked(client, subscription, feature="unheard-of") == {}


async def test_who_uses_counts_and_not_who_pays(story: Story) -> None:
    async with story.client() as client:
        payer = await story.customer(client)
        child = await story.customer(client, parent_id=payer["id"])
        subscription = await a_subscription(story, client, customer_id=child["id"])
        assert len(await asked(client, subscription)) == 4
        assert await asked(client, {"customer_id": payer["id"]}) == {}


async def test_two_subscriptions_grant_together(story: Story) -> None:
    async with story.client() as client:
        one = await a_subscription(story, client)
        two = await a_subscription(story, client, customer_id=one["customer_id"])
        await story.hear(balance(story, one, 30), balance(story, two, 50))
        found = await asked(client, one)
        assert found["seats"]["limit"] == "10"
        assert [found["minutes"][name] for name in ("allowance", "used", "remaining")] == ["200", "80", "120"]


async def test_an_add_on_grants_while_it_is_agreed_on(story: Story) -> None:
    add_on = story.plan.model_copy(
        update={
            "code": "more-seats",
            "plan_version_id": f"{story.plan.plan_version_id[:-1]}y",
            "features": (FEATURES[1].model_copy(update={"limit": Decimal(20)}),),
        }
    )
    await story.hear_of_plan(add_on)
    async with story.client() as client:
        subscription = await a_subscription(story, client)

        async def agree(end: str | None) -> None:
            await story.as_admin(
                "INSERT INTO item_segment (tenant, subscription_id, ordinal, item_id, price_id, price_code, kind, "
                "plan_version_id, add_on, start_at, start_on, end_at, end_on) "
                "SELECT tenant, subscription_id, 90, id, price_id, price_code, kind, :version, 'more-seats', "
                "'2025-06-01', '2025-06-01', CAST(:end AS timestamptz), CAST(CAST(:end AS timestamptz) AS date) "
                "FROM subscription_item WHERE subscription_id = :id AND kind = 'usage' "
                "ON CONFLICT (subscription_id, ordinal) DO UPDATE SET end_at = excluded.end_at, end_on = excluded.end_on",
                version=add_on.plan_version_id,
                id=subscription["id"],
                end=None if end is None else utc(end),
            )

        await agree(None)
        assert (await asked(client, subscription))["seats"]["limit"] == "25"
        await agree("2025-06-09")
        assert (await asked(client, subscription))["seats"]["limit"] == "5"
    # An item has one segment at a time; the audit of all tenants would say so.
    await story.as_admin("DELETE FROM item_segment WHERE subscription_id = :id", id=subscription["id"])
    await story.as_admin("DELETE FROM revenue_movement WHERE subscription_id = :id", id=subscription["id"])


async def test_a_customer_sees_his_own_and_strangers_nothing(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        mine = subscription["customer_id"]
        other = (await story.customer(client))["id"]
        async with story.client("subscriptions:read", customer=mine) as portal:
            assert len(await asked(portal, subscription)) == 4
            assert (await portal.get(PATH)).json()["customer_id"] == mine
            answer = await portal.get(PATH, params={"customer_id": other})
            assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")
        answer = await client.get(PATH, params={"customer_id": "cus_00000000000000000000000000"})
        assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")
        answer = await client.get(PATH)
        assert (answer.status_code, answer.json()["code"]) == (422, "customer_unnamed")


async def test_balances_are_kept_one_for_each_item_and_period(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_subscription(story, client)
        for version in (1, 2, 3):
            await story.hear(balance(story, subscription, version, version=version))
        await story.hear(balance(story, subscription, 9, index=3, start="2025-04-30"))
    kept = [(row["period_index"], row["quantity"]) for row in await story.rows(rows.usage_balance)]
    assert sorted(kept) == [(3, Decimal(9)), (4, Decimal(3))]


async def test_the_answer_is_found_by_index(story: Story) -> None:
    plan = await story.plan_of(
        "SELECT * FROM usage_balance WHERE subscription_id = 'sub_1' AND period_start >= '2025-01-01'"
    )
    assert any("ix_usage_balance_tenant_subscription_id" in line for line in plan), plan
