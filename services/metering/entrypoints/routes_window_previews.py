"""The route that says what usage windows would say after a change that is not made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from starlette.responses import Response

from libs.common.contracts import group_of, topic_of
from libs.common.contracts.subscriptions import AgreementEvent
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.messaging.bus import Bus, BusUnavailable
from libs.common.web.calls import JSON
from libs.common.web.late_routes import LateRouter
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.preview_usage_windows import Told, preview_usage_windows
from services.metering.domain.usage_window import Offsets, window_id
from services.metering.entrypoints.dependencies import BusDep, ClockDep, ReadCall, SettingsDep
from services.metering.entrypoints.event_handlers import agreement_handlers, periods_of, prepare
from services.metering.entrypoints.window_preview_bodies import (
    NewUsageWindowPreviewBody,
    SaidEventBody,
    UsageWindowPreviewBody,
)

router = LateRouter(prefix="/v1/usage-window-previews", tags=["usage windows"])

EVENTS_TOPIC = topic_of("subscriptions")


class _Previewed(Exception):
    """Everything is known: the transaction is left by an error, so that nothing of it stays."""

    def __init__(self, told: Sequence[Told], usage_stored: Offsets) -> None:
        super().__init__("previewed")
        self.told, self.usage_stored = told, usage_stored


@router.post("", response_model=UsageWindowPreviewBody, summary="Preview usage windows")
async def post_usage_window_preview(
    body: NewUsageWindowPreviewBody, call: ReadCall, bus: BusDep, clock: ClockDep, settings: SettingsDep
) -> Response:
    """What the windows of the periods that these events end would say if they closed now. Nothing is changed.

    The events go through the very handlers that they would go through if they were published. A window that has
    closed says what would correct it, if anything would.
    """
    events = body.to_events(tenant=call.tenant)
    usage_ends = await _usage_ends(bus)
    waiting = await _count_waiting(bus)
    as_of = clock.system_now()

    async def work(uow: MeteringUnitOfWork) -> None:
        told = await _apply(events, uow, grace=timedelta(seconds=settings.grace_s), system_now=as_of)
        raise _Previewed(told, await uow.offsets.stored())

    try:
        await call.run(work)
    except _Previewed as previewed:
        told, stored = previewed.told, previewed.usage_stored
    answer = UsageWindowPreviewBody(
        as_of=as_of,
        usage_records_waiting=None if usage_ends is None else _behind(usage_ends, stored),
        events_waiting=waiting,
        events=[SaidEventBody.from_event(event) for event in told],
    )
    return Response(answer.model_dump_json(), media_type=JSON)


async def _apply(
    events: Sequence[AgreementEvent], uow: MeteringUnitOfWork, *, grace: timedelta, system_now: datetime
) -> Sequence[Told]:
    handle = agreement_handlers(grace=grace)
    await prepare(events, uow)
    for event in events:
        await handle[type(event)](event, uow)
    concerned = {
        window_id(uow.tenant, event.subscription.subscription_id, period.index)
        for event in events
        for period in periods_of(event)
    }
    return await preview_usage_windows(concerned, now=events[-1].occurred_at, system_now=system_now, uow=uow)


async def _usage_ends(bus: Bus) -> Offsets | None:
    try:
        return await bus.end_offsets(USAGE_TOPIC)
    except BusUnavailable:
        return None


async def _count_waiting(bus: Bus) -> int | None:
    """What subscriptions has said and this service has not heard: of bindings, and of other changes."""
    try:
        ends = await bus.end_offsets(EVENTS_TOPIC)
        return _behind(ends, await bus.committed(group_of("metering"), EVENTS_TOPIC))
    except BusUnavailable:
        return None


def _behind(ends: Mapping[int, int], done: Mapping[int, int]) -> int:
    return sum(max(end - done.get(partition, 0), 0) for partition, end in ends.items())
