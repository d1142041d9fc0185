"""The usage of one billing period of one subscription: open, due, closed, and corrected when more comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from libs.common.ids import derived_id
from services.metering.domain.metered_item import MeteredItem

State = Literal["open", "due", "closed"]
Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The usage of one item in one window; of what it used at `price_id`, where that did not hold from end to end."""

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None


class ItemSpan(NamedTuple):
    """From `start` until `end`, what was used counts for the `place`-th item of the window."""

    place: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """`due_at` is set once the period has ended, to its end plus grace, and cleared when the window closes.

    `awaited` are the ends of the bindings' topic when the window had become due, by partition: what was said
    of bindings before that belongs into the first answer. `awaited_usage` are those of the usage topic: so does
    what had been accepted. `revision` counts the corrections since. `traceparent` is the trace of the renewal that
    the window serves.
    """

    id: str
    subscription_id: str
    customer_id: str
    period_index: int
    version: int
    state: State
    window_start: datetime
    window_end: datetime
    items: tuple[MeteredItem, ...]
    clock_id: str | None
    created_at: datetime
    due_at: datetime | None = None
    awaited: Offsets | None = None
    awaited_usage: Offsets = field(default_factory=dict)
    totals: tuple[UsageTotal, ...] = ()
    revision: int = 0
    closed_at: datetime | None = None
    traceparent: str | None = None
    terms_version: int = 0

    @property
    def is_under_way(self) -> bool:
        """Nobody has said yet that its period is over."""
        return self.state == "open" and self.due_at is None

    @property
    def measured_items(self) -> tuple[MeteredItem, ...]:
        """Those that have a total: none, if the period was cut to nothing."""
        return self.items if self.window_start < self.window_end else ()

    def spans(self) -> Iterator[ItemSpan]:
        """When each item counts, inside the window. Usage that lies in none of them belongs to nothing."""
        for place, item in enumerate(self.measured_items):
            for start, end in item.spans or ((self.window_start, self.window_end),):
                first, last = max(start, self.window_start), min(end, self.window_end)
                if first < last:
                    yield ItemSpan(place, first, last)


def window_id(tenant: str, subscription_id: str, period_index: int) -> str:
    return derived_id("uwin", tenant, subscription_id, str(period_index))


def tell_bounds(
    window: UsageWindow, *, start: datetime, end: datetime, version: int, grace: timedelta
) -> UsageWindow:
    """The newest version of the subscription says when its period begins and ends; an older one changes nothing.

    A window that is due already becomes due by its new end, unless it has closed: see `must_be_counted_again`.
    """
    if version <= window.version:
        return window
    due_at = window.due_at
    if due_at is not None and end != window.window_end:
        due_at = end + grace
    return replace(window, window_start=start, window_end=end, version=version, due_at=due_at)


def tell_terms(window: UsageWindow, items: Sequence[MeteredItem], *, version: int) -> UsageWindow:
    """The newest terms say what is measured and when, whatever was measured before."""
    if version <= window.terms_version:
        return window
    return replace(window, items=tuple(items), terms_version=version)


def finish(window: UsageWindow, *, grace: timedelta, traceparent: str | None) -> UsageWindow:
    """The period is over: the window is due after a grace, so that stragglers still count. Said again, it stays so."""
    if not window.is_under_way:
        return window
    return replace(window, due_at=window.window_end + grace, traceparent=traceparent or window.traceparent)


def must_be_counted_again(before: UsageWindow, after: UsageWindow) -> bool:
    """Whether totals that were said, or are about to be, may no longer be those of the window."""
    return before.state != "open" and _measured(before) != _measured(after)


def _measured(window: UsageWindow) -> tuple[object, ...]:
    return window.window_start, window.window_end, window.items


def note_due(window: UsageWindow) -> UsageWindow:
    """First step: from now on whoever stores usage of this window also asks for a recount."""
    assert window.state == "open"
    return replace(window, state="due")


def await_offsets(window: UsageWindow, ends: Offsets, usage_ends: Offsets) -> UsageWindow:
    """Second step: what must be handled, of bindings and of usage, before the window may close."""
    assert window.state == "due"
    return replace(window, awaited=dict(ends), awaited_usage=dict(usage_ends))


def may_close(window: UsageWindow, handled: Offsets, usage_stored: Offsets) -> bool:
    """Everything before the awaited offsets has been handled, and stored."""
    if window.state != "due" or window.awaited is None:
        return False
    return _reached(window.awaited, handled) and _reached(window.awaited_usage, usage_stored)


def _reached(awaited: Offsets, done: Offsets) -> bool:
    return all(done.get(partition, 0) >= end for partition, end in awaited.items())


def close(window: UsageWindow, totals: Sequence[UsageTotal], now: datetime) -> UsageWindow:
    """Last step: the totals are said. What is stored from now on, whatever its date, is a correction."""
    assert window.state == "due"
    return replace(window, state="closed", due_at=None, totals=tuple(totals), closed_at=now)


def correct(window: UsageWindow, totals: Sequence[UsageTotal]) -> UsageWindow | None:
    """The window with its totals as they are now; None when they are what was said last.

    A total of nothing is as good as none: items that came and went without usage correct nothing.
    """
    assert window.state == "closed"
    if _used(window.totals) == _used(totals):
        return None
    return replace(window, totals=tuple(totals), revision=window.revision + 1)


def _used(totals: Sequence[UsageTotal]) -> Mapping[tuple[str, str | None], UsageTotal]:
    return {(total.item_id, total.price_id): total for total in totals if total.event_count}
