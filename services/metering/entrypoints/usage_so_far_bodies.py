"""Usage of a period under way, as its window would say it."""

from __future__ import annotations

from typing import Self

from libs.common.web.bodies import Instant, StrictBody
from services.metering.application.usage_so_far import UsageSoFar
from services.metering.domain.usage_window import UsageTotal, UsageWindow
from services.metering.entrypoints.bodies import UsageTotalBody
from services.metering.entrypoints.usage_answer_bodies import PositionBody


class WindowSoFarBody(StrictBody):
    """A usage window whose period is under way; usage counts up to `counted_until`, the customer's now."""

    window_id: str
    subscription_id: str
    period_index: int
    window_start: Instant
    window_end: Instant
    counted_until: Instant
    totals: list[UsageTotalBody]

    @classmethod
    def from_domain(cls, window: UsageWindow, found: UsageSoFar) -> Self:
        totals: list[UsageTotal] = list(found.totals[window.id])
        return cls(
            window_id=window.id,
            subscription_id=window.subscription_id,
            period_index=window.period_index,
            window_start=window.window_start,
            window_end=window.window_end,
            counted_until=found.now[window.id],
            totals=[UsageTotalBody.from_domain(total) for total in totals],
        )


class UsageSoFarBody(StrictBody):
    """Everything that was stored by `as_of` is counted, all of it read at one instant."""

    as_of: Instant
    position: PositionBody
    data: list[WindowSoFarBody]

    @classmethod
    def from_view(cls, found: UsageSoFar) -> Self:
        return cls(
            as_of=found.position.as_of,
            position=PositionBody.from_view(found.position),
            data=[WindowSoFarBody.from_domain(window, found) for window in found.windows],
        )
