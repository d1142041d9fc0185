"""A unit of work in memory with one customer and one plan, and a clock that stands still."""

from __future__ import annotations

import pytest

from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_customer, a_plan


@pytest.fixture
def uow() -> MemorySubscriptionsUnitOfWork:
    uow = MemorySubscriptionsUnitOfWork()
    uow.customers.add(a_customer())
    plan = a_plan()
    uow.plans.by_id[plan.plan_version_id] = plan
    return uow


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()
