"""The use case that says how much was used so far."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from libs.common.contracts.metering import UsageBalanceUpdatedV1
from services.metering.application.bind_subject import bind_subject
from services.metering.application.define_meter import DefineMeter, define_meter
from services.metering.application.end_usage_window import end_usage_window
from services.metering.application.open_usage_window import FIRST_BALANCE_AFTER, open_usage_window
from services.metering.application.ports import MeteredSubscription
from services.metering.application.tell_usage_balances import TellUsageBalances, tell_usage_balances
from tests.application.metering.memory import MemoryMeteringUnitOfWork
from tests.application.metering.test_windows import BINDING, END, GRACE, START, a_period, ingest
from tests.support.clocks import FixedClock

SYSTEM_NOW = datetime(2026, 3, 1, tzinfo=UTC)
CLOCK = FixedClock(SYSTEM_NOW)


async def a_window_under_way(uow: MemoryMeteringUnitOfWork) -> None:
    meter = DefineMeter("minutes", "flight.landed", "sum", "/minutes")
    await define_meter(meter, uow=uow, clock=CLOCK)
    uow.subscriptions.learn(MeteredSubscription("sub_1", 1, "cus_1", "UTC", "clk_1", items=a_period().items))
    await open_usage_window(a_period(), grace=GRACE, uow=uow)
    uow.outbox.appended.clear()


async def tell(uow: MemoryMeteringUnitOfWork) -> list[UsageBalanceUpdatedV1]:
    uow.outbox.appended.clear()
    await tell_usage_balances(TellUsageBalances(["si_1"]), uow=uow, clock=CLOCK)
    return [event for event in uow.outbox.events if isinstance(event, UsageBalanceUpdatedV1)]


async def test_a_window_that_opens_notes_its_items_for_a_little_later(uow: MemoryMeteringUnitOfWork) -> None:
    await a_window_under_way(uow)
    assert uow.balances.noted == {"si_1": FIRST_BALANCE_AFTER}
    await bind_subject(BINDING, uow=uow)
    assert uow.balances.noted == {"si_1": timedelta(0)}
    assert uow.balances.noted_meters == ["minutes"]


async def test_what_was_used_is_said_when_it_differs_from_what_was_said(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await a_window_under_way(uow)
    [zero] = await tell(uow)
    assert (zero.version, zero.quantity, zero.period_index) == (1, 0, 0)
    assert (zero.period_start, zero.period_end) == (START, END)
    assert await tell(uow) == []
    await bind_subject(BINDING, uow=uow)
    await ingest(uow, "a", 5)
    [said] = await tell(uow)
    assert (said.version, said.quantity, said.as_of, said.test_clock) == (2, 5, SYSTEM_NOW, "clk_1")
    assert said.occurred_at < said.as_of  # the business now of the customer's clock
    assert [appended.key for appended in uow.outbox.appended] == ["si_1"]


async def test_a_period_that_is_over_has_no_balance_and_the_next_begins_with_zero(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await a_window_under_way(uow)
    await tell(uow)
    await bind_subject(BINDING, uow=uow)
    await ingest(uow, "a", 5)
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    assert await tell(uow) == []
    following = replace(a_period(), period_index=1, start=END, end=END + timedelta(days=28), now=END)
    await open_usage_window(following, grace=GRACE, uow=uow)
    [said] = await tell(uow)
    assert (said.version, said.period_index, said.quantity) == (2, 1, 0)
