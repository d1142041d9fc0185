"""What a change makes of a subscription: what is agreed on from when, and what its periods are counted by."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from libs.common.periods import Interval
from services.subscriptions.domain.change import (
    AddOnNotAgreed,
    Change,
    ChangeNotAtBoundary,
    apply_change,
    moment_of,
)
from services.subscriptions.domain.period_terms import terms_of
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import (
    QuantityNegative,
    QuantityWithoutPrice,
    SubscriptionItemNotFound,
)
from tests.support.subscriptions import TENANT, utc
from tests.unit.subscriptions.life import (
    BOXES,
    LARGE,
    NOTHING,
    SMALL,
    YEARLY,
    changed,
    running,
    scheduled,
    told,
)

FIVE, SEVEN = Decimal(5), Decimal(7)
START, MIDDLE, LATER, END = (
    utc("2025-06-01"),
    utc("2025-06-16T09:00"),
    utc("2025-06-20T09:00"),
    utc("2025-07-01"),
)


def agreed(subscription: Subscription, code: str) -> list[tuple[str, object, object]]:
    """Price and quantity of one item in the current period, from when until when."""
    assert subscription.period is not None
    terms = terms_of(subscription, subscription.period, is_over=False)
    return [(level, start, end) for item, level, start, end in told(terms) if item == code]


def test_a_quantity_holds_from_the_moment_on() -> None:
    after = changed(running(), "2025-06-16T09:00", quantities={"seats": FIVE})
    assert agreed(after, "seats") == [("small.seats 3", START, MIDDLE), ("small.seats 5", MIDDLE, END)]
    assert agreed(after, "talk") == [("small.talk None", START, END)]
    assert after.touched == {0}


def test_the_same_again_changes_nothing() -> None:
    once = changed(running(), "2025-06-16T09:00", quantities={"seats": FIVE})
    assert changed(once, "2025-06-16T09:00", quantities={"seats": FIVE}) == once
    assert changed(once, "2025-06-20T09:00", quantities={"seats": FIVE}) == once


def test_another_plan_keeps_the_quantities_of_what_it_has_too() -> None:
    after = changed(running(), "2025-06-16T09:00", offer=LARGE)
    assert agreed(after, "seats") == [("large.seats 3", MIDDLE, END), ("small.seats 3", START, MIDDLE)]
    assert agreed(after, "help") == [("large.help 1", MIDDLE, END)]
    assert agreed(after, "talk") == [("small.talk None", START, MIDDLE)]
    assert after.plan_code == "large"


def test_what_a_plan_charges_once_is_charged_once_however_often_it_is_gone_back_to() -> None:
    after = running()
    for day, offer in (("11", LARGE), ("12", SMALL), ("13", LARGE)):
        after = changed(after, f"2025-06-{day}T09:00", offer=offer)
    assert len([one for one in after.segments if one.item.kind == "one_time"]) == 1


def test_an_add_on_comes_and_goes() -> None:
    added = changed(running(), "2025-06-16T09:00", add_ons=((BOXES, {"box": FIVE}),))
    assert agreed(added, "boxes/box") == [("boxes.box 5", MIDDLE, END)]
    assert changed(added, "2025-06-16T09:00", add_ons=((BOXES, {"box": FIVE}),)) == added
    more = changed(added, "2025-06-20T09:00", quantities={"boxes/box": SEVEN})
    assert agreed(more, "boxes/box") == [("boxes.box 5", MIDDLE, LATER), ("boxes.box 7", LATER, END)]
    gone = changed(more, "2025-06-20T09:00", removes=("boxes",))
    assert agreed(gone, "boxes/box") == [("boxes.box 5", MIDDLE, LATER)]
    with pytest.raises(AddOnNotAgreed):
        changed(gone, "2025-06-20T09:00", removes=("boxes",))


def test_of_two_changes_at_one_instant_the_last_holds_with_its_proration() -> None:
    first = changed(running(), "2025-06-16T09:00", quantities={"seats": FIVE}, proration="none")
    then = changed(first, "2025-06-16T09:00", quantities={"seats": SEVEN}, proration="second")
    assert agreed(then, "seats") == [("small.seats 3", START, MIDDLE), ("small.seats 7", MIDDLE, END)]
    seats = [one for one in then.segments if one.item.code == "seats"]
    assert (seats[0].end_proration, seats[1].start_proration) == ("second", "second")


def test_with_effect_in_the_past_what_was_agreed_on_for_later_gives_way() -> None:
    later = changed(running(), "2025-06-20T09:00", quantities={"seats": FIVE})
    back = changed(later, "2025-06-16T09:00", "2025-06-25", quantities={"seats": FIVE})
    assert agreed(back, "seats") == [("small.seats 3", START, MIDDLE), ("small.seats 5", MIDDLE, END)]


def test_with_effect_in_the_past_another_plan_takes_the_place_of_all_that_came_after() -> None:
    later = changed(running(), "2025-06-20T09:00", offer=LARGE)
    back = changed(later, "2025-06-16T09:00", "2025-06-25", offer=SMALL)
    assert agreed(back, "help") == []
    assert [level for level, _, _ in agreed(back, "seats")] == ["small.seats 3", "small.seats 3"]


def test_with_effect_in_an_earlier_period_all_from_that_on_are_touched() -> None:
    subscription = running()
    assert subscription.period is not None
    third = subscription.calendar.after(subscription.calendar.after(subscription.period))
    later = changed(
        replace(subscription, period=third),
        "2025-07-10",
        "2025-08-15",
        first_touched=1,
        quantities={"seats": FIVE},
    )
    assert later.touched == {1, 2}


def test_in_a_trial_what_recurs_begins_when_it_ends() -> None:
    trial = running(trial=Interval("day", 14))
    ends = utc("2025-06-15")
    for wanted in ({"quantities": {"seats": FIVE}}, {"offer": LARGE}, {"add_ons": ((BOXES, NOTHING),)}):
        after = changed(trial, "2025-06-05T09:00", **wanted)
        recurring = [one for one in after.segments if one.item.kind == "recurring"]
        assert {one.start for one in recurring} == {ends}


def test_another_interval_cuts_the_period_and_is_counted_from_the_change() -> None:
    subscription = running()
    after, cut = apply_change(
        subscription, Change(offer=YEARLY), moment_of(subscription, MIDDLE, MIDDLE), tenant=TENANT
    )
    assert cut is not None
    assert (cut.ended.end, cut.begins.start, cut.begins.index) == (MIDDLE, MIDDLE, 1)
    assert cut.ended.full == subscription.period.bounds  # type: ignore[union-attr]
    assert (after.calendar.anchor_on, cut.begins.end_on) == (date(2025, 6, 16), date(2026, 6, 16))


def test_another_interval_may_keep_the_anchor() -> None:
    after = changed(running(), "2025-06-16T09:00", offer=YEARLY, anchoring="keep")
    assert after.period is not None
    assert (after.period.start_on, after.period.end_on) == (date(2025, 6, 16), date(2026, 6, 1))
    assert after.period.full is not None


def test_at_the_start_of_its_period_that_is_cut_empty() -> None:
    subscription = running()
    _, cut = apply_change(
        subscription, Change(offer=YEARLY), moment_of(subscription, START, START), tenant=TENANT
    )
    assert cut is not None
    assert (cut.ended.start, cut.ended.end, cut.begins.start) == (START, START, START)


def test_before_the_beginning_the_anchor_stays_and_in_a_trial_it_is_the_end_of_that() -> None:
    waiting = changed(scheduled(), "2025-05-20T09:00", offer=YEARLY)
    assert (waiting.calendar.anchor_on, waiting.starts_at) == (date(2025, 6, 1), START)
    trial = changed(running(trial=Interval("day", 14)), "2025-06-05T09:00", offer=YEARLY)
    assert trial.calendar.anchor_on == date(2025, 6, 15)


def test_the_currency_changes_with_a_period_only() -> None:
    dollars = replace(SMALL, currency="USD")
    with pytest.raises(ChangeNotAtBoundary):
        changed(running(), "2025-06-16T09:00", offer=dollars)
    assert changed(running(), "2025-07-01", offer=dollars).currency == "USD"


@pytest.mark.parametrize(
    ("quantities", "error"),
    [
        ({"talk": FIVE}, QuantityWithoutPrice),
        ({"seats": Decimal(-1)}, QuantityNegative),
        ({"unknown": FIVE}, SubscriptionItemNotFound),
    ],
)
def test_a_quantity_that_cannot_be_agreed_on_is_refused(
    quantities: dict[str, Decimal], error: type[Exception]
) -> None:
    with pytest.raises(error):
        changed(running(), "2025-06-16T09:00", quantities=quantities)
