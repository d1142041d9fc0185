"""What windows would say if the agreement changed like this, and they closed now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from services.metering.application import events
from services.metering.application.correct_usage import explain_correction
from services.metering.application.estimate_readings import estimate_readings
from services.metering.application.ports import UnitOfWork
from services.metering.domain.late_usage import NO_EVENTS
from services.metering.domain.usage_window import correct

Told = UsageWindowClosedV1 | UsageCorrectedV1


async def preview_usage_windows(
    window_ids: Iterable[str], *, now: datetime, system_now: datetime, uow: UnitOfWork
) -> list[Told]:
    """The totals of these windows by all that is stored, after the events in question were applied to them.

    A window whose period is over says what it would say when it closes, with estimates where counters were not read, and
    one that has closed what would correct it. One that is under way says nothing. Nothing is saved: whoever calls rolls
    back what the events have changed, and what was estimated. The tenant's writers wait where something is.
    """
    found = [await uow.windows.find_for_update(id) for id in sorted(set(window_ids))]
    windows = [window for window in found if window is not None and not window.is_under_way]
    await estimate_readings([w for w in windows if w.state != "closed"], uow=uow, now=system_now)
    totals = await uow.usage.sum_windows(windows)
    rules = await uow.subscriptions.late_usage_rules({window.subscription_id for window in windows})
    told: list[Told] = []
    for window in sorted(windows, key=lambda window: (window.subscription_id, window.period_index)):
        if window.state != "closed":
            closed = replace(window, totals=tuple(totals[window.id]))
            told.append(events.for_closed(closed, tenant=uow.tenant, now=now))
        elif (corrected := correct(window, totals[window.id])) is not None:
            correction = explain_correction(
                window, corrected, rules=rules, changed=NO_EVENTS, noted_at=now, now=now, tenant=uow.tenant
            )
            told.append(events.for_corrected(correction, corrected, tenant=uow.tenant))
    return told
