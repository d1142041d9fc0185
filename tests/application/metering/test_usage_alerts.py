"""The use cases of alerts: what fires, once, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.metering import UsageThresholdReachedV1
from services.metering.application import define_usage_alert as use_case
from services.metering.application.bind_subject import bind_subject
from services.metering.application.define_meter import DefineMeter, define_meter
from services.metering.application.define_usage_alert import (
    DefineUsageAlert,
    TooManyUsageAlerts,
    define_usage_alert,
)
from services.metering.application.end_usage_window import end_usage_window
from services.metering.application.fire_usage_alerts import FireUsageAlerts, fire_usage_alerts
from services.metering.application.open_usage_window import open_usage_window
from services.metering.application.ports import MeteredSubscription
from services.metering.application.queries import MeteredItemNotFound, UsageAlertNotFound
from services.metering.application.withdraw_usage_alert import WithdrawUsageAlert, withdraw_usage_alert
from services.metering.domain.usage_alert import InvalidUsageAlert, UsageAlert
from tests.application.metering.memory import MemoryMeteringUnitOfWork
from tests.application.metering.test_windows import BINDING, END, GRACE, START, a_period, ingest
from tests.support.clocks import FixedClock

CLOCK = FixedClock(datetime(2026, 3, 1, tzinfo=UTC))
ASKED = DefineUsageAlert("sub_1", None, "minutes", Decimal(10), [Decimal(5), None], [None, Decimal(100)])


async def begin(uow: MemoryMeteringUnitOfWork) -> None:
    meter = DefineMeter("minutes", "flight.landed", "sum", "/minutes")
    await define_meter(meter, uow=uow, clock=CLOCK)
    uow.subscriptions.learn(MeteredSubscription("sub_1", 1, "cus_1", "UTC", "clk_1", items=a_period().items))
    await open_usage_window(a_period(), grace=GRACE, uow=uow)
    await bind_subject(BINDING, uow=uow)


async def define(uow: MemoryMeteringUnitOfWork, **changes: Any) -> UsageAlert:
    return await define_usage_alert(replace(ASKED, **changes), uow=uow, clock=CLOCK)


def told(uow: MemoryMeteringUnitOfWork) -> list[tuple[int, Decimal, Decimal]]:
    return [
        (e.period_index, e.threshold, e.quantity)
        for e in uow.outbox.events
        if isinstance(e, UsageThresholdReachedV1)
    ]


async def test_marks_fire_once_each_in_order_and_again_in_the_next_period(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await begin(uow)
    alert = await define(uow)
    await ingest(uow, "a", 12)
    for _ in range(3):
        await fire_usage_alerts(FireUsageAlerts([alert]), uow=uow, clock=CLOCK)
    assert told(uow) == [(0, Decimal(5), Decimal(12)), (0, Decimal(10), Decimal(12))]
    event = next(e for e in uow.outbox.events if isinstance(e, UsageThresholdReachedV1))
    assert (event.period_start, event.period_end, event.test_clock) == (START, END, "clk_1")
    assert event.occurred_at < event.as_of == CLOCK.system_now()
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    await fire_usage_alerts(FireUsageAlerts([alert]), uow=uow, clock=CLOCK)
    following = replace(a_period(), period_index=1, start=END, end=END + timedelta(days=28), now=END)
    await open_usage_window(following, grace=GRACE, uow=uow)
    await fire_usage_alerts(FireUsageAlerts([alert]), uow=uow, clock=CLOCK)
    assert len(told(uow)) == 2


async def test_a_mark_that_is_passed_fires_when_the_alert_is_made(uow: MemoryMeteringUnitOfWork) -> None:
    await begin(uow)
    await ingest(uow, "a", 7)
    await define(uow, subscription_id=None, item_id="si_1")
    assert told(uow) == [(0, Decimal(5), Decimal(7))]
    told_of = [(recorded.action, recorded.version) for recorded in uow.recorded]
    assert told_of[-2:] == [("usage_alert.defined", 1), ("usage_alert.fired", 1)]


async def test_what_is_not_measured_is_not_watched_and_there_is_an_end_to_alerts(
    uow: MemoryMeteringUnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(uow)
    for changes in (
        {"meter": "other"},
        {"subscription_id": "sub_2"},
        {"subscription_id": None, "item_id": "si_9"},
    ):
        with pytest.raises(MeteredItemNotFound):
            await define(uow, **changes)
    with pytest.raises(InvalidUsageAlert):
        await define(uow, limit=None)
    monkeypatch.setattr(use_case, "ALERTS_MAX", 1)
    await define(uow)
    with pytest.raises(TooManyUsageAlerts):
        await define(uow)


async def test_an_alert_that_is_withdrawn_is_gone_with_what_it_fired(uow: MemoryMeteringUnitOfWork) -> None:
    await begin(uow)
    await ingest(uow, "a", 7)
    alert, versions = await define(uow), list[int | None]()
    await withdraw_usage_alert(WithdrawUsageAlert(alert.id), uow=uow, check_version=versions.append)
    assert (versions, uow.alerts.by_id, uow.alerts.firings) == ([1], {}, {})
    with pytest.raises(UsageAlertNotFound):
        await withdraw_usage_alert(WithdrawUsageAlert(alert.id), uow=uow, check_version=versions.append)
