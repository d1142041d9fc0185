"""A billing period begins: its usage window is opened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_window import MeteredItem, UsageWindow, window_id


@dataclass(frozen=True, slots=True)
class OpenUsageWindow:
    """`version` is the subscription's. Without metered items there is nothing to open."""

    subscription_id: str
    customer_id: str
    period_index: int
    version: int
    start: datetime
    end: datetime
    items: tuple[MeteredItem, ...]
    clock_id: str | None
    traceparent: str | None
    now: datetime


async def open_usage_window(command: OpenUsageWindow, *, uow: UnitOfWork) -> UsageWindow | None:
    """Open the window, unless it is there: said again, or after the period's end was heard of, nothing changes."""
    if not command.items:
        return None
    id = window_id(uow.tenant, command.subscription_id, command.period_index)
    existing = await uow.windows.find_for_update(id)
    if existing is not None:
        return existing
    window = UsageWindow(
        id=id,
        subscription_id=command.subscription_id,
        customer_id=command.customer_id,
        period_index=command.period_index,
        version=command.version,
        state="open",
        window_start=command.start,
        window_end=command.end,
        items=command.items,
        clock_id=command.clock_id,
        created_at=command.now,
        traceparent=command.traceparent,
    )
    uow.windows.add(window)
    uow.record("usage_window.opened", id)
    return window
