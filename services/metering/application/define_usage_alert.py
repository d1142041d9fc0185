"""Ask to be told when the usage of a billing period reaches marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from libs.common.ids import new_id
from services.metering.application.fire_usage_alerts import FireUsageAlerts, fire_usage_alerts
from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import MeteredItemNotFound
from services.metering.domain.usage_alert import UsageAlert, marks_of

ALERTS_MAX = 100


class TooManyUsageAlerts(RuleViolation):
    code: ClassVar[str] = "too_many_usage_alerts"
    title: ClassVar[str] = "There are too many usage alerts"


@dataclass(frozen=True, slots=True)
class DefineUsageAlert:
    """About one item, or about all items of a subscription that the meter measures; one of the two is None.

    `quantities` and `percents` are the marks: each has one of the two.
    """

    subscription_id: str | None
    item_id: str | None
    meter: str
    limit: Decimal | None
    quantities: Sequence[Decimal | None]
    percents: Sequence[Decimal | None]
    name: str | None = None


async def define_usage_alert(command: DefineUsageAlert, *, uow: UnitOfWork, clock: Clock) -> UsageAlert:
    """Keep the alert, and fire the marks that usage has reached already.

    The tenant's writers wait meanwhile: who binds a subject is either seen here, or sees the alert.
    Emits: UsageThresholdReached for each of those. Raises: MeteredItemNotFound, InvalidUsageAlert, TooManyUsageAlerts.
    """
    marks = marks_of(command.quantities, command.percents, command.limit)
    await uow.usage.stop_writers()
    found = await uow.alerts.find_watched(
        subscription_id=command.subscription_id, item_id=command.item_id, meter=command.meter
    )
    if found is None:
        raise MeteredItemNotFound(
            "nothing of this id is measured by this meter",
            pointer="/subscription_id" if command.item_id is None else "/item_id",
            remedy="Name an item whose price is for usage, or its subscription, and the meter of the price.",
            meter=command.meter,
        )
    if await uow.alerts.count(found.subscription_id) >= ALERTS_MAX:
        raise TooManyUsageAlerts(f"a subscription has at most {ALERTS_MAX} usage alerts")
    alert = UsageAlert(
        id=new_id("ualt"),
        subscription_id=found.subscription_id,
        customer_id=found.customer_id,
        item_id=command.item_id,
        meter=command.meter,
        limit=command.limit,
        marks=marks,
        name=command.name,
        created_at=clock.system_now(),
    )
    await uow.alerts.add(alert)
    uow.record("usage_alert.defined", alert.id)
    await fire_usage_alerts(FireUsageAlerts([alert]), uow=uow, clock=clock)
    return alert
