"""A billing period begins, or more is said of it: its usage window is opened, and measures what was agreed on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.metering.application.ports import UnitOfWork
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.usage_window import (
    UsageWindow,
    must_be_counted_again,
    tell_bounds,
    tell_terms,
    window_id,
)

# A period that begins is told with a balance of zero. Whoever reads it knows as much from the period itself, so
# that thousands that begin at once may wait for those in which something was used.
FIRST_BALANCE_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class OpenUsageWindow:
    """A period as one event tells of it. `version` is the subscription's; `start` is not before what is billed here.

    `has_terms`: the event says what was measured when. Otherwise `items` are those of the agreement, from end to
    end, which holds unless other terms were ever told. `is_metered`: the agreement has a usage price, if only at
    another time. `whole_start` and `whole_end` are the bounds of the period that this is a part of, if it is.
    """

    subscription_id: str
    customer_id: str
    period_index: int
    version: int
    start: datetime
    end: datetime
    items: tuple[MeteredItem, ...]
    clock_id: str | None
    traceparent: str | None
    now: datetime
    has_terms: bool = False
    is_metered: bool = True
    whole_start: datetime | None = None
    whole_end: datetime | None = None


async def open_usage_window(
    command: OpenUsageWindow, *, grace: timedelta, begins: bool = True, uow: UnitOfWork
) -> UsageWindow | None:
    """Open the window, unless it is there; an agreement without usage prices has none.

    It opens although its terms name no usage, as those of a trial may: so it is known that nothing is measured.
    One that is there learns what is newer. Terms that were told count more than the items of the agreement, and
    those of the event that `begins` the period more than those of the one that ends it.
    """
    existing = await _find(command, uow)
    if existing is not None:
        return _learn(existing, command, grace=grace, begins=begins, uow=uow)
    return _open(command, uow)


async def change_usage_window(
    command: OpenUsageWindow, *, grace: timedelta, uow: UnitOfWork
) -> UsageWindow | None:
    """The terms of a period have changed. A window that has closed is counted again.

    A period that has begun without a window may have something to measure now. One that begins later is told of
    again when it does.
    """
    existing = await _find(command, uow)
    if existing is not None:
        return _learn(existing, command, grace=grace, begins=False, uow=uow)
    return _open(command, uow) if command.start <= command.now else None


async def _find(command: OpenUsageWindow, uow: UnitOfWork) -> UsageWindow | None:
    id = window_id(uow.tenant, command.subscription_id, command.period_index)
    return await uow.windows.find_for_update(id)


def _learn(
    window: UsageWindow, command: OpenUsageWindow, *, grace: timedelta, begins: bool, uow: UnitOfWork
) -> UsageWindow:
    """What is newer replaces what was told before, in whatever order it comes; the same again changes nothing."""
    told = tell_bounds(
        window,
        start=command.start,
        end=command.end,
        version=command.version,
        grace=grace,
        whole_start=command.whole_start,
        whole_end=command.whole_end,
    )
    if command.has_terms:
        told = tell_terms(told, command.items, version=command.version)
    elif begins and not told.terms_version:
        told = replace(told, items=command.items)
    if told == window:
        return window
    uow.windows.save(told)
    if must_be_counted_again(window, told):
        uow.late.note_window(told.id)
    if told.is_under_way:
        uow.balances.note(item.item_id for item in (*window.items, *told.items))
    return told


def _open(command: OpenUsageWindow, uow: UnitOfWork) -> UsageWindow | None:
    if not command.is_metered:
        return None
    window = UsageWindow(
        id=window_id(uow.tenant, command.subscription_id, command.period_index),
        subscription_id=command.subscription_id,
        customer_id=command.customer_id,
        period_index=command.period_index,
        version=command.version,
        terms_version=command.version if command.has_terms else 0,
        state="open",
        window_start=command.start,
        window_end=command.end,
        items=command.items,
        clock_id=command.clock_id,
        created_at=command.now,
        traceparent=command.traceparent,
        whole_start=command.whole_start,
        whole_end=command.whole_end,
    )
    uow.windows.add(window)
    uow.balances.note((item.item_id for item in window.items), after=FIRST_BALANCE_AFTER)
    uow.record("usage_window.opened", window.id)
    return window
