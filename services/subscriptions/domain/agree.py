"""A new agreement, from what was asked for: when it begins, its trial, what its periods are counted from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from libs.common.periods import DAY, Interval, UnknownZone, boundary, start_of_day, zone_names
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.billing_period import Calendar
from services.subscriptions.domain.lifecycle import SubscriptionState
from services.subscriptions.domain.subscription import (
    DEFAULT_PRORATION,
    Activation,
    Anchoring,
    FirstPart,
    ProrationOptions,
    Reminder,
    Subscription,
    TermReversed,
    TrialEnd,
)
from services.subscriptions.domain.subscription_item import ItemSegment, Offer, SubscriptionItem
from services.subscriptions.domain.term_reminders import term_reminders


@dataclass(frozen=True, slots=True)
class Terms:
    """How a subscription begins. `starts_on` is None while its beginning waits for `activation`.

    `anchor_on` is a date from which periods are counted, which may lie before or after the start; without it the start
    (or the end of the trial) is, or with `calendar` anchoring the first of the month, the Monday, or 1 January before.
    `first_part` is what becomes of a part of a period before the anchor's day. `trial` is its length, None for none;
    `trial_reminder_days` before its end the customer is reminded of it.
    """

    zone: str
    starts_on: date
    ends_on: date | None = None
    anchor_on: date | None = None
    anchoring: Anchoring = "anniversary"
    first_part: FirstPart = "prorated"
    trial: Interval | None = None
    trial_bills_usage: bool = False
    trial_reminder_days: tuple[int, ...] = ()
    trial_without_payment_method: TrialEnd = "continue"
    activation: Activation | None = None
    term: AgreedTerm | None = None
    proration: ProrationOptions = DEFAULT_PRORATION
    billed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Parties:
    """Who agrees: `payer_id` pays where that is neither the customer nor, as far as set, its parent."""

    customer_id: str
    payer_id: str | None = None
    external_id: str | None = None
    test_clock_id: str | None = None


def agree(
    parties: Parties,
    offer: Offer,
    items: Sequence[SubscriptionItem],
    terms: Terms,
    *,
    id: str,
    created_at: datetime,
) -> Subscription:
    """A new agreement that has not begun. It runs from the start of `starts_on` until the start of `ends_on`.

    Raises: UnknownZone, TermReversed.
    """
    if terms.zone not in zone_names():
        raise UnknownZone(
            "not an IANA time zone", pointer="/zone", remedy="Name a zone such as Europe/Amsterdam."
        )
    if terms.ends_on is not None and terms.ends_on <= terms.starts_on:
        raise TermReversed(
            "ends_on is the first day after the term, so it is later than starts_on", pointer="/ends_on"
        )
    bare = Subscription(
        id=id,
        customer_id=parties.customer_id,
        payer_id=parties.payer_id,
        external_id=parties.external_id,
        test_clock_id=parties.test_clock_id,
        plan_version_id=offer.plan_version_id,
        plan_code=offer.plan_code,
        plan_name=offer.plan_name,
        overlay_id=offer.overlay_id,
        currency=offer.currency,
        calendar=Calendar(terms.starts_on, offer.interval, terms.zone),
        segments=(),
        starts_at=start_of_day(terms.starts_on, terms.zone),
        term_ends_at=start_of_day(terms.ends_on, terms.zone) if terms.ends_on is not None else None,
        created_at=created_at,
        trial_without_payment_method=terms.trial_without_payment_method,
        merges_stub=terms.first_part == "merged",
        activation=terms.activation,
        term=terms.term,
        proration=terms.proration,
        billed_until=terms.billed_until,
        state=SubscriptionState.AWAITING_ACTIVATION if terms.activation else SubscriptionState.SCHEDULED,
    )
    return begun_on(bare, terms.starts_on, items, offer, terms)


def begun_on(
    subscription: Subscription,
    starts_on: date,
    items: Sequence[SubscriptionItem],
    offer: Offer,
    terms: Terms,
) -> Subscription:
    """What follows from the day on which it begins: trial, anchor, segments, the end of its first phase, its minimum term
    (which counts from the start of billing, after a trial), reminders.
    """
    zone = terms.zone
    trial_ends_on = boundary(starts_on, terms.trial, 1) if terms.trial is not None else None
    billed_from = trial_ends_on or starts_on
    calendar = Calendar(_anchor(terms, billed_from, offer.interval), offer.interval, zone)
    starts_at = start_of_day(starts_on, zone)
    recurring_on = billed_from
    if terms.first_part == "free" and calendar.bounds_on(billed_from).start_on != billed_from:
        recurring_on = calendar.bounds_on(billed_from).end_on
    segments = []
    for item in items:
        on = starts_on
        if item.kind == "recurring":
            on = recurring_on
        elif item.kind == "usage" and not terms.trial_bills_usage:
            on = billed_from
        segments.append(ItemSegment(item, start_of_day(on, zone), on))
    phase = offer.phase_after(None)
    phase_ends = None
    if phase is not None and phase.periods is not None:
        phase_ends = phase.periods + (1 if trial_ends_on is not None else 0)
    trial_ends_at = start_of_day(trial_ends_on, zone) if trial_ends_on is not None else None
    term = subscription.term.begun(billed_from) if subscription.term is not None else None
    reminders = term_reminders(term, zone, after=starts_at)
    if trial_ends_at is not None and trial_ends_on is not None:
        reminders += tuple(
            Reminder(start_of_day(trial_ends_on - days * DAY, zone), "trial_ending", days, trial_ends_at)
            for days in terms.trial_reminder_days
            if trial_ends_on - days * DAY > starts_on
        )
    return replace(
        subscription,
        calendar=calendar,
        segments=tuple(segments),
        starts_at=starts_at,
        trial_ends_at=trial_ends_at,
        phase=phase.code if phase else None,
        phase_ends_index=phase_ends,
        reminders=reminders,
        term=term,
    )


def _anchor(terms: Terms, billed_from: date, interval: Interval) -> date:
    """Calendar anchoring: the first of the month, the Monday, or the first of the year; else what was asked for."""
    if terms.anchor_on is not None:
        return terms.anchor_on
    if terms.anchoring == "anniversary":
        return billed_from
    if interval.unit == "week":
        return billed_from - billed_from.weekday() * DAY
    if interval.unit == "day":
        return billed_from
    if interval.unit == "year" or interval.count in (3, 4, 6, 12):
        return billed_from.replace(month=1, day=1)
    return billed_from.replace(day=1)
