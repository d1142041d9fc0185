"""What is agreed on for one billing period: which item at which price and quantity, from when until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from libs.common.periods import MICROSECOND, local_date, start_of_day
from services.subscriptions.domain.billing_period import BillingPeriod, Bounds
from services.subscriptions.domain.subscription import Pause, Subscription
from services.subscriptions.domain.subscription_item import ItemSegment, Proration, SubscriptionItem


@dataclass(frozen=True, slots=True)
class TermSegment:
    """A part of a period in which the item was agreed on. `whole` are the bounds it is a part of, if not the period's."""

    item: SubscriptionItem
    start: datetime
    start_on: date
    end: datetime
    end_on: date
    start_proration: Proration | None = None
    end_proration: Proration | None = None
    whole: Bounds | None = None


@dataclass(frozen=True, slots=True)
class PeriodTerms:
    period: BillingPeriod
    segments: tuple[TermSegment, ...]
    is_over: bool


def terms_of(subscription: Subscription, period: BillingPeriod, *, is_over: bool) -> PeriodTerms:
    """The segments inside `period`, without its pauses, and no longer than the subscription lasts as far as is known."""
    segments = [
        part
        for segment in subscription.segments
        if not _is_given_back(segment, period, subscription)
        for piece in _inside(segment, period, subscription)
        for part in _without_pauses(piece, subscription.pauses)
    ]
    if period.stub_end_on is not None:
        at = _stub_end(segments, period.stub_end_on, subscription.calendar.zone)
        segments = [part for segment in segments for part in _split_stub(segment, period, subscription, at)]
    return PeriodTerms(period, tuple(segments), is_over)


def are_plain(terms: PeriodTerms, subscription: Subscription) -> bool:
    """Whether they say no more than the subscription's items do: each of them, from end to end of a whole period."""
    period = terms.period
    if period.kind != "regular" or period.full is not None or period.stub_end_on is not None:
        return False
    whole = all(
        segment.start == period.start and segment.end == period.end and segment.item.kind != "one_time"
        for segment in terms.segments
    )
    return whole and tuple(segment.item for segment in terms.segments) == subscription.items


def _inside(segment: ItemSegment, period: BillingPeriod, subscription: Subscription) -> Iterator[TermSegment]:
    """The part of it that lies in the period; what is charged once lies in the period in which it begins."""
    start, start_on, start_proration = segment.start, segment.start_on, segment.start_proration
    if segment.item.kind == "one_time":
        if period.start <= start < period.end or start == period.start == period.end:
            yield TermSegment(segment.item, start, start_on, period.end, period.end_on)
        return
    if start <= period.start:
        start, start_on, start_proration = period.start, period.start_on, None
    end, end_on, end_proration = period.end, period.end_on, None
    if segment.end is not None and segment.end < period.end:
        assert segment.end_on is not None
        end, end_on, end_proration = segment.end, segment.end_on, segment.end_proration
    elif segment.end == period.end:
        end_proration = segment.end_proration if _is_cut(period) else None
    ends_at = subscription.ends_at
    if ends_at is not None and ends_at < end:
        end, end_on = ends_at, local_date(ends_at, subscription.calendar.zone)
        end_proration = _proration_of_end(subscription, period)
    elif ends_at is not None and ends_at == end and _is_cut(period) and _is_last(period, subscription):
        end_proration = _proration_of_end(subscription, period)
    if start < end:
        yield TermSegment(
            segment.item, start, start_on, end, max(end_on, start_on), start_proration, end_proration
        )


def _is_given_back(segment: ItemSegment, period: BillingPeriod, subscription: Subscription) -> bool:
    """Of the period that it ends in, the fees are given back in full, if that was agreed on when it was canceled.

    Whoever withdraws has back what was charged once, too.
    """
    if segment.item.kind == "one_time":
        return subscription.cancel_reason == "withdrawn"
    ends_at = subscription.ends_at
    return (
        subscription.cancel_credit == "full"
        and segment.item.kind == "recurring"
        and ends_at is not None
        and _is_last(period, subscription)
        and period.start <= ends_at < (period.full or period).end
    )


def _is_last(period: BillingPeriod, subscription: Subscription) -> bool:
    return subscription.period is not None and subscription.period.index == period.index


def _is_cut(period: BillingPeriod) -> bool:
    """Whether it ends before the bounds it was counted to: its end is a change, and no boundary."""
    return period.full is not None and period.end < period.full.end


def _proration_of_end(subscription: Subscription, period: BillingPeriod) -> Proration | None:
    """No credit: what was charged for the time after the end stays charged. A withdrawal gives it back by the day."""
    if subscription.cancel_reason == "withdrawn":
        return "day"
    canceled = subscription.cancels_at is not None and subscription.cancels_at == subscription.ends_at
    return "none" if canceled and subscription.keeps_charges_of == period.index else None


def _without_pauses(segment: TermSegment, pauses: tuple[Pause, ...]) -> Iterator[TermSegment]:
    """What is charged once is not paused."""
    rest: TermSegment | None = segment
    for pause in pauses:
        if rest is None or segment.item.kind == "one_time":
            break
        if pause.status == "planned" or pause.start >= rest.end:
            continue
        if pause.end is not None and pause.end <= rest.start:
            continue
        if pause.start > rest.start:
            yield replace(rest, end=pause.start, end_on=pause.start_on, end_proration=pause.proration)
        if pause.end is None or pause.end >= rest.end:
            rest = None
        else:
            assert pause.end_on is not None
            rest = replace(rest, start=pause.end, start_on=pause.end_on, start_proration=pause.proration)
    if rest is not None:
        yield rest


def _stub_end(segments: Sequence[TermSegment], on: date, zone: str) -> datetime:
    """Where that date begins: after all that was on a date before it, also where that was in another zone."""
    timed = [segment for segment in segments if segment.item.kind != "one_time"]
    begun = [segment.start + MICROSECOND for segment in timed if segment.start_on < on]
    over = [segment.end for segment in timed if segment.end_on <= on]
    following = [segment.start for segment in timed if segment.start_on >= on]
    at = max([start_of_day(on, zone), *begun, *over])
    return min([at, *following])


def _split_stub(
    segment: TermSegment, period: BillingPeriod, subscription: Subscription, at: datetime
) -> Iterator[TermSegment]:
    """A merged first part is measured against the interval that it is a part of, and so is the rest."""
    assert period.stub_end_on is not None
    assert period.stub_start_on is not None, "both are known"
    zone = subscription.calendar.zone
    stub = Bounds(period.stub_start_on, period.stub_end_on, start_of_day(period.stub_start_on, zone), at)
    whole = period.full or period.bounds
    rest = Bounds(period.stub_end_on, whole.end_on, at, whole.end)
    if segment.item.kind == "one_time":
        yield segment
        return
    if segment.start < at:
        first = replace(segment, whole=stub)
        if segment.end > at:
            first = replace(first, end=at, end_on=period.stub_end_on, end_proration=None)
        yield first
    if segment.end > at:
        second = replace(segment, whole=rest)
        if segment.start < at:
            second = replace(second, start=at, start_on=period.stub_end_on, start_proration=None)
        yield second
