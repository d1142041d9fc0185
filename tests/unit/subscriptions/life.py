"""A subscription on two plans and an add-on, for tests of what becomes of it by changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from libs.common.periods import Interval
from services.subscriptions.domain.agree import Parties, Terms, agree
from services.subscriptions.domain.change import Change, apply_change, moment_of
from services.subscriptions.domain.period_terms import PeriodTerms
from services.subscriptions.domain.renewal import decide_start
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Offer, OfferedPrice, items_of
from tests.support.subscriptions import NOW, TENANT, utc

SUBSCRIPTION = "sub_00000000000000000000000001"
MONTHLY = Interval("month")
NOTHING: Mapping[str, Decimal] = {}


def an_offer(code: str, *, interval: Interval = MONTHLY, is_add_on: bool = False, **kinds: Any) -> Offer:
    prices = tuple(
        OfferedPrice(f"{code}.{name}", name, kind, "talk" if kind == "usage" else None)
        for name, kind in kinds.items()
    )
    return Offer(f"plv_{code}", code, code.title(), prices, interval, "EUR", is_add_on=is_add_on)


SMALL = an_offer("small", seats="recurring", talk="usage")
LARGE = an_offer("large", seats="recurring", help="recurring", setup="one_time")
YEARLY = an_offer("yearly", interval=Interval("year"), seats="recurring")
BOXES = an_offer("boxes", is_add_on=True, box="recurring", delivery="one_time")


def scheduled(
    starts_on: str = "2025-06-01", *, zone: str = "UTC", offer: Offer = SMALL, **terms: Any
) -> Subscription:
    items = items_of(offer, {"seats": Decimal(3)}, tenant=TENANT, subscription_id=SUBSCRIPTION)
    agreed = Terms(zone, date.fromisoformat(starts_on), **terms)
    return agree(Parties("cus_1"), offer, items, agreed, id=SUBSCRIPTION, created_at=NOW)


def running(starts_on: str = "2025-06-01", **terms: Any) -> Subscription:
    waiting = scheduled(starts_on, **terms)
    outcome = decide_start(waiting, waiting.starts_at)
    subscription: Subscription = outcome.subscription  # type: ignore[union-attr]
    return subscription


def changed(
    subscription: Subscription,
    at: str,
    now: str | None = None,
    *,
    first_touched: int | None = None,
    **wanted: Any,
) -> Subscription:
    moment = moment_of(subscription, utc(at), utc(now or at))
    after, _ = apply_change(
        subscription, Change(**wanted), moment, tenant=TENANT, first_touched=first_touched
    )
    return after


def told(terms: PeriodTerms) -> list[tuple[str, str, datetime, datetime]]:
    """Item, price and quantity, from when until when; in the order of time."""
    return sorted(
        (segment.item.code, f"{segment.item.price_id} {segment.item.quantity}", segment.start, segment.end)
        for segment in terms.segments
    )
