"""How far windows under way have come, each by the clock of its customer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from libs.common.clock import Clock
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_window import UsageWindow


async def now_of_windows(
    windows: Iterable[UsageWindow], *, uow: UnitOfWork, clock: Clock
) -> Mapping[str, datetime]:
    """Business now of each, by its id."""
    return {window.id: clock.business_now(await uow.test_clock(window.clock_id)) for window in windows}
