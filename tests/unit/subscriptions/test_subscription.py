"""Subscriptions: when something is due, and how one begins."""

from __future__ import annotations

from datetime import date

import pytest

from libs.common.periods import Interval, UnknownZone
from services.subscriptions.domain.agree import Parties, Terms, agree
from services.subscriptions.domain.subscription import Subscription, SubscriptionState, TermReversed
from services.subscriptions.domain.subscription_item import Offer
from tests.support.subscriptions import NOW, a_calendar, a_scheduled, a_subscription, utc


def test_each_change_is_a_version() -> None:
    assert a_subscription(version=4).changed(external_id="x").version == 5


START, BOUNDARY = utc("2025-01-31T05:00"), utc("2025-02-28T05:00")
MIDDLE, LATER = utc("2025-02-10"), utc("2025-03-10")


@pytest.mark.parametrize(
    ("subscription", "due_at", "renews_at"),
    [
        (a_scheduled(), START, None),
        (a_subscription(), BOUNDARY, BOUNDARY),
        (a_subscription(state=SubscriptionState.PAST_DUE), BOUNDARY, BOUNDARY),
        (a_subscription(cancels_at=MIDDLE), MIDDLE, None),
        (a_subscription(cancels_at=BOUNDARY), BOUNDARY, None),
        (a_subscription(cancels_at=LATER), BOUNDARY, BOUNDARY),
        (a_subscription(term_ends_at=MIDDLE, cancels_at=LATER), MIDDLE, None),
        (a_subscription(term_ends_at=LATER, cancels_at=MIDDLE), MIDDLE, None),
        (a_subscription(state=SubscriptionState.ENDED), None, None),
        (a_scheduled(state=SubscriptionState.CANCELED), None, None),
    ],
)
def test_when_something_is_due(subscription: Subscription, due_at: object, renews_at: object) -> None:
    assert (subscription.due_at, subscription.renews_at) == (due_at, renews_at)


def _agree(starts_on: str, ends_on: str | None, zone: str = "America/New_York") -> Subscription:
    terms = Terms(
        zone, date.fromisoformat(starts_on), ends_on=date.fromisoformat(ends_on) if ends_on else None
    )
    offer = Offer("plv_1", "power", "Power", (), Interval("month"), "USD")
    return agree(Parties("cus_1"), offer, (), terms, id="sub_1", created_at=NOW)


def test_a_term_is_from_the_start_of_a_local_day_to_the_start_of_another() -> None:
    agreed = _agree("2013-01-01", "2014-01-01")
    assert (agreed.starts_at, agreed.ends_at) == (utc("2013-01-01T05:00"), utc("2014-01-01T05:00"))
    assert agreed.calendar == a_calendar("2013-01-01")
    assert _agree("2013-01-01", "2013-01-02").ends_at == utc("2013-01-02T05:00")
    assert _agree("2013-01-01", None).ends_at is None


@pytest.mark.parametrize("ends_on", ["2013-01-01", "2012-12-31"])
def test_a_term_has_at_least_one_day(ends_on: str) -> None:
    with pytest.raises(TermReversed) as refused:
        _agree("2013-01-01", ends_on)
    assert refused.value.pointer == "/ends_on"


def test_a_zone_is_one_of_the_pinned_ones() -> None:
    with pytest.raises(UnknownZone) as refused:
        _agree("2013-01-01", None, zone="America/Gotham")
    assert refused.value.pointer == "/zone"
