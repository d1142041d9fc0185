"""What closed windows and charges tell of past periods, and what they do not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from services.billing.domain.charge import ItemUsage, UsageCorrection
from services.billing.domain.simulation.stored_usage import StoredUsage, stored_usage
from tests.support.billing import MINUTES, Story


def gathered(
    story: Story, *minutes: str, corrections: tuple[UsageCorrection, ...] = (), with_late: bool = False
) -> StoredUsage:
    agreement = story.agreement()
    now = story.boundary(0)
    return stored_usage(
        agreement,
        range(len(minutes)),
        charges=[c for index in range(len(minutes)) for c in story.ahead(index, now=now)],
        windows=[story.usage(index, used) for index, used in enumerate(minutes)],
        corrections=corrections,
        with_late=with_late,
    )


def quantities(stored: StoredUsage) -> list[tuple[str | None, str | None, int | None, Decimal | None]]:
    return [(used.price, used.meter, used.period, used.quantity) for used in stored.usage]


def test_usage_is_known_by_price_and_by_meter() -> None:
    stored = gathered(Story(), "90", "120")
    assert quantities(stored) == [
        ("minutes", "flying-minutes", 0, 90),
        (None, "flying-minutes", 0, 90),
        ("minutes", "flying-minutes", 1, 120),
        (None, "flying-minutes", 1, 120),
    ]
    assert stored.quantities == {"aircraft": 2}
    assert (stored.currency, stored.timetable.count) == ("USD", 2)
    assert (stored.timetable.start_on, stored.timetable.start_of(2)) == (date(2025, 1, 1), date(2025, 3, 1))
    assert [note.code for note in stored.notes] == ["events_not_known"]


def test_items_of_one_meter_are_added_up_for_others() -> None:
    story = Story()
    second = story.items[1].model_copy(
        update={"item_id": "itm_2", "price": MINUTES.model_copy(update={"id": "prc_2", "code": "night"})}
    )
    story.items.append(second)
    window = story.usage(0, "90")
    window = replace(window, totals=(*window.totals, ItemUsage("itm_2", "flying-minutes", Decimal(10), 1)))
    stored = stored_usage(
        story.agreement(), range(1), charges=(), windows=[window], corrections=(), with_late=False
    )
    assert quantities(stored)[-1] == (None, "flying-minutes", 0, 100)
    assert "meter_shared" in [note.code for note in stored.notes]


def test_late_usage_is_named_and_counted_only_if_asked_for() -> None:
    story = Story()
    late = UsageCorrection(
        window_id="x",
        subscription_id=story.subscription_id,
        period_index=0,
        revision=1,
        totals=(ItemUsage(story.minutes_item, "flying-minutes", Decimal(120), 2),),
    )
    left_out = gathered(story, "90", corrections=(late,))
    counted = gathered(story, "90", corrections=(late,), with_late=True)
    assert (quantities(left_out)[0][3], quantities(counted)[0][3]) == (90, 120)
    for stored, word in ((left_out, "left out"), (counted, "counted")):
        note = next(note for note in stored.notes if note.code == "late_usage")
        assert "makes 120 of 90" in note.says
        assert word in note.says


def test_a_period_that_was_cut_is_in_use_as_it_was_billed() -> None:
    """The end was known when the fee was charged: both it and the usage end there."""
    story = Story(ends_on=date(2025, 1, 11))
    ends_at = story.agreement().ends_at
    assert ends_at is not None
    agreement = story.agreement()
    stored = stored_usage(
        agreement,
        range(1),
        charges=story.ahead(0, now=story.boundary(0)),
        windows=[story.usage(0, "5", at=ends_at)],
        corrections=(),
        with_late=False,
    )
    assert (stored.ends_at, stored.metered_until) == (ends_at, ends_at)


def test_a_period_canceled_after_it_was_charged_is_in_use_as_a_whole() -> None:
    story = Story()
    at = story.boundary(0) + timedelta(days=10)
    agreement = story.agreement()
    stored = stored_usage(
        agreement,
        range(1),
        charges=story.ahead(0, now=story.boundary(0)),
        windows=[story.usage(0, "5", at=at)],
        corrections=(),
        with_late=False,
    )
    assert (stored.ends_at, stored.metered_until) == (None, at)


def test_an_agreement_of_before_its_interval_was_kept_has_the_periods_it_was_billed_for() -> None:
    story = Story()
    agreement = replace(story.agreement(), anchor_on=None, interval=None)
    stored = stored_usage(
        agreement, range(3, 4), charges=(), windows=[story.usage(3, "5")], corrections=(), with_late=False
    )
    assert (stored.timetable.start_on, stored.timetable.end_on) == (date(2025, 4, 1), date(2025, 5, 1))


def test_usage_at_a_price_that_the_item_no_longer_has_is_known_by_its_meter_only() -> None:
    story = Story()
    usage = story.usage(0, "90")
    (total,) = usage.totals
    parts = (
        replace(total, price_id="prc_minutes"),
        replace(total, quantity=Decimal(7), price_id="prc_before"),
    )
    stored = stored_usage(
        story.agreement(),
        range(1),
        charges=story.ahead(0, now=story.boundary(0)),
        windows=[replace(usage, totals=parts)],
        corrections=(),
        with_late=False,
    )
    assert quantities(stored) == [
        ("minutes", "flying-minutes", 0, 90),
        (None, "flying-minutes", 0, 97),
    ]
