"""Changes of an agreement: another plan or version, quantities, add-ons, anchor, zone, currency, payer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.periods import local_date
from services.subscriptions.domain.billing_period import BillingPeriod, Calendar
from services.subscriptions.domain.subscription import WAITING, Subscription
from services.subscriptions.domain.subscription_item import (
    ItemSegment,
    Offer,
    PriceKind,
    Proration,
    QuantityNegative,
    QuantityWithoutPrice,
    SubscriptionItem,
    SubscriptionItemNotFound,
    items_of,
)
from services.subscriptions.domain.zone_change import in_zone

Anchoring = Literal["keep", "restart"]


class AddOnNotAgreed(RuleViolation):
    """Something is to be taken away that the subscription does not have."""

    code = "add_on_not_agreed"
    title = "The subscription has no such add-on"


class ChangeNotAtBoundary(RuleViolation):
    code = "change_only_at_boundary"
    title = "This can be changed at the end of a period only"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; what is None or empty stays. Quantities are by item code: `seats`, `add-on/seats`.

    `anchoring` says what becomes of the anchor where the interval changes: it is kept, or the change is the new anchor
    (the default). `proration` stands in place of that of the prices. `is_indexation`: the new prices are the old ones,
    adjusted to an index.
    """

    offer: Offer | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    add_ons: tuple[tuple[Offer, Mapping[str, Decimal]], ...] = ()
    removes: tuple[str, ...] = ()
    anchor_on: date | None = None
    anchoring: Anchoring | None = None
    zone: str | None = None
    payer_id: str | None = None
    external_id: str | None = None
    proration: Proration | None = None
    is_indexation: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """When a change takes effect: the instant, its local date, and the subscription's own now."""

    at: datetime
    on: date
    now: datetime


def moment_of(subscription: Subscription, at: datetime, now: datetime) -> Moment:
    return Moment(at, local_date(at, subscription.calendar.zone), now)


@dataclass(frozen=True, slots=True)
class Cut:
    """The change began a new period: `ended` is over, `begins` follows, at the same instant."""

    ended: BillingPeriod
    begins: BillingPeriod


def apply_change(
    subscription: Subscription,
    change: Change,
    moment: Moment,
    *,
    tenant: str,
    first_touched: int | None = None,
) -> tuple[Subscription, Cut | None]:
    """The subscription as changed, not yet a new version of it. Applying the same again changes nothing.

    At the end of its period, the change holds from the next period on, which is counted by its calendar. A change of
    interval or anchor inside a period cuts that. `first_touched` is the number of the earliest period that it is about,
    where that is over already.
    Raises: QuantityWithoutPrice, QuantityNegative, SubscriptionItemNotFound, AddOnNotAgreed, ChangeNotAtBoundary.
    """
    before, period = subscription, subscription.period
    at_boundary = period is not None and moment.at == period.end
    if change.offer is not None and change.offer.currency != subscription.currency:
        if not (at_boundary or subscription.state in WAITING):
            raise ChangeNotAtBoundary(
                "the currency of a running subscription changes with a period",
                pointer="/currency",
                remedy='Ask for it with {"when": "period_end"}.',
            )
        subscription = replace(subscription, currency=change.offer.currency)
    subscription = _with_items(subscription, change, moment, tenant=tenant, at_boundary=at_boundary)
    if change.payer_id is not None:
        subscription = replace(subscription, payer_id=change.payer_id)
    touched = set(subscription.touched)
    if subscription.segments != before.segments and period is not None and not at_boundary:
        start = period.index if first_touched is None else first_touched
        touched |= set(range(start, period.index + 1))
    subscription = replace(subscription, touched=frozenset(touched))
    return _with_calendar(subscription, change, moment, at_boundary=at_boundary)


