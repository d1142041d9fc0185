"""A billing period is over: its usage window becomes due after a grace."""

from __future__ import annotations

from datetime import timedelta

from services.metering.application.open_usage_window import OpenUsageWindow, open_usage_window
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_window import UsageWindow, finish


async def end_usage_window(
    command: OpenUsageWindow, *, grace: timedelta, uow: UnitOfWork
) -> UsageWindow | None:
    """Set when the window is due; `command` tells the period as it ended, and opens it if nobody had.

    Order does not matter: a window that was never opened is opened and ended at once. Said again, nothing changes.
    """
    window = await open_usage_window(command, grace=grace, begins=False, uow=uow)
    if window is None:
        return None
    ended = finish(window, grace=grace, traceparent=command.traceparent)
    if ended != window:
        uow.windows.save(ended)
        uow.record("usage_window.ended", ended.id)
    return ended
