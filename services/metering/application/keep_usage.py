"""For how long a tenant keeps raw events, and what goes when that time is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from libs.common.clock import Clock
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_retention import UsageRetention, keep, move_on

RESTED = timedelta(
    seconds=60
)  # whoever began before it was known from when on events are kept has ended by then
LOOK_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KeepUsage:
    """Raw events of the tenant are kept for so many days; None: for as long as everybody's."""

    kept_days: int | None


async def keep_usage(
    command: KeepUsage, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int | None], None]
) -> UsageRetention:
    """Nothing that lies further back is relied on any more, as far as no window needs it; it is deleted afterwards.

    What is gone does not come back when more is to be kept again. Raises: what `check_version` raises.
    """
    now = clock.system_now()
    retention = await uow.retention.find(for_update=True)
    check_version(retention.version)
    await uow.usage.stop_writers()
    retention = keep(retention, command.kept_days)
    needed = await uow.retention.earliest_needed()
    retention = move_on(retention, earliest_needed=needed, now=now) or retention
    await uow.retention.save(retention, due_at=now + RESTED)
    uow.record("usage_retention.changed", uow.tenant, retention.version)
    return retention


async def forget_usage(*, uow: UnitOfWork, clock: Clock, rested: timedelta = RESTED) -> int:
    """Delete a piece of what is no longer kept, and go on to a later day; returns how many events were deleted.

    The tenant's retention is held by this transaction, and by no other. Identities stay, as do running sums and
    totals. Writers wait for as long as it takes to note from when on raw events are kept: whoever makes sums again
    knows it.
    """
    deleted = await uow.retention.delete(rested)
    now = clock.system_now()
    if deleted:
        retention = await uow.retention.find(for_update=True)
        await uow.retention.save(retention, due_at=now)
        return deleted
    await uow.usage.stop_writers()
    retention = await uow.retention.find(for_update=True)
    needed = await uow.retention.earliest_needed()
    moved = move_on(retention, earliest_needed=needed, now=now)
    await uow.retention.save(moved or retention, due_at=now + (LOOK_EVERY if moved is None else RESTED))
    return 0
