"""The usage of one billing period of one subscription: open, due, closed, and corrected when more comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from libs.common.ids import derived_id

State = Literal["open", "due", "closed"]
Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class MeteredItem:
    """A subscription item whose price is for usage, and the code of the meter that measures it."""

    item_id: str
    meter: str


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The usage of one item in one window."""

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int


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


def window_id(tenant: str, subscription_id: str, period_index: int) -> str:
    return derived_id("uwin", tenant, subscription_id, str(period_index))


def finish(
    window: UsageWindow,
    *,
    end: datetime,
    grace: timedelta,
    version: int,
    traceparent: str | None,
) -> UsageWindow:
    """The period is over at `end`: the window is due after a grace, so that stragglers still count.

    Said again, or said late after a newer version, it changes nothing. A newer version that moves the end of a
    window which has closed makes a correction necessary, see `moved`.
    """
    if window.due_at is None and window.state == "open":
        return replace(
            window,
            window_end=end,
            due_at=end + grace,
            version=max(version, window.version),
            traceparent=traceparent or window.traceparent,
        )
    if version <= window.version or end == window.window_end:
        return window
    due_at = None if window.state == "closed" else end + grace
    return replace(window, window_end=end, due_at=due_at, version=version)


def moved(before: UsageWindow, after: UsageWindow) -> bool:
    """Whether totals that were said are no longer those of the window."""
    return before.state != "open" and before.window_end != after.window_end


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
    """The window with its totals as they are now; None when they are what was said last."""
    assert window.state == "closed"
    if _by_item(window.totals) == _by_item(totals):
        return None
    return replace(window, totals=tuple(totals), revision=window.revision + 1)


def _by_item(totals: Sequence[UsageTotal]) -> Mapping[str, UsageTotal]:
    return {total.item_id: total for total in totals}
