"""Be told no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import UsageAlertNotFound


@dataclass(frozen=True, slots=True)
class WithdrawUsageAlert:
    alert_id: str


async def withdraw_usage_alert(
    command: WithdrawUsageAlert, *, uow: UnitOfWork, check_version: Callable[[int | None], None]
) -> None:
    """Forget the alert and what it has fired; what was told stays told.

    Raises: UsageAlertNotFound, and what `check_version` raises.
    """
    alert = await uow.alerts.find(command.alert_id, for_update=True)
    if alert is None:
        raise UsageAlertNotFound("no usage alert has this id", usage_alert_id=command.alert_id)
    check_version(alert.version)
    await uow.alerts.remove(alert.id)
    uow.record("usage_alert.withdrawn", alert.id, alert.version + 1)
