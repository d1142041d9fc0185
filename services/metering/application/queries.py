"""Reads that answer a screen. They change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from libs.common.errors import NotFound, RuleViolation
from libs.common.paging import PageRequest, Slice
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import (
    AlertFilter,
    BatchResult,
    EventFilter,
    MeasuredEvent,
    StoredEvent,
    Whose,
    WindowCorrectionFilter,
    WindowFilter,
)
from services.metering.domain.back_fill import BackFill
from services.metering.domain.late_usage import WindowCorrection
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import Span
from services.metering.domain.usage_alert import Firing, UsageAlert
from services.metering.domain.usage_window import Offsets, UsageWindow


class MeterNotFound(NotFound):
    code: ClassVar[str] = "meter_not_found"
    title: ClassVar[str] = "There is no such meter"


class UsageWindowNotFound(NotFound):
    code: ClassVar[str] = "usage_window_not_found"
    title: ClassVar[str] = "There is no such usage window"


class UsageAlertNotFound(NotFound):
    code: ClassVar[str] = "usage_alert_not_found"
    title: ClassVar[str] = "There is no such usage alert"


class UsageBatchNotFound(NotFound):
    code: ClassVar[str] = "usage_batch_not_found"
    title: ClassVar[str] = "There is no such batch of usage events"


class MeteredItemNotFound(NotFound):
    """Metering has not heard of it: it does not exist, or its subscription has not started yet."""

    code: ClassVar[str] = "metered_item_not_found"
    title: ClassVar[str] = "There is nothing metered of this id"


class UsageQuestionUnclear(RuleViolation):
    code: ClassVar[str] = "usage_question_unclear"
    title: ClassVar[str] = "It is not clear whose usage is asked for"


@dataclass(frozen=True, slots=True)
class MeterView:
    """A version of a meter, and how far what was there before it is summed up: None if that is not known any more."""

    meter: Meter
    back_fill: BackFill | None


async def get_meter(meter_id: str, *, uow: UnitOfWork) -> MeterView:
    """Raises: MeterNotFound."""
    [view] = await _viewed([await uow.meters.get(meter_id)], uow)
    return view


async def list_meters(
    page: PageRequest, *, code: str | None, event_type: str | None, uow: UnitOfWork
) -> Slice[MeterView]:
    """Each by its newest version."""
    found = await uow.reads.list_meters(page, code=code, event_type=event_type)
    return Slice(items=tuple(await _viewed(found.items, uow)), next=found.next)


async def list_meter_versions(meter_id: str, *, uow: UnitOfWork) -> Sequence[MeterView]:
    """All of the meter of which this is a version, oldest first. Raises: MeterNotFound."""
    meter = await uow.meters.get(meter_id)
    return await _viewed(await uow.meters.versions(meter.code), uow)


async def _viewed(meters: Sequence[Meter], uow: UnitOfWork) -> Sequence[MeterView]:
    back_fills = await uow.back_fills.load([meter.id for meter in meters])
    return [MeterView(meter, back_fills.get(meter.id)) for meter in meters]


async def list_usage_events(wanted: EventFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[StoredEvent]:
    """In the order in which they happened. Raises: UsageQuestionUnclear."""
    if wanted.event_id is not None and wanted.source is None:
        raise UsageQuestionUnclear("an event's id is unique within its source only: name the source as well")
    return await uow.reads.list_events(wanted, page)


async def find_usage_batch(
    batch_id: str, topic_ends: Offsets | None, *, uow: UnitOfWork
) -> BatchResult | None:
    """What has become of a batch by now; a batch of which nothing was read from the usage topic yet is pending.

    `topic_ends` are the ends of the usage topic after the batch was accepted. Without them, None means that more
    must be known: the batch may be waiting in the topic, or there may be none.
    Raises: UsageBatchNotFound, once everything before those ends is stored.
    """
    stored = await uow.offsets.stored()  # before the batch is looked for: it may be stored meanwhile
    found = await uow.reads.find_batch(batch_id)
    if found is not None:
        return found
    if topic_ends is None:
        return None
    waits = any(stored.get(partition, 0) < end for partition, end in topic_ends.items())
    if waits or await uow.reads.has_failing_part(batch_id):
        return BatchResult(batch_id, None, {}, None)
    raise UsageBatchNotFound(
        "no batch has this id, or its results are no longer kept",
        batch_id=batch_id,
        remedy="Take the id from the answer to the request. Where usage is stored directly, that answer says it all.",
    )


async def list_usage_windows(
    wanted: WindowFilter, page: PageRequest, *, of: str | None, uow: UnitOfWork
) -> Slice[UsageWindow]:
    """A customer who asks for himself sees his own, whatever he asks for."""
    if of is not None and wanted.customer_id not in (None, of):
        return Slice(items=())
    own = WindowFilter(wanted.subscription_id, of or wanted.customer_id, wanted.state)
    return await uow.reads.list_windows(own, page)


async def get_usage_window(window_id: str, *, of: str | None, uow: UnitOfWork) -> UsageWindow:
    """Raises: UsageWindowNotFound, for a window of another customer's too."""
    window = await uow.reads.find_window(window_id)
    if window is None or (of is not None and window.customer_id != of):
        raise UsageWindowNotFound("no usage window has this id", usage_window_id=window_id)
    return window


