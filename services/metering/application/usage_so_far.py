"""What the windows under way of one subscription would say if they closed now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from libs.common.paging import PageRequest
from services.metering.application.now_of_windows import now_of_windows
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import AnswerPosition, WindowFilter
from services.metering.domain.usage_window import UsageTotal, UsageWindow

WINDOWS_MAX = 10  # of one subscription, whose periods follow each other: one is under way


@dataclass(frozen=True, slots=True)
class UsageSoFar:
    """The windows with their totals, by the id of the window, and the business now of each."""

    windows: Sequence[UsageWindow]
    totals: Mapping[str, Sequence[UsageTotal]]
    now: Mapping[str, datetime]
    position: AnswerPosition


async def usage_so_far(subscription_id: str, *, uow: UnitOfWork, clock: Clock) -> UsageSoFar:
    """All usage that is stored counts, up to the business now of the customer: one total for each item and price."""
    position = await uow.reads.position()
    wanted = WindowFilter(subscription_id=subscription_id, state="open")
    found = await uow.reads.list_windows(wanted, PageRequest(limit=WINDOWS_MAX))
    windows = [window for window in found.items if window.is_under_way]
    now = await now_of_windows(windows, uow=uow, clock=clock)
    totals = await uow.usage.sum_windows(windows, until=now)
    return UsageSoFar(windows, totals, now, position)
