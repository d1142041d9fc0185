"""Rejects that are done with: the event is sent again, put right or not, or somebody says that it never will be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from libs.common.errors import Conflict, NotFound
from services.metering.application.ingest_usage_events import (
    EventResult,
    IngestUsageEvents,
    UsageBatch,
    ingest_usage_events,
    look_at,
)
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import RejectResolution, RejectView
from services.metering.domain.usage_event import AcceptWindow, MalformedEvent, UsageEvent


class UsageRejectNotFound(NotFound):
    code: ClassVar[str] = "usage_reject_not_found"
    title: ClassVar[str] = "There is no such reject"


class UsageRejectResolved(Conflict):
    """What was done about a reject stays done; its event may still be sent like any other."""

    code: ClassVar[str] = "usage_reject_resolved"
    title: ClassVar[str] = "The reject is resolved already"


@dataclass(frozen=True, slots=True)
class ResubmitUsageReject:
    """`event` is what takes the place of what was refused: put right, or as it was."""

    reject_id: str
    event: UsageEvent | MalformedEvent
    batch_id: str
    author: str


async def get_reject(reject_id: str, *, uow: UnitOfWork) -> RejectView:
    """Raises: UsageRejectNotFound."""
    found = await uow.rejects.find(reject_id)
    if found is None:
        raise UsageRejectNotFound("no reject has this id", usage_reject_id=reject_id)
    return found


async def get_open_reject(reject_id: str, *, uow: UnitOfWork) -> RejectView:
    """Raises: UsageRejectNotFound, UsageRejectResolved."""
    found = await get_reject(reject_id, uow=uow)
    if found.resolution is not None:
        raise UsageRejectResolved(
            f"the reject is {found.state} since {found.resolution.resolved_at:%Y-%m-%d %H:%M} UTC",
            usage_reject_id=reject_id,
            state=found.state,
            remedy="To send an event after that, send it as usual.",
        )
    return found


async def resubmit_usage_reject(
    command: ResubmitUsageReject, *, uow: UnitOfWork, accept: AcceptWindow, now: datetime
) -> tuple[EventResult, RejectView]:
    """Ingest the event as usual. Once it is stored, or turns out to be, the reject is resolved.

    One that is refused again is told so with all reasons, and makes no further reject.
    Raises: UsageRejectNotFound, UsageRejectResolved.
    """
    reject = await get_open_reject(command.reject_id, uow=uow)
    reasons = look_at(command.event, await uow.usage.share(), accept, now, [])
    if reasons:
        return EventResult("rejected", tuple(reasons)), reject
    batch = UsageBatch(command.batch_id, command.author, now, [command.event])
    [[result]] = await ingest_usage_events(IngestUsageEvents([batch]), uow=uow, accept=accept)
    if result.status != "stored" and result.status != "duplicate":
        return result, reject
    resolution = RejectResolution(result.status, now, command.author)
    return result, await _resolve(reject.reject.id, resolution, uow)


async def dismiss_usage_reject(
    reject_id: str, *, reason: str, author: str, uow: UnitOfWork, now: datetime
) -> RejectView:
    """Nobody will send it again. Raises: UsageRejectNotFound, UsageRejectResolved."""
    await get_open_reject(reject_id, uow=uow)
    return await _resolve(reject_id, RejectResolution("dismissed", now, author, reason), uow)


async def _resolve(reject_id: str, resolution: RejectResolution, uow: UnitOfWork) -> RejectView:
    if not await uow.rejects.resolve(reject_id, resolution):
        raise UsageRejectResolved("the reject was resolved a moment ago", usage_reject_id=reject_id)
    dismissed = resolution.outcome == "dismissed"
    uow.record("usage_reject.dismissed" if dismissed else "usage_reject.resolved", reject_id)
    found = await uow.rejects.find(reject_id)
    assert found is not None, "it was there when it was resolved"
    return found
