"""Failures that others had with changes and time: each is a story, from the agreement to the cents that are charged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from services.billing.domain.charge import ItemUsage, UsageOfPeriod
from services.billing.domain.usage_charges import usage_charges
from tests.model.agreement import Plan, Price, Wish
from tests.model.books import Books
from tests.model.money import Tariff
from tests.model.product import Product, agreed

ONE, TWO, FIVE = Decimal(1), Decimal(2), Decimal(5)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_plan(code: str, *, unit: str = "month", **kinds: str) -> Plan:
    prices = {name: Price(f"{code}.{name}", kind) for name, kind in kinds.items()}  # type: ignore[arg-type]
    return Plan(code, unit, 1, prices)


DESKS = a_plan("desks", desks="recurring", minutes="usage")
DEARER_DESKS = a_plan("desks_2", desks="recurring", minutes="usage")
OFFICE = a_plan("office", room="recurring", desks="recurring")
YEARLY = a_plan("yearly", unit="year", care="recurring")
TARIFFS = {
    "desks.desks": Tariff("recurring", unit=Decimal("12.34")),
    "desks.minutes": Tariff(
        "usage", tiers=((Decimal(100), ONE, Decimal(0)), (None, Decimal("0.5"), Decimal(0)))
    ),
    "desks_2.desks": Tariff("recurring", unit=Decimal("15")),
    "desks_2.minutes": Tariff("usage", unit=Decimal("0.9")),
    "office.room": Tariff("recurring", fee=Decimal("600")),
    "office.desks": Tariff("recurring", unit=Decimal("3")),
    "yearly.care": Tariff("recurring", fee=Decimal("365")),
}


@dataclass
class Story:
    """One subscription and its books; everything is asked for at its present time."""

    product: Product
    books: Books

    @classmethod
    def begins(cls, plan: Plan, on: str, *, zone: str = "UTC", **quantities: Decimal) -> Story:
        starts_on = date.fromisoformat(on)
        product = agreed(plan, quantities, zone=zone, starts_on=starts_on, now=at("2024-12-01"))
        books = product.books = Books(TARIFFS)
        return cls(product, books)

    def until(self, instant: str) -> None:
        self.now = at(instant)
        self.product.run_to(self.now)

    def change(self, instant: str, *, settles: bool = True, **wish: Any) -> None:
        self.until(instant)
        self.product.change_now(
            instant, Wish(**wish), self.now, self.now, first_touched=None, settles=settles
        )

    def cents(self, price: str, index: int = 0) -> list[int]:
        """What was charged and given back at a price in a period, in this order."""
        return [
            charge.amount.amount_minor
            for charge in self.books.charges
            if charge.price.id == price and charge.period_index == index
        ]


@pytest.mark.parametrize(
    ("before", "after"),
    [("Pacific/Tongatapu", "Pacific/Pago_Pago"), ("Pacific/Pago_Pago", "Pacific/Tongatapu")],
)
def test_t7_a_zone_changed_in_mid_period_bills_every_instant_once(before: str, after: str) -> None:
    """From UTC+13 to UTC−11 and back: the period is 24 hours longer or shorter, and costs what a month costs."""
    story = Story.begins(DESKS, "2025-06-01", zone=before, desks=TWO)
    story.change("2025-06-10T07:00", zone=after)
    story.until("2025-09-15")
    periods = [story.product.periods[index] for index in sorted(story.product.periods)]
    assert [str(period.start_on) for period in periods] == [
        "2025-06-01",
        "2025-07-01",
        "2025-08-01",
        "2025-09-01",
    ]
    assert all((one.end, one.end_on) == (other.start, other.start_on) for one, other in pairwise(periods))
    assert [story.cents("desks.desks", period.index) for period in periods] == [[2468]] * 4


@pytest.mark.parametrize("now", ["2025-06-30T10:30", "2025-06-30T12:00", "2025-07-01T09:00"])
def test_t7_a_zone_changed_in_the_hours_between_two_midnights_bills_every_instant_once(now: str) -> None:
    """In the one zone the month is over, in the other one it is not."""
    for before, after in (
        ("Pacific/Tongatapu", "Pacific/Pago_Pago"),
        ("Pacific/Pago_Pago", "Pacific/Tongatapu"),
    ):
        story = Story.begins(DESKS, "2025-06-01", zone=before, desks=TWO)
        story.change(now, zone=after)
        story.until("2025-08-15")
        periods = [story.product.periods[index] for index in sorted(story.product.periods)]
        assert all(one.start <= one.end == other.start for one, other in pairwise(periods))
        assert [sum(story.cents("desks.desks", period.index)) for period in periods] == [2468] * 3


def test_t8_three_upgrades_in_a_day_give_back_what_was_billed_at_the_price_it_was_billed_at() -> None:
    story = Story.begins(DESKS, "2025-06-01", desks=ONE)
    story.change("2025-06-16T09:00", quantities={"desks": Decimal(3)})
    story.change("2025-06-16T12:00", plan=DEARER_DESKS)
    story.change("2025-06-16T15:00", quantities={"desks": FIVE})
    assert story.cents("desks.desks") == [1234, 1234, -1851]
    assert story.cents("desks_2.desks") == [2250, 1500]
    story.until("2025-07-01")
    assert story.cents("desks.desks") == [1234, 1234, -1851], "the month's end finds nothing more to settle"
    assert story.cents("desks_2.desks", 1) == [7500]


def test_t8_settled_together_the_three_leave_one_line_each() -> None:
    story = Story.begins(DESKS, "2025-06-01", desks=ONE)
    for hour, wish in (
        ("09", {"quantities": {"desks": Decimal(3)}}),
        ("12", {"plan": DEARER_DESKS}),
        ("15", {"quantities": {"desks": FIVE}}),
    ):
        story.change(f"2025-06-16T{hour}:00", settles=False, **wish)
    story.until("2025-07-01")
    assert story.cents("desks.desks") == [1234, -617]
    assert story.cents("desks_2.desks") == [3750]


def test_t9_from_seats_to_a_fee_and_back_no_credit_is_lost() -> None:
    story = Story.begins(DESKS, "2025-06-01", desks=TWO)
    story.change("2025-06-11T08:00", plan=OFFICE)
    story.change("2025-06-21T08:00", plan=DESKS)
    assert sum(story.cents("desks.desks")) == 2468 - 1645 + 823
    assert story.cents("office.room") == [40000, -20000]
    assert story.cents("office.desks") == [400, -200]


def test_t9_away_from_a_meter_and_back_within_a_day_leaves_no_line() -> None:
    story = Story.begins(DESKS, "2025-06-01", desks=TWO)
    story.change("2025-06-11T08:00", settles=False, plan=OFFICE)
    story.change("2025-06-11T16:00", settles=False, plan=DESKS)
    story.until("2025-07-01")
    assert [story.cents(price) for price in ("desks.desks", "office.room", "office.desks")] == [
        [2468],
        [],
        [],
    ]


def test_t9_a_meter_left_and_taken_up_again_is_rated_once_with_all_that_was_used() -> None:
    """Two parts of a month at one price are one quantity, in whose tiers it is counted once."""
    story = Story.begins(DESKS, "2025-06-01", desks=TWO)
    story.change("2025-06-11T08:00", plan=DEARER_DESKS)
    story.change("2025-06-21T08:00", plan=DESKS)
    story.until("2025-07-01")
    terms, minutes = story.books.terms[0], story.product.item_ids["minutes"]
    parts = [
        (part.price.id, part.start.day, part.end.day) for part in terms.segments if part.item_id == minutes
    ]
    assert sorted(parts) == [("desks.minutes", 1, 11), ("desks.minutes", 21, 1), ("desks_2.minutes", 11, 21)]
    usage = UsageOfPeriod(
        window_id="win_1",
        subscription_id=story.product.subscription.id,
        period_index=0,
        window_start=at("2025-06-01"),
        window_end=at("2025-07-01"),
        closed_at=at("2025-07-01T01:00"),
        totals=(
            ItemUsage(minutes, "m_minutes", Decimal(150), 3, "desks.minutes"),
            ItemUsage(minutes, "m_minutes", Decimal(10), 1, "desks_2.minutes"),
        ),
    )
    assert story.books.agreement is not None
    charges = usage_charges(story.books.agreement, usage, now=story.now, terms=terms)
    assert sorted((charge.price.id, charge.amount.amount_minor) for charge in charges) == [
        ("desks.minutes", 12500),
        ("desks_2.minutes", 900),
    ]


def test_t10_two_pauses_in_one_annual_term_give_back_their_days_and_leave_nothing_stuck() -> None:
    story = Story.begins(YEARLY, "2025-01-01")
    states = []
    for starts, ends in (("2025-03-01", "2025-04-01"), ("2025-07-01", "2025-08-01")):
        story.until(starts)
        story.product.pause(story.now, at(ends), None, story.now, first_touched=None, settles=True)
        states.append(str(story.product.subscription.state))
        story.until(ends)
        states.append(str(story.product.subscription.state))
    assert states == ["paused", "active", "paused", "active"]
    story.until("2026-01-01")
    assert sum(story.cents("yearly.care")) == 36500 - 3100 - 3100
    assert story.cents("yearly.care", 1) == [36500]
    assert story.product.subscription.due_at == at("2027-01-01")


def test_t10_a_pause_over_the_end_of_the_year_is_billed_on_both_sides_of_it() -> None:
    story = Story.begins(YEARLY, "2025-01-01")
    story.until("2025-12-22T10:00")
    story.product.pause(story.now, None, None, story.now, first_touched=None, settles=False)
    story.until("2026-01-11T09:00")
    story.product.resume(story.now, story.now, first_touched=None, settles=True)
    assert sum(story.cents("yearly.care")) == 36500 - 1000
    assert sum(story.cents("yearly.care", 1)) == 36500 - 1000


def test_t13_two_prorations_at_one_instant_on_two_items_are_both_there_once_each() -> None:
    story = Story.begins(OFFICE, "2025-06-01", desks=TWO)
    story.change("2025-06-16T09:00", plan=DESKS, quantities={"desks": TWO})
    before = list(story.books.charges)
    assert (story.cents("office.room"), story.cents("office.desks")) == ([60000, -30000], [600, -300])
    assert story.cents("desks.desks") == [1234]
    story.books.settle(story.now, [0])
    story.until("2025-06-30")
    assert story.books.charges == before
