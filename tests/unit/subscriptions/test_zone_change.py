"""Another zone: dates stay, and the instants that they stand for move."""

from __future__ import annotations

from datetime import date

from libs.common.periods import Interval, start_of_day
from services.subscriptions.domain.cancellation import cancel_at
from services.subscriptions.domain.subscription import Subscription
from tests.support.subscriptions import utc
from tests.unit.subscriptions.life import changed, running, scheduled

EAST, WEST = "Pacific/Tongatapu", "Pacific/Pago_Pago"


def moved(subscription: Subscription, at: str = "2025-06-10") -> Subscription:
    return changed(subscription, at, zone=WEST)


def test_the_period_keeps_its_dates() -> None:
    after = moved(running(zone=EAST))
    assert after.period is not None
    assert (after.period.start_on, after.period.end_on) == (date(2025, 6, 1), date(2025, 7, 1))
    assert after.period.end == start_of_day(date(2025, 7, 1), WEST)
    assert after.touched == {0}


def test_a_trial_ends_on_its_date_and_what_follows_begins_then() -> None:
    after = moved(running(zone=EAST, trial=Interval("day", 14), trial_reminder_days=(3,)))
    ends = start_of_day(date(2025, 6, 15), WEST)
    assert after.period is not None
    assert after.period.end == after.trial_ends_at == ends
    assert {segment.start for segment in after.segments} == {ends}
    assert [reminder.at for reminder in after.reminders] == [start_of_day(date(2025, 6, 12), WEST)]


def test_what_was_canceled_for_the_end_of_a_period_ends_with_it_still() -> None:
    subscription = running(zone=EAST)
    assert subscription.period is not None
    canceled = cancel_at(subscription, subscription.period.end, utc("2025-06-05")).subscription
    after = moved(canceled)
    assert after.period is not None
    assert after.cancels_at == after.period.end
    assert after.renews_at is None


def test_a_term_ends_and_an_agreement_begins_on_its_date() -> None:
    assert moved(running(zone=EAST, ends_on=date(2025, 9, 1))).term_ends_at == start_of_day(
        date(2025, 9, 1), WEST
    )
    after = moved(scheduled(zone=EAST), at="2025-05-20")
    begins = start_of_day(date(2025, 6, 1), WEST)
    assert after.starts_at == begins
    assert {segment.start for segment in after.segments} == {begins}


def test_an_instant_that_is_no_beginning_of_a_day_stays() -> None:
    canceled = cancel_at(running(zone=EAST), utc("2025-06-20T17:30"), utc("2025-06-05")).subscription
    assert moved(canceled).cancels_at == utc("2025-06-20T17:30")


def test_what_is_over_stays_when_it_was() -> None:
    first = changed(running(zone=EAST), "2025-06-05", quantities={"seats": 5})
    after = moved(first)
    assert [segment.end for segment in first.segments] == [segment.end for segment in after.segments]
