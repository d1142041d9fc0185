"""The use case that says what a customer may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import pytest

from libs.common.periods import Interval
from services.subscriptions.application.answer_entitlements import (
    AnswerEntitlements,
    CustomerUnnamed,
    answer_entitlements,
)
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.billing_period import Calendar
from services.subscriptions.domain.customer import CustomerNotFound
from services.subscriptions.domain.entitlement import FeatureGrant, Granting, TimeSpan, UsageBalance
from services.subscriptions.domain.lifecycle import SubscriptionState
from tests.support.clocks import FixedClock

CLOCK = FixedClock()
START, END = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
SUPPORT = FeatureGrant("ftr_1", "support", "switch")
WASHES = FeatureGrant("ftr_2", "washes", "metered", allowance=Decimal(12), meter="washes")


def granting(*grants: FeatureGrant, state: SubscriptionState = SubscriptionState.ACTIVE) -> Granting:
    calendar = Calendar(date(2025, 6, 1), Interval("month"), "UTC")
    return Granting("sub_1", state, calendar, TimeSpan(START, END), CLOCK.now, grants)


class Kept:
    """One customer, `cus_1`, and what is asked of the balances."""

    def __init__(self, *found: Granting) -> None:
        self.found = found
        self.asked: list[Mapping[str, datetime]] = []
        self.entitlements = self.usage_balances = self

    async def find(self, customer_id: str, system_now: datetime) -> Sequence[Granting] | None:
        assert system_now == CLOCK.now
        return self.found if customer_id == "cus_1" else None

    async def list_since(self, starts: Mapping[str, datetime]) -> Sequence[UsageBalance]:
        self.asked.append(starts)
        return [UsageBalance("sub_1", "washes", START, Decimal(5), "sum", CLOCK.now)]


async def answer(kept: Kept, customer_id: str | None = "cus_1", **more: Any) -> list[Any]:
    question = AnswerEntitlements(customer_id, **more)
    found = await answer_entitlements(question, uow=cast(UnitOfWork, kept), clock=CLOCK)
    assert found.customer_id == "cus_1"
    return [(one.code, one.allowed, one.reason, one.remaining) for one in found.granted]


async def test_balances_are_asked_for_from_where_they_are_needed() -> None:
    kept = Kept(granting(SUPPORT, WASHES))
    assert await answer(kept) == [("support", True, None, None), ("washes", True, None, 7)]
    assert kept.asked == [{"sub_1": START}]


async def test_without_anything_metered_no_balance_is_asked_for() -> None:
    kept = Kept(granting(SUPPORT))
    assert await answer(kept) == [("support", True, None, None)]
    assert kept.asked == []


async def test_one_feature_is_told_with_the_reason_why_it_is_withheld_or_not_at_all() -> None:
    suspended = Kept(granting(SUPPORT, state=SubscriptionState.SUSPENDED))
    assert await answer(suspended) == []
    assert await answer(suspended, feature="support") == [("support", False, "suspended", None)]
    assert await answer(suspended, feature="washes") == []
    assert await answer(Kept(granting(SUPPORT, WASHES)), feature="washes") == [("washes", True, None, 7)]


async def test_a_customer_asks_for_himself_and_for_nobody_else() -> None:
    kept = Kept(granting(SUPPORT))
    assert len(await answer(kept, None, of="cus_1")) == 1
    assert len(await answer(kept, "cus_1", of="cus_1")) == 1
    for customer_id, of in (("cus_1", "cus_2"), ("cus_2", None)):
        with pytest.raises(CustomerNotFound):
            await answer(kept, customer_id, of=of)
    with pytest.raises(CustomerUnnamed):
        await answer(kept, None)
