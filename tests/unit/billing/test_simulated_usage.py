"""Usage as it is given, and as a price of some periods gets it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from services.billing.domain.rating.usage import LevelChange, UsageGroup, UsageIncomplete
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import GivenEvent, GivenUsage, UsageBook, usage_faults
from tests.unit.billing.simulations import MONTH, a_usage_price, used, used_by_period

CALLS = a_usage_price("calls", "per_unit", "1")
QUARTER = Timetable("UTC", date(2026, 1, 1), date(2026, 1, 1), 3, MONTH)


def book(*given: GivenUsage, stored: tuple[GivenUsage, ...] = ()) -> UsageBook:
    return UsageBook(QUARTER, given, stored)


def an_event(value: str, at: str | None = None, id: str = "") -> GivenEvent:
    moment = None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)
    return GivenEvent(Decimal(value), {}, moment, id)


def of_events(*events: GivenEvent, **changes: object) -> GivenUsage:
    return replace(GivenUsage("/usage/0", meter="calls", events=events), **changes)  # type: ignore[arg-type]


def test_usage_without_a_period_is_that_of_each() -> None:
    found = book(used("calls", "5", event_count=2))
    assert found.of(CALLS, 1, 2).usage.quantity == 5
    together = found.of(CALLS, 0, 3).usage
    assert (together.quantity, together.event_count) == (15, 6)


def test_periods_of_which_nothing_is_told_had_no_usage() -> None:
    found = book(*used_by_period("calls", "5"))
    assert found.of(CALLS, 0, 3).usage.quantity == 5
    nothing = found.of(CALLS, 2, 3)
    assert (nothing.usage.quantity, nothing.usage.event_count, nothing.given) == (0, 0, ())


def test_a_price_comes_before_its_meter_and_what_is_given_before_what_is_stored() -> None:
    by_meter, by_price = used("calls", "1"), GivenUsage("/usage/1", price="calls", quantity=Decimal(2))
    stored = (GivenUsage("", price="calls", meter="calls", quantity=Decimal(3)),)
    assert book(by_meter, by_price).of(CALLS, 0, 1).usage.quantity == 2
    assert book(by_meter, stored=stored).of(CALLS, 0, 1).usage.quantity == 1
    assert book(stored=stored).of(CALLS, 0, 1).usage.quantity == 3


def test_what_was_stored_for_a_price_is_of_its_meter_only() -> None:
    stored = (GivenUsage("", price="calls", meter="minutes", quantity=Decimal(3)),)
    assert book(stored=stored).of(CALLS, 0, 1).usage.quantity == 0


def test_dated_events_fall_into_their_periods() -> None:
    found = book(
        of_events(
            an_event("1", "2026-01-31T23:59:59"), an_event("2", "2026-02-01"), an_event("4", "2026-03-31")
        )
    )
    assert [found.of(CALLS, step, step + 1).usage.quantity for step in range(3)] == [1, 2, 4]
    assert len(found.of(CALLS, 0, 3).usage.events or ()) == 3


def test_events_without_dates_keep_their_order_in_each_period() -> None:
    found = book(of_events(an_event("3"), an_event("1"), an_event("2"))).of(CALLS, 1, 2).usage
    assert found.events is not None
    ordered = sorted(found.events, key=lambda event: (event.at, event.id))
    assert [event.value for event in ordered] == [3, 1, 2]
    assert {event.at for event in ordered} == {QUARTER.span(1, 2).start}


def test_groups_sum_to_the_total_where_none_is_told() -> None:
    groups = (UsageGroup({"a": "x"}, Decimal(2)), UsageGroup({"a": None}, Decimal(3)))
    found = book(GivenUsage("/usage/0", meter="calls", groups=groups)).of(CALLS, 0, 2).usage
    assert (found.quantity, len(found.groups or ())) == (10, 4)


def test_a_peak_over_several_periods_is_the_highest_and_a_mean_needs_levels() -> None:
    peak = a_usage_price("calls", "capacity", "1", capacity_basis="peak")
    found = book(*used_by_period("calls", "5", "9", "2"))
    assert found.of(peak, 0, 3).usage.quantity == 9
    mean = replace(peak, capacity_basis="time_weighted")
    with pytest.raises(UsageIncomplete):
        found.of(mean, 0, 3)
    assert found.of(mean, 0, 1).usage.quantity == 5


def test_levels_alone_tell_a_capacity_and_nothing_else() -> None:
    level = LevelChange(datetime(2026, 1, 1, tzinfo=UTC), Decimal(3))
    given = book(GivenUsage("/usage/0", meter="calls", levels=(level,)))
    peak = a_usage_price("calls", "capacity", "1", capacity_basis="peak")
    assert given.of(peak, 0, 3).usage.levels == (level,)
    with pytest.raises(UsageIncomplete):
        given.of(CALLS, 0, 1)


def test_events_of_which_one_period_does_not_tell_are_not_known() -> None:
    found = book(replace(of_events(an_event("1")), period=0), used("calls", "5", period=1))
    together = found.of(CALLS, 0, 2).usage
    assert (together.quantity, together.events) == (6, None)


FAULTS = {
    "twice_for_each": ([used("calls", "1"), used("calls", "2")], ["/usage/0"]),
    "for_each_and_for_one": ([used("calls", "1"), used("calls", "2", period=1)], ["/usage/0"]),
    "for_one_and_for_each": ([used("calls", "1", period=1), used("calls", "2")], ["/usage/0"]),
    "twice_for_one": ([used("calls", "1", period=1), used("calls", "2", period=1)], ["/usage/0"]),
    "beyond_the_last": ([used("calls", "1", period=3)], ["/usage/0/period"]),
    "some_dated": ([of_events(an_event("1"), an_event("2", "2026-01-02"))], ["/usage/0/events"]),
    "outside": ([of_events(an_event("1", "2026-04-01"))], ["/usage/0/events/0/at"]),
    "in_another_period": (
        [of_events(an_event("1", "2026-02-01"), an_event("1", "2026-01-31T23:59:59"), period=1)],
        ["/usage/0/events/1/at"],
    ),
    "quantity_of_all": ([of_events(an_event("1", "2026-02-01"), quantity=Decimal(3))], ["/usage/0/quantity"]),
    "good": ([used("calls", "1", period=0), used("calls", "2", period=2), used("sms", "1")], []),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_pointed_at(name: str) -> None:
    given, pointers = FAULTS[name]
    assert [fault["pointer"] for fault in usage_faults(given, QUARTER)] == pointers