def _with_items(
    subscription: Subscription, change: Change, moment: Moment, *, tenant: str, at_boundary: bool
) -> Subscription:
    wanted: dict[str, SubscriptionItem] = {item.id: item for item in subscription.items}
    agreed = dict(wanted)
    once: list[SubscriptionItem] = []
    named: set[str] = set()
    quantities = dict(change.quantities)
    if change.offer is not None:
        own = {code: quantity for code, quantity in quantities.items() if "/" not in code}
        quantities = {code: quantity for code, quantity in quantities.items() if "/" in code}
        phase = change.offer.phase_after(None)
        found = items_of(
            change.offer,
            own,
            tenant=tenant,
            subscription_id=subscription.id,
            phase=phase.code if phase else None,
            before={item.id: item.quantity for item in subscription.items},
        )
        wanted = {id: item for id, item in wanted.items() if item.add_on is not None}
        named |= {segment.item.id for segment in subscription.segments if segment.item.add_on is None}
        named |= {item.id for item in found}
        charged = {segment.item.id for segment in subscription.segments if segment.item.kind == "one_time"}
        once += [item for item in found if item.kind == "one_time" and item.id not in charged]
        wanted |= {item.id: item for item in found if item.kind != "one_time"}
        subscription = _with_plan(subscription, change.offer, at_boundary=at_boundary)
    for offer, given in change.add_ons:
        found = items_of(
            offer,
            given,
            tenant=tenant,
            subscription_id=subscription.id,
            before={item.id: item.quantity for item in subscription.items},
        )
        if not any(item.id in agreed for item in found):  # it comes to what is agreed on, and does not stay
            once += [item for item in found if item.kind == "one_time"]
        wanted |= {item.id: item for item in found if item.kind != "one_time"}
        named |= {item.id for item in found}
    for code in change.removes:
        removed = [
            id for id, item in wanted.items() if item.add_on is not None and code in (item.add_on, item.code)
        ]
        if not removed:
            raise AddOnNotAgreed(
                "it has no add-on, or item of an add-on, with this code",
                pointer="/remove",
                add_on=code,
                add_ons=sorted({item.add_on for item in wanted.values() if item.add_on is not None}),
            )
        for id in removed:
            del wanted[id]
        named |= set(removed)
    for code, quantity in quantities.items():
        item = _item_with(code, wanted.values())
        if item.kind != "recurring":
            raise QuantityWithoutPrice("usage has no quantity to agree on", pointer=f"/quantities/{code}")
        if quantity < 0:
            raise QuantityNegative("a quantity is zero or more", pointer=f"/quantities/{code}")
        wanted[item.id] = replace(item, quantity=quantity)
        named.add(item.id)
    # In the order of the plan and its add-ons, which is the order that items are shown in.
    rewritten = {id: wanted.get(id) for id in (*wanted, *sorted(named - wanted.keys())) if id in named}
    segments = _rewritten(
        subscription, rewritten, moment, change.proration, is_indexation=change.is_indexation
    )
    at, on = _beginning(subscription, moment)
    segments += [ItemSegment(item, at, on, start_proration=change.proration) for item in once]
    return replace(subscription, segments=tuple(segments))


def _item_with(code: str, items: Iterable[SubscriptionItem]) -> SubscriptionItem:
    known = {item.code: item for item in items}
    if code not in known:
        raise SubscriptionItemNotFound(
            "the subscription has no item with this code",
            pointer=f"/quantities/{code}",
            items=sorted(known),
            remedy="Name one of its items; those of an add-on as add-on/price.",
        )
    return known[code]


def _beginning(subscription: Subscription, moment: Moment) -> tuple[datetime, date]:
    """What is agreed on before the beginning begins then."""
    if moment.at < subscription.starts_at:
        return subscription.starts_at, local_date(subscription.starts_at, subscription.calendar.zone)
    return moment.at, moment.on


def _rewritten(
    subscription: Subscription,
    wanted: Mapping[str, SubscriptionItem | None],
    moment: Moment,
    proration: Proration | None,
    *,
    is_indexation: bool = False,
) -> list[ItemSegment]:
    """From the moment on, each item that is named is as it is wanted (None: gone), whatever was agreed on for later.

    What is as it is wanted all that time stays as it is. Items that are not named, and what is charged once, stay too.
    """
    kept: list[ItemSegment] = []
    stays: set[str] = set()
    for segment in subscription.segments:
        item = segment.item
        if item.kind == "one_time" or item.id not in wanted:
            continue
        begins, _ = _begins(subscription, item.kind, moment)
        if segment.end is None and item == wanted[item.id] and segment.start <= begins:
            stays.add(item.id)
    goes_on = {s.item.id for s in subscription.segments if s.end is None or s.end > moment.at}
    stays |= {id for id, wished in wanted.items() if wished is None and id not in goes_on}
    # Of several changes of an item at one instant the last one's method holds; what it means for a period that ended
    # then, if any, was told with that period's end.
    period = subscription.period
    is_inside = period is not None and moment.at > period.start
    is_at_start = period is not None and moment.at == period.start
    for segment in subscription.segments:
        item = segment.item
        if item.kind == "one_time" or item.id not in wanted or item.id in stays:
            kept.append(segment)
        elif segment.start >= moment.at:
            continue
        elif segment.end is None or segment.end > moment.at:
            kept.append(segment.ended(moment.at, moment.on, None if is_at_start else proration))
        elif segment.end == moment.at:
            method = proration if is_inside else segment.end_proration
            kept.append(segment.ended(moment.at, moment.on, method))
        else:
            kept.append(segment)
    for id, wished in wanted.items():
        if wished is not None and id not in stays:
            at, on = _begins(subscription, wished.kind, moment)
            kept.append(
                ItemSegment(
                    wished,
                    at,
                    on,
                    start_proration=proration if at == moment.at else None,
                    is_indexation=is_indexation,
                )
            )
    return kept


