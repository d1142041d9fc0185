"""The business now of whatever lives by a test clock, or by none."""

from __future__ import annotations

from datetime import datetime

from libs.common.clock import Clock
from services.subscriptions.application.ports import UnitOfWork


async def business_now(test_clock_id: str | None, *, uow: UnitOfWork, clock: Clock) -> datetime:
    """The time that the clock itself shows here, where it lives; it stands still until the transaction is over.

    Raises: TestClockNotFound.
    """
    if test_clock_id is None:
        return clock.business_now(None)
    clocks = await uow.test_clocks.load_shared([test_clock_id])
    return clock.business_now(clocks[test_clock_id].shown)
