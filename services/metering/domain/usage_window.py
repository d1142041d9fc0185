"""The usage of one billing period of one subscription: open, due, closed, and corrected when more comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from libs.common.ids import derived_id
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.recount_refusal import RecountRefusal
from services.metering.domain.true_up import TrueUp

State = Literal["open", "due", "closed"]
# What keeps a window from closing: its grace, what was said of bindings, usage that was accepted, messages that failed
# and are tried again, or a meter that is still being filled with what came before it.
WaitsFor = Literal["grace", "bindings", "usage", "retries", "back_fill"]
Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The usage of one item in one window; of what it used at `price_id`, where that did not hold from end to end.

    Of `quantity`, `estimated_quantity` is no reading's but an estimate's; `true_ups` say which estimates of before it
    puts right.
    """

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None
    estimated_quantity: Decimal = Decimal(0)
    true_ups: tuple[TrueUp, ...] = ()


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
    the window serves. `held_by` is what a due window was found to wait for.

    `whole_start` and `whole_end` are the bounds as counted from the anchor, where the period is only a part of that.
    `recount_refusal` says why its totals are not those of what is stored by now.
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
    held_by: tuple[WaitsFor, ...] = ()
    whole_start: datetime | None = None
    whole_end: datetime | None = None
    recount_refusal: RecountRefusal | None = None

    @property
    def whole_length(self) -> timedelta:
        """How long the period is of which this is a part, or all."""
        return (self.whole_end or self.window_end) - (self.whole_start or self.window_start)

    @property
    def waits_for(self) -> tuple[WaitsFor, ...]:
        """What it must wait for, once its period is over. Its grace ends when it is found due."""
        if self.state == "open" and self.due_at is not None:
            return ("grace",)
        return self.held_by if self.state == "due" else ()

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
    window: UsageWindow,
    *,
    start: datetime,
    end: datetime,
    version: int,
    grace: timedelta,
    whole_start: datetime | None = None,
    whole_end: datetime | None = None,
) -> UsageWindow:
    """The newest version of the subscription says when its period begins and ends; an older one changes nothing.

    A window that is due already becomes due by its new end, unless it has closed: see `must_be_counted_again`.
    """
    if version <= window.version:
        return window
    due_at = window.due_at
    if due_at is not None and end != window.window_end:
        due_at = end + grace
    return replace(
        window,
        window_start=start,
        window_end=end,
        whole_start=whole_start,
        whole_end=whole_end,
        version=version,
        due_at=due_at,
    )


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


def obstacles(
    window: UsageWindow,
    *,
    handled: Offsets,
    usage_stored: Offsets,
    are_retried: bool,
    filling: Collection[str],
) -> tuple[WaitsFor, ...]:
    """What keeps a due window from closing; nothing, when all that was said before is known and summed up.

    Everything before the awaited offsets must have been handled, and stored; no message may be about to be tried
    again; and none of its meters may be one of those that are still `filling`.
    """
    assert window.state == "due"
    assert window.awaited is not None
    found: dict[WaitsFor, bool] = {
        "bindings": not _reached(window.awaited, handled),
        "usage": not _reached(window.awaited_usage, usage_stored),
        "retries": are_retried,
        "back_fill": any(item.meter in filling for item in window.measured_items),
    }
    return tuple(name for name, holds in found.items() if holds)


def _reached(awaited: Offsets, done: Offsets) -> bool:
    return all(done.get(partition, 0) >= end for partition, end in awaited.items())


def close(window: UsageWindow, totals: Sequence[UsageTotal], now: datetime) -> UsageWindow:
    """Last step: the totals are said. What is stored from now on, whatever its date, is a correction."""
    assert window.state == "due"
    return replace(window, state="closed", due_at=None, held_by=(), totals=tuple(totals), closed_at=now)


def correct(window: UsageWindow, totals: Sequence[UsageTotal]) -> UsageWindow | None:
    """The window with its totals as they are now; None when they are what was said last.

    A total of nothing is as good as none: items that came and went without usage correct nothing.
    """
    assert window.state == "closed"
    if _used(window.totals) == _used(totals):
        return None
    return replace(window, totals=tuple(totals), revision=window.revision + 1)


def _used(totals: Sequence[UsageTotal]) -> Mapping[tuple[str, str | None], UsageTotal]:
    return {(total.item_id, total.price_id): total for total in totals if is_used(total)}


def is_used(total: UsageTotal) -> bool:
    """A level that was set before the window is used in it without an event."""
    return bool(total.event_count or total.quantity)