async def list_window_corrections(
    wanted: WindowCorrectionFilter, page: PageRequest, *, of: str | None, uow: UnitOfWork
) -> Slice[WindowCorrection]:
    """Corrections of closed windows in the order in which they were said. A customer sees those of his own windows.

    Raises: UsageWindowNotFound, where a window is named that is not there, or is another customer's.
    """
    if wanted.window_id is not None:
        await get_usage_window(wanted.window_id, of=of, uow=uow)
    if of is not None and wanted.customer_id not in (None, of):
        return Slice(items=())
    own = replace(wanted, customer_id=of or wanted.customer_id)
    return await uow.reads.list_window_corrections(own, page)


async def list_window_events(
    window_id: str,
    item_id: str | None,
    price_id: str | None,
    page: PageRequest,
    *,
    of: str | None,
    uow: UnitOfWork,
) -> Slice[MeasuredEvent]:
    """The very events behind the total of one item, in the order in which they happened.

    Of an item whose price has changed they are those of all its prices, unless one is named.
    Raises: UsageWindowNotFound, MeteredItemNotFound, UsageQuestionUnclear.
    """
    window = await get_usage_window(window_id, of=of, uow=uow)
    places = [
        place
        for place, item in enumerate(window.measured_items)
        if item_id in (None, item.item_id) and price_id in (None, item.price_id)
    ]
    found = {(window.items[place].item_id, window.items[place].meter) for place in places}
    if not found:
        raise MeteredItemNotFound("the window has no such item", item_id=item_id, price_id=price_id)
    if len(found) > 1:
        raise UsageQuestionUnclear("the window has several totals: name one by item_id, and by price_id")
    spans = [Span(span.start, span.end) for span in window.spans() if span.place in places]
    ((counted, meter),) = found
    versions = await uow.reads.list_meter_versions(meter)
    if not versions or not spans:
        return Slice(items=())
    rules = await uow.subscriptions.late_usage_rules([window.subscription_id])
    whose = Whose(
        start=window.window_start,
        end=window.window_end,
        zone=rules[window.subscription_id].zone if rules else "UTC",
        item_ids=[counted],
        spans=spans,
    )
    return await uow.reads.list_measured_events(versions, whose, page)


async def list_usage_alerts(
    wanted: AlertFilter, page: PageRequest, *, of: str | None, uow: UnitOfWork
) -> Slice[UsageAlert]:
    """A customer who asks for himself sees his own, whatever he asks for."""
    if of is not None and wanted.customer_id not in (None, of):
        return Slice(items=())
    return await uow.alerts.list_alerts(replace(wanted, customer_id=of or wanted.customer_id), page)


async def get_usage_alert(alert_id: str, *, of: str | None, uow: UnitOfWork) -> UsageAlert:
    """Raises: UsageAlertNotFound, for an alert about another customer's usage too."""
    alert = await uow.alerts.find(alert_id)
    if alert is None or (of is not None and alert.customer_id != of):
        raise UsageAlertNotFound("no usage alert has this id", usage_alert_id=alert_id)
    return alert


async def list_firings(alert_id: str, page: PageRequest, *, of: str | None, uow: UnitOfWork) -> Slice[Firing]:
    """What an alert has fired, in the order in which it did. Raises: UsageAlertNotFound."""
    alert = await get_usage_alert(alert_id, of=of, uow=uow)
    return await uow.alerts.list_firings(alert.id, page)
