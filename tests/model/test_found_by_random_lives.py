"""What random lives have found: each is kept as the shortest story that shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

from services.subscriptions.domain.period_terms import terms_of
from services.subscriptions.domain.subscription import FirstPart
from services.subscriptions.domain.zone_change import in_zone
from tests.model.agreement import Plan
from tests.model.books import Books, afresh
from tests.model.money import Tariff
from tests.model.product import agreed
from tests.model.test_failures_others_had import DESKS, FIVE, ONE, TARIFFS, TWO, Story, a_plan, at

ROOM = a_plan("room", room="recurring")
HOURS = a_plan("hours", minutes="usage")
BY_DATE = TARIFFS | {
    "room.room": Tariff("recurring", fee=Decimal("310"), in_arrears=True),
    "hours.minutes": Tariff("usage", unit=ONE),
}


def begins(
    plan: Plan,
    on: str,
    *,
    zone: str = "UTC",
    anchor: str | None = None,
    first_part: FirstPart = "prorated",
    **quantities: Decimal,
) -> Story:
    product = agreed(
        plan,
        quantities,
        zone=zone,
        starts_on=date.fromisoformat(on),
        anchor_on=date.fromisoformat(anchor) if anchor is not None else None,
        first_part=first_part,
        now=at("2011-01-01"),
    )
    books = product.books = Books(BY_DATE)
    return Story(product, books)


def told(story: Story, code: str) -> list[tuple[str, str, str | None, str | None]]:
    """From when until when an item is agreed on in the first period, and how each end is prorated."""
    return [
        (str(part.start_on), str(part.end_on), part.start_proration, part.end_proration)
        for part in terms_of(story.product.subscription, story.product.periods[0], is_over=False).segments
        if part.item.code == code
    ]


def test_what_was_taken_away_already_is_not_prorated_by_the_change_after_it() -> None:
    """Two plans at one instant: the first gives the desks back, the second (`none`) finds none to keep."""
    story = begins(DESKS, "2025-06-01", desks=TWO)
    story.change("2025-06-11", plan=ROOM, settles=False)
    story.change("2025-06-11", plan=HOURS, method="none")
    assert told(story, "desks") == [("2025-06-01", "2025-06-11", None, None)]
    assert story.cents("desks.desks") == [2468, -1645]


def test_of_two_changes_of_an_item_at_one_instant_the_last_ones_method_holds() -> None:
    story = begins(DESKS, "2025-06-01", desks=TWO)
    story.change("2025-06-11", quantities={"desks": FIVE}, settles=False)
    story.change("2025-06-11", quantities={"desks": ONE}, method="none")
    assert told(story, "desks") == [
        ("2025-06-01", "2025-06-11", None, "none"),
        ("2025-06-11", "2025-07-01", "none", None),
    ]
    assert story.cents("desks.desks") == [2468]


def test_what_ends_at_an_instant_ends_on_the_date_on_which_the_next_begins() -> None:
    """Of two changes at noon, the first is the move to Tonga, where it is a day later."""
    story = begins(DESKS, "2025-06-01", desks=TWO)
    story.change("2025-06-11T12:00", quantities={"desks": FIVE}, zone="Pacific/Tongatapu", settles=False)
    story.change("2025-06-11T12:00", quantities={"desks": ONE})
    assert [part[:2] for part in told(story, "desks")] == [
        ("2025-06-01", "2025-06-12"),
        ("2025-06-12", "2025-07-01"),
    ]
    assert story.cents("desks.desks") == [2468, -782]  # one of two, for 19 of 30 days


def test_a_zone_that_is_a_day_ahead_loses_no_day() -> None:
    """In Tonga 2 June began when 1 June did in Samoa: two desks for that day, and five from the next one on."""
    story = begins(DESKS, "2025-06-01", zone="Pacific/Pago_Pago", desks=TWO)
    story.change("2025-06-02T11:00", quantities={"desks": FIVE}, settles=False)
    story.change("2025-06-02T11:00", zone="Pacific/Tongatapu", settles=False)
    story.until("2025-06-15")
    told_late = afresh(story.books, story.now)
    assert [charge.amount.amount_minor for charge in told_late.charges] == [82, 5964]  # 1/30 and 29/30


def test_a_date_that_was_skipped_is_given_back_as_it_was_charged() -> None:
    """27 of the 30 days that there were in Apia from 28 December; in UTC there are 31."""
    story = begins(DESKS, "2012-01-01", zone="Pacific/Apia", anchor="2011-12-28", desks=TWO)
    story.change("2011-12-31T10:00", plan=ROOM, zone="UTC")
    assert story.cents("desks.desks") == [2221, -2221]


def test_a_boundary_that_is_over_in_a_new_zone_ends_a_period_without_time() -> None:
    """Periods are counted from the 31st on: on 30 May, late in Samoa, that day is over in Tonga."""
    story = begins(DESKS, "2025-05-30", zone="Pacific/Pago_Pago", desks=TWO)
    story.change("2025-05-31T09:00", zone="Pacific/Tongatapu", anchor_on=date(2025, 5, 31))
    story.until("2025-08-01")
    known = [story.product.periods[index] for index in sorted(story.product.periods)]
    assert all(one.start <= one.end == other.start for one, other in pairwise(known))
    assert [str(period.start_on) for period in known][:4] == [
        "2025-05-30",
        "2025-05-30",
        "2025-05-31",
        "2025-06-30",
    ]
    assert [sum(story.cents("desks.desks", index)) for index in range(4)] == [0, 0, 2468, 2468]


def test_a_merged_first_part_ends_on_its_date_in_a_new_zone_too() -> None:
    """On 31 May at noon in Samoa, in Tonga it is 1 June: the day stays one of the first part, and is charged once."""
    story = begins(
        DESKS, "2025-05-30", zone="Pacific/Pago_Pago", anchor="2025-06-01", first_part="merged", desks=TWO
    )
    story.change("2025-05-31T23:00", quantities={"desks": FIVE}, zone="Pacific/Tongatapu")
    assert [part[:2] for part in told(story, "desks")] == [
        ("2025-05-30", "2025-05-31"),
        ("2025-05-31", "2025-06-01"),
        ("2025-06-01", "2025-07-01"),
    ]
    assert story.cents("desks.desks") == [159, 2468, 119, 3702]  # 2/31, 1; 1/31 and 1 of three more


def test_what_is_billed_elsewhere_until_a_date_to_come_is_so_in_a_new_zone() -> None:
    story = begins(DESKS, "2025-06-01", zone="Europe/Amsterdam")
    story.until("2025-06-05")
    known = replace(story.product.subscription, billed_until=at("2025-06-14T22:00"))
    assert in_zone(known, "America/New_York", story.now).billed_until == at("2025-06-15T04:00")
