"""A reject is done with once: by an event that is stored in its place, or by somebody's word."""

from __future__ import annotations

from datetime import timedelta

import pytest

from libs.common.errors import ServiceError
from services.metering.application.ingest_usage_events import (
    IngestUsageEvents,
    UsageBatch,
    ingest_usage_events,
)
from services.metering.application.resolve_usage_rejects import (
    ResubmitUsageReject,
    UsageRejectNotFound,
    UsageRejectResolved,
    dismiss_usage_reject,
    resubmit_usage_reject,
)
from services.metering.domain.usage_event import AcceptWindow, UsageEvent
from tests.application.metering.memory import AT, MemoryMeteringUnitOfWork, an_event
from tests.unit.metering.meters import a_meter

NOW = AT + timedelta(days=1)


async def a_reject(uow: MemoryMeteringUnitOfWork) -> str:
    await uow.meters.insert(a_meter())
    bad = an_event("a", '"ten"', data={"minutes": "ten"})
    command = IngestUsageEvents([UsageBatch("b", "token:x", AT, [bad])])
    await ingest_usage_events(command, uow=uow, accept=AcceptWindow())
    [reject] = uow.usage.rejects.values()
    return reject.id


async def resubmit(uow: MemoryMeteringUnitOfWork, reject_id: str, event: UsageEvent) -> tuple[str, str]:
    command = ResubmitUsageReject(reject_id, event, "b2", "ann")
    result, reject = await resubmit_usage_reject(command, uow=uow, accept=AcceptWindow(), now=NOW)
    return result.status, reject.state


async def test_a_stored_event_resolves_the_reject(uow: MemoryMeteringUnitOfWork) -> None:
    reject_id = await a_reject(uow)
    assert await resubmit(uow, reject_id, an_event("a", 10)) == ("stored", "resolved")
    resolution = uow.rejects.resolutions[reject_id]
    assert (resolution.outcome, resolution.resolved_by, resolution.resolved_at) == ("stored", "ann", NOW)
    with pytest.raises(UsageRejectResolved):
        await resubmit(uow, reject_id, an_event("a", 10))


async def test_one_that_is_there_already_resolves_it_too(uow: MemoryMeteringUnitOfWork) -> None:
    reject_id = await a_reject(uow)
    event = an_event("a", 10)
    uow.usage.events[event.key] = event
    assert await resubmit(uow, reject_id, an_event("a", 10)) == ("duplicate", "resolved")


async def test_what_is_refused_again_or_in_conflict_leaves_it_open(uow: MemoryMeteringUnitOfWork) -> None:
    reject_id = await a_reject(uow)
    worse = an_event("a", '"eleven"', data={"minutes": "eleven"})
    assert await resubmit(uow, reject_id, worse) == ("rejected", "open")
    assert list(uow.usage.rejects) == [reject_id]
    event = an_event("a", 10)
    uow.usage.events[event.key] = event
    assert await resubmit(uow, reject_id, an_event("a", 11)) == ("conflict", "open")


async def test_it_is_dismissed_once(uow: MemoryMeteringUnitOfWork) -> None:
    reject_id = await a_reject(uow)
    told = {"reason": "a test", "author": "ann", "uow": uow, "now": NOW}
    view = await dismiss_usage_reject(reject_id, **told)  # type: ignore[arg-type]
    assert (view.state, view.resolution and view.resolution.note) == ("dismissed", "a test")
    for attempt in (dismiss_usage_reject(reject_id, **told), resubmit(uow, reject_id, an_event("a", 10))):  # type: ignore[arg-type]
        with pytest.raises(UsageRejectResolved):
            await attempt


async def test_an_unknown_one_is_not_found(uow: MemoryMeteringUnitOfWork) -> None:
    with pytest.raises(UsageRejectNotFound) as found:
        await resubmit(uow, "urej_x", an_event("a"))
    assert isinstance(found.value, ServiceError)
