"""Late usage: how long it is billed, by local dates; and what a correction says has changed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.exactly import EXACT
from services.metering.domain.late_usage import LateUsageTerms, UsageDifference, differences_between
from services.metering.domain.usage_window import UsageTotal


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class Case(NamedTuple):
    name: str
    days: int | None
    zone: str
    window_end: str
    noted_at: str
    billable: bool


AMS, NYC, HOWE = "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe"

CASES = [
    # The day on which the window ended is day 0, and counts whole.
    Case("zero_days_until_midnight", 0, "UTC", "2025-02-01T00:00Z", "2025-02-01T23:59:59.999999Z", True),
    Case("zero_days_and_no_later", 0, "UTC", "2025-02-01T00:00Z", "2025-02-02T00:00Z", False),
    Case("zero_days_of_an_end_at_noon", 0, "UTC", "2025-02-01T12:00Z", "2025-02-01T23:59Z", True),
    Case("noted_by_a_clock_before_the_end", 0, "UTC", "2025-02-01T00:00Z", "2025-01-31T00:00Z", True),
    # Clocks go forward on 30 March 2025: that day has 23 hours.
    Case("one_day_of_23_hours", 1, AMS, "2025-03-29T00:00+01:00", "2025-03-30T23:59:59+02:00", True),
    Case("one_day_of_23_hours_over", 1, AMS, "2025-03-29T00:00+01:00", "2025-03-31T00:00+02:00", False),
    # And back on 26 October: 25 hours. 48 hours after the end it is still the same date.
    Case("one_day_of_25_hours", 1, AMS, "2025-10-25T00:00+02:00", "2025-10-26T23:59:59+01:00", True),
    Case("one_day_of_25_hours_over", 1, AMS, "2025-10-25T00:00+02:00", "2025-10-27T00:00+01:00", False),
    Case("35_days_over_the_change", 35, NYC, "2025-02-10T00:00-05:00", "2025-03-17T23:59:59-04:00", True),
    Case("35_days_over_the_change_over", 35, NYC, "2025-02-10T00:00-05:00", "2025-03-18T00:00-04:00", False),
    # The same instant is another date elsewhere.
    Case("by_the_date_of_the_zone", 0, NYC, "2025-01-31T23:00-05:00", "2025-02-01T00:00-05:00", False),
    Case("half_an_hour_forward", 1, HOWE, "2025-10-04T00:00+10:30", "2025-10-05T23:59+11:00", True),
    Case("half_an_hour_forward_over", 1, HOWE, "2025-10-04T00:00+10:30", "2025-10-06T00:00+11:00", False),
    Case("without_end", None, "UTC", "2025-02-01T00:00Z", "2095-02-01T00:00Z", True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_late_usage_is_billable_for_so_many_local_dates(case: Case) -> None:
    terms = LateUsageTerms("next_invoice", case.days)
    assert terms.are_billable(at(case.window_end), at(case.noted_at), case.zone) == case.billable


def total(
    item: str, quantity: str, events: int, price: str | None = None, meter: str = "minutes"
) -> UsageTotal:
    return UsageTotal(item, meter, Decimal(quantity), events, price)


def difference(
    item: str, quantity: str, events: int, price: str | None = None, meter: str = "minutes"
) -> UsageDifference:
    return UsageDifference(item, meter, Decimal(quantity), events, price)


def test_a_difference_is_told_for_each_total_that_changed_and_for_no_other() -> None:
    before = [total("a", "5", 1), total("b", "7.5", 2), total("gone", "3", 1), total("never", "0", 0)]
    after = [total("a", "5", 1), total("b", "7.25", 3), total("new", "2", 1), total("nothing", "0", 0)]
    assert differences_between(before, after) == (
        difference("b", "-0.25", 1),
        difference("gone", "-3", -1),
        difference("new", "2", 1),
    )


def test_an_item_that_was_cut_by_a_change_of_price_is_told_by_its_prices() -> None:
    before, after = [total("a", "5", 2)], [total("a", "1", 1, "p1"), total("a", "4", 1, "p2")]
    assert differences_between(before, after) == (
        difference("a", "-5", -2),
        difference("a", "1", 1, "p1"),
        difference("a", "4", 1, "p2"),
    )


def test_as_much_from_other_events_is_a_difference_of_nothing() -> None:
    assert differences_between([total("a", "5", 2)], [total("a", "5", 1)]) == (difference("a", "0", -1),)


def test_a_level_from_before_the_window_is_used_without_an_event() -> None:
    assert differences_between([total("a", "0", 0)], [total("a", "12", 0)]) == (difference("a", "12", 0),)


quantities = st.decimals("-1e20", "1e20", places=12, allow_nan=False)
totals = st.lists(
    st.builds(
        lambda item, price, quantity, events: UsageTotal(item, "minutes", quantity, events, price),
        st.sampled_from("abc"),
        st.sampled_from([None, "p1", "p2"]),
        quantities,
        st.integers(1, 9),
    ),
    unique_by=lambda told: (told.item_id, told.price_id),
    max_size=6,
)


@given(before=totals, after=totals)
@settings(max_examples=60)
def test_what_was_said_and_the_differences_come_to_what_is_said_now(
    before: list[UsageTotal], after: list[UsageTotal]
) -> None:
    found = {(d.item_id, d.price_id): (d.quantity, d.event_count) for d in differences_between(before, after)}
    said = {(t.item_id, t.price_id): (t.quantity, t.event_count) for t in before}
    for key in found | said:
        quantity, events = said.pop(key, (Decimal(0), 0))
        more, more_events = found.get(key, (Decimal(0), 0))
        said[key] = (EXACT.add(quantity, more), events + more_events)
    now = {(t.item_id, t.price_id): (t.quantity, t.event_count) for t in after}
    assert {key: told for key, told in said.items() if told != (0, 0)} == now


@given(one=totals, other=totals)
@settings(max_examples=30)
def test_there_and_back_says_the_same_with_the_sign_turned(
    one: list[UsageTotal], other: list[UsageTotal]
) -> None:
    there = {(d.item_id, d.price_id): d for d in differences_between(one, other)}
    back = {(d.item_id, d.price_id): d for d in differences_between(other, one)}
    assert {key: (d.quantity.copy_negate(), -d.event_count) for key, d in there.items()} == {
        key: (d.quantity, d.event_count) for key, d in back.items()
    }