def _begins(subscription: Subscription, kind: PriceKind, moment: Moment) -> tuple[datetime, date]:
    """From when something of this kind is agreed on that is asked for at the moment.

    Nothing begins before the agreement does, in a trial what is not charged in it, nor anything before the rest of its
    kind (or else all the rest) where that has yet to begin.
    """
    at, on = _beginning(subscription, moment)
    segments = [segment for segment in subscription.segments if segment.item.kind != "one_time"]
    trial_ends_at = subscription.trial_ends_at
    if trial_ends_at is not None and at < trial_ends_at:
        of_kind = [segment for segment in segments if segment.item.kind == kind]
        if kind == "usage" and any(segment.start < trial_ends_at for segment in of_kind):
            return at, on  # usage is charged in this trial
        at, on = trial_ends_at, local_date(trial_ends_at, subscription.calendar.zone)
    opens = [segment for segment in segments if segment.end is None]
    known = [segment for segment in opens if segment.item.kind == kind] or opens
    first = min(((segment.start, segment.start_on) for segment in known), default=(at, on))
    return first if first[0] > max(moment.at, moment.now, at) else (at, on)


def _with_plan(subscription: Subscription, offer: Offer, *, at_boundary: bool) -> Subscription:
    phase = offer.phase_after(None)
    index = 0 if subscription.period is None else subscription.period.index + at_boundary
    if (subscription.period is not None and subscription.period.kind == "trial" and not at_boundary) or (
        subscription.period is None and subscription.trial_ends_at is not None
    ):
        index += 1
    return replace(
        subscription,
        plan_version_id=offer.plan_version_id,
        plan_code=offer.plan_code,
        plan_name=offer.plan_name,
        overlay_id=offer.overlay_id,
        phase=phase.code if phase else None,
        phase_ends_index=index + phase.periods if phase is not None and phase.periods is not None else None,
    )


def enter_next_phase(
    subscription: Subscription, offer: Offer, moment: Moment, index: int, *, tenant: str
) -> Subscription:
    """With period `index` the next phase of the plan begins: its prices take the place of those of the last one.

    An item of the new phase has the quantity that an item of the same product had in the old one, or one.
    """
    following = offer.phase_after(subscription.phase)
    if following is None:
        return replace(subscription, phase_ends_index=None)
    by_id = {price.id: price for price in offer.prices}
    over = {
        item.id
        for item in subscription.items
        if item.add_on is None and item.price_id in by_id and by_id[item.price_id].phase is not None
    }
    had = {
        by_id[item.price_id].product_id: item.quantity
        for item in subscription.items
        if item.id in over and item.quantity is not None
    }
    quantities = {
        price.code: had[price.product_id]
        for price in offer.prices
        if price.phase == following.code and price.kind == "recurring" and price.product_id in had
    }
    begun = [
        item
        for item in items_of(
            offer, quantities, tenant=tenant, subscription_id=subscription.id, phase=following.code
        )
        if by_id[item.price_id].phase == following.code
    ]
    wanted: dict[str, SubscriptionItem | None] = dict.fromkeys(over)
    wanted |= {item.id: item for item in begun if item.kind != "one_time"}
    segments = _rewritten(subscription, wanted, moment, None)
    segments += [ItemSegment(item, moment.at, moment.on) for item in begun if item.kind == "one_time"]
    return replace(
        subscription,
        segments=tuple(segments),
        phase=following.code,
        phase_ends_index=None if following.periods is None else index + following.periods,
    )


def _with_calendar(
    subscription: Subscription, change: Change, moment: Moment, *, at_boundary: bool
) -> tuple[Subscription, Cut | None]:
    """The calendar that the change asks for, and what that makes of the current period."""
    calendar, period = subscription.calendar, subscription.period
    interval = change.offer.interval if change.offer is not None else calendar.interval
    anchor_on = calendar.anchor_on
    if change.anchor_on is not None:
        anchor_on = change.anchor_on
    elif period is not None and (
        change.anchoring == "restart" or (change.anchoring is None and interval != calendar.interval)
    ):
        # What has not begun keeps the anchor of its beginning, and in a trial it is the day on which that ends.
        anchor_on = period.end_on if period.kind == "trial" else moment.on
    zone = change.zone or calendar.zone
    counted = Calendar(anchor_on, interval, zone)
    recounted = (anchor_on, interval) != (calendar.anchor_on, calendar.interval)
    if zone != calendar.zone:
        subscription = in_zone(subscription, zone, moment.at)
    subscription = replace(subscription, calendar=counted)
    if period is None:
        if subscription.activation is not None and change.anchor_on is not None:
            activation = replace(subscription.activation, anchor_on=change.anchor_on)
            subscription = replace(subscription, activation=activation)
        return subscription, None
    if zone != calendar.zone and not at_boundary:
        period = calendar.moved(period, zone, moment.at)
        subscription = _touching(replace(subscription, period=period), period.index)
    if not recounted or at_boundary or period.kind == "trial":
        return subscription, None
    ended = calendar.cut(period, moment.at)
    begins = counted.period_from(ended.end_on, moment.at, index=period.index + 1)
    subscription = _touching(replace(subscription, period=begins), ended.index)
    return subscription, Cut(ended, begins)


def _touching(subscription: Subscription, index: int) -> Subscription:
    return replace(subscription, touched=subscription.touched | {index})
